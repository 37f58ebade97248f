# What Debian's package does when it is installed, as far as it matters here: users, settings and the start. smtpd runs
# chrooted, as master.cf of the package has it.
set -eu
printf 'u postfix - - /var/spool/postfix\ng postdrop -\n' | systemd-sysusers - 2>/dev/null
templates=/usr/share/postfix
cp $templates/master.cf.dist /etc/postfix/master.cf
cp $templates/dynamicmaps.cf /etc/postfix/
cat $templates/main.cf.debian - >/etc/postfix/main.cf <<'END'
myhostname = mx.receiver.example
mydestination = receiver.example
alias_maps =
local_recipient_maps =
maillog_file = /var/log/maillog
enable_long_queue_ids = yes
END
postfix start
