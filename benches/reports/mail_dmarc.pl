# Builds the gzipped reports of a day with Mail::DMARC, from its own SQLite store, and says how long that
# took. Takes the store's directory and a file with one message a line: domain, address, disposition, dkim,
# spf, tab-separated and grouped by domain. Filling the store is not part of the time.
use strict;
use warnings;
use Time::HiRes qw(time);
use Mail::DMARC::Report;
use Mail::DMARC::Report::Store::SQL;

my ($directory, $messages) = @ARGV;
my $ini = "$directory/mail-dmarc.ini";
open my $out, '>', $ini or die "$ini: $!";
print {$out} <<"EOT";
[organization]
domain   = reports.example
org_name = Example
email    = postmaster\@reports.example
[report_store]
backend = SQL
dsn  = dbi:SQLite:dbname=$directory/mail-dmarc.db
user =
pass =
EOT
close $out;

my $store = Mail::DMARC::Report::Store::SQL->new;
$store->config($ini);
my $dbh = $store->db_connect->dbh;
my ($begin, $end) = (time - 172_800, time - 86_400);
$dbh->begin_work;
$dbh->do(q{INSERT INTO author (org_name, email) VALUES ('Example', 'postmaster@reports.example')});
my $domain = $dbh->prepare('INSERT INTO domain (domain) VALUES (?)');
my $report = $dbh->prepare('INSERT INTO report (begin, end, author_id, from_domain_id) VALUES (?, ?, 1, ?)');
my $policy = $dbh->prepare(q{INSERT INTO report_policy_published (report_id, adkim, aspf, p, rua) VALUES (?, 'r', 'r', 'reject', ?)});
my $record = $dbh->prepare('INSERT INTO report_record (report_id, source_ip, disposition, dkim, spf, header_from_did, envelope_from_did) VALUES (?, ?, ?, ?, ?, ?, ?)');
my $spf_row = $dbh->prepare(q{INSERT INTO report_record_spf (report_record_id, domain_id, scope, result) VALUES (?, ?, 'mfrom', ?)});
my $dkim_row = $dbh->prepare(q{INSERT INTO report_record_dkim (report_record_id, domain_id, selector, result) VALUES (?, ?, 's2026', ?)});
my ($last, $did, $rid, $count) = ('', 0, 0, 0);
open my $in, '<', $messages or die "$messages: $!";
while (my $line = <$in>) {
    chomp $line;
    my ($name, $ip, $disposition, $dkim, $spf) = split /\t/, $line;
    if ($name ne $last) {
        $domain->execute($name);
        $did = $dbh->last_insert_id;
        $report->execute($begin, $end, $did);
        $rid = $dbh->last_insert_id;
        $policy->execute($rid, "mailto:dmarc\@$name");
        $last = $name;
    }
    $record->execute($rid, $store->any_inet_pton($ip), $disposition, $dkim, $spf, $did, $did);
    my $row = $dbh->last_insert_id;
    $spf_row->execute($row, $did, $spf);
    $dkim_row->execute($row, $did, $dkim);
    $count++;
}
$dbh->commit;

my $started = time;
my ($cpu) = times;
my ($reports, $octets) = (0, 0);
while (my $aggregate = $store->next_todo) {
    my $xml = $aggregate->as_xml;
    $octets += length Mail::DMARC::Report->new->compress(\$xml);
    $reports++;
}
my $took = time - $started;
my ($after) = times;
printf "  Mail::DMARC %s: %d reports of %d messages in %.2f s, %.1f s of CPU, %d KiB of gzip\n",
    $Mail::DMARC::Report::VERSION, $reports, $count, $took, $after - $cpu, $octets / 1024;
