-- Aggregate reports: kept as they were built, on their way, and what is known of where they go.
--
-- Of alignd.db only the numbers of its outcome table (seq) are named here. Words stand as words.

-- Which outcomes of a policy domain's day are dealt with: those with after_seq < seq <= up_to. Ranges
-- of one domain and day follow each other without a gap and without overlapping.
CREATE TABLE covered (
    day           INTEGER NOT NULL, -- UTC, since 1970-01-01
    policy_domain TEXT    NOT NULL,
    up_to         INTEGER NOT NULL,
    after_seq     INTEGER NOT NULL,
    came_to       TEXT    NOT NULL, -- reported, or why not
    include       TEXT    NOT NULL, -- report.include as it was
    messages      INTEGER NOT NULL, -- in it that may be reported
    left_out      INTEGER NOT NULL, -- of those, for want of a client address
    PRIMARY KEY (day, policy_domain, up_to)
) STRICT, WITHOUT ROWID;

-- Who builds a domain's day just now. A fence is never used twice.
CREATE TABLE claim (
    fence         INTEGER PRIMARY KEY AUTOINCREMENT,
    day           INTEGER NOT NULL,
    policy_domain TEXT    NOT NULL,
    expires       INTEGER NOT NULL, -- microseconds since 1970, UTC
    UNIQUE (day, policy_domain)
) STRICT;

CREATE TABLE report (
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    unique_id        TEXT    NOT NULL, -- RFC 9990 section 3.5.2
    report_domain    TEXT    NOT NULL, -- what follows the @ of its Report-ID
    day              INTEGER NOT NULL,
    policy_domain    TEXT    NOT NULL,
    up_to            INTEGER NOT NULL, -- covered: the range it belongs to
    format           TEXT    NOT NULL,
    org_name         TEXT    NOT NULL,
    contact          TEXT    NOT NULL,
    errors           TEXT    NOT NULL, -- JSON: one sentence each
    p                TEXT    NOT NULL,
    sp               TEXT,
    np               TEXT,
    adkim            TEXT    NOT NULL,
    aspf             TEXT    NOT NULL,
    fo               TEXT    NOT NULL,
    testing          INTEGER NOT NULL,
    psd              TEXT    NOT NULL,
    discovery_method TEXT    NOT NULL,
    rows             INTEGER NOT NULL,
    messages         INTEGER NOT NULL,
    octets           INTEGER NOT NULL, -- gzipped
    built            INTEGER NOT NULL, -- microseconds
    fence            INTEGER NOT NULL, -- with part: its pieces
    part             INTEGER NOT NULL,
    UNIQUE (unique_id, report_domain)
) STRICT;
CREATE INDEX report_day ON report (day, policy_domain);
CREATE INDEX report_built ON report (built);

-- The gzipped XML. Pieces of a fence that no report names are of a report that was not finished.
CREATE TABLE piece (
    id     INTEGER PRIMARY KEY,
    fence  INTEGER NOT NULL,
    part   INTEGER NOT NULL,
    nth    INTEGER NOT NULL,
    octets BLOB    NOT NULL,
    UNIQUE (fence, part, nth)
) STRICT;

-- Report x destination.
CREATE TABLE outbox (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    report      INTEGER NOT NULL,
    position    INTEGER NOT NULL, -- in rua
    uri         TEXT    NOT NULL, -- as published
    address     TEXT    NOT NULL, -- where it goes; '' for a URI that cannot be sent to
    host        TEXT    NOT NULL, -- the domain of address
    state       TEXT    NOT NULL, -- to_verify, queued, sent, refused, expired
    attempts    INTEGER NOT NULL,
    next_try    INTEGER NOT NULL, -- microseconds; while to_verify or queued
    last_try    INTEGER,
    last_answer TEXT,             -- of the server, or why it was refused
    UNIQUE (report, position)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (host, next_try) WHERE state IN ('to_verify', 'queued');
CREATE INDEX outbox_next ON outbox (next_try) WHERE state IN ('to_verify', 'queued');
CREATE INDEX outbox_state ON outbox (state) WHERE state <> 'sent';

-- Destinations that the external check (RFC 9990 section 4) did not confirm.
CREATE TABLE unconfirmed (
    policy_domain TEXT    NOT NULL,
    uri           TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    since         INTEGER NOT NULL, -- microseconds
    checks        INTEGER NOT NULL,
    next_check    INTEGER NOT NULL, -- microseconds
    PRIMARY KEY (policy_domain, uri)
) STRICT, WITHOUT ROWID;

-- Addresses and domains whose mail fails: how often, and whether nothing is sent to them any more.
CREATE TABLE suppression (
    who      TEXT    PRIMARY KEY, -- an address, or a domain
    failures INTEGER NOT NULL,    -- permanent ones since the last suppression
    times    INTEGER NOT NULL,    -- how often it was suppressed
    since    INTEGER NOT NULL,    -- microseconds: the last failure or suppression
    until    INTEGER,             -- microseconds; NULL: not suppressed
    reason   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Days with outcomes that may not be covered yet; last_seq is the last of them that was seen.
CREATE TABLE open_day (
    day      INTEGER PRIMARY KEY,
    last_seq INTEGER NOT NULL
) STRICT;

-- How far the outcome table was looked through for open_day; one row at most.
CREATE TABLE looked (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    up_to INTEGER NOT NULL
) STRICT;
