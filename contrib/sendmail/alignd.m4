dnl alignd in Sendmail: add these lines to /etc/mail/sendmail.mc, above the MAILER lines, then `sendmailconfig'
dnl (or m4 by hand) and restart Sendmail.
dnl With filters already there, put alignd behind those that refuse mail and before those that change it:
dnl Sendmail asks them in the order of these lines.
dnl
dnl S: the path must be safe in Sendmail's eyes: no directory on the way that its group or everybody may write to.
dnl F=T, when alignd can't be reached or fails: the sender tries again and nothing gets in unmarked. Without F=, mail
dnl   flows unevaluated, which fits a first week of looking on.
dnl T: R, any word of alignd: the first takes a while when it holds connections back (milter.max_connections), then it
dnl   gives a sign of life every 4 s. E, its whole answer to a message: it comes within twice dns.message_deadline and
dnl   store.wait, 70 s by default.
dnl
dnl No confMILTER_MACROS lines are needed: alignd tells Sendmail which macros it wants.
INPUT_MAIL_FILTER(`alignd', `S=local:/run/alignd/milter.sock, F=T, T=C:1m;S:30s;R:1m;E:5m')dnl
