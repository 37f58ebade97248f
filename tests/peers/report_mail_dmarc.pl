# Reads reports in RFC 7489's form with Mail::DMARC, whose readers take each part into its own objects.
# Takes the paths of XML files as arguments and prints one JSON object a line. Stores nothing.
use strict;
use warnings;
use JSON::PP;
use Mail::DMARC::Report::Receive;

# What a report is read into is wanted, not where it would be stored.
{
    no warnings 'redefine';
    *Mail::DMARC::Report::save_aggregate = sub { return 1 };
}

sub text { my ($value) = @_; return defined $value ? "$value" : undef }

sub row {
    my ($record) = @_;
    my $evaluated = $record->row->policy_evaluated;
    my $results   = $record->auth_results;
    return {
        source_ip    => text($record->row->source_ip),
        count        => 0 + $record->row->count,
        disposition  => text($evaluated->disposition),
        aligned_dkim => text($evaluated->dkim),
        aligned_spf  => text($evaluated->spf),
        reasons      => [ map { [ text($_->{type}), text($_->{comment}) ] } @{ $evaluated->reason || [] } ],
        header_from  => text($record->identifiers->header_from),
        spf => [ map { [ text($_->domain), text($_->scope), text($_->result) ] } @{ $results->spf || [] } ],
        dkim_signatures => scalar @{ $results->dkim || [] },
    };
}

for my $path (@ARGV) {
    open my $file, '<:raw', $path or die "$path: $!";
    my $xml = do { local $/; <$file> };
    my $receiver = Mail::DMARC::Report::Receive->new;
    $receiver->handle_body($xml);
    my $report = $receiver->report->aggregate;
    my ($meta, $policy) = ($report->metadata, $report->policy_published);
    print JSON::PP->new->canonical->ascii->encode({
        org_name  => text($meta->org_name),
        contact   => text($meta->email),
        report_id => text($meta->report_id),
        begin     => 0 + $meta->begin,
        end       => 0 + $meta->end,
        domain    => text($policy->domain),
        policy    => { map { $_ => text($policy->$_) } qw(p sp adkim aspf pct) },
        rows      => [ map { row($_) } @{ $report->record } ],
    }), "\n";
}
