-- Verdicts and what became of the messages.
--
-- Columns bear the names of the RFC 9990 report. Words stand as words, so that sqlite3 alone can
-- read them; no CHECK lists them, because later versions add some and SQLite cannot change a CHECK.
--
-- Dictionaries (name, document, dmarc_record, policy_published, policy_evaluated) hold each content
-- once. last_day is the newest UTC day a verdict used the row: retention deletes a row once that day
-- is older than every verdict kept. No foreign keys point at them: checking those at each delete
-- would scan the verdicts.

-- Domains, list identifiers and confirmed reverse names.
CREATE TABLE name (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    last_day INTEGER NOT NULL
) STRICT;

-- Texts that many verdicts share: SPF records, and JSON of the kinds named at the columns.
CREATE TABLE document (
    id       INTEGER PRIMARY KEY,
    digest   BLOB    NOT NULL UNIQUE,
    last_day INTEGER NOT NULL,
    text     TEXT    NOT NULL
) STRICT;

-- DMARC policy records as read, wherever they were found.
CREATE TABLE dmarc_record (
    id       INTEGER PRIMARY KEY,
    digest   BLOB    NOT NULL UNIQUE,
    last_day INTEGER NOT NULL,
    text     TEXT    NOT NULL,
    p        TEXT    NOT NULL,
    sp       TEXT,
    np       TEXT,
    adkim    TEXT    NOT NULL,
    aspf     TEXT    NOT NULL,
    psd      TEXT    NOT NULL,
    testing  INTEGER NOT NULL,
    fo       TEXT    NOT NULL,
    rua      TEXT    NOT NULL, -- JSON: the URIs in order
    ruf      TEXT    NOT NULL, -- JSON
    usable   INTEGER NOT NULL,
    problems TEXT    NOT NULL  -- JSON: one sentence each, for the report's error element
) STRICT;

-- What a report's policy_published says, with the record as it was seen.
CREATE TABLE policy_published (
    id               INTEGER PRIMARY KEY,
    digest           BLOB    NOT NULL UNIQUE,
    last_day         INTEGER NOT NULL,
    domain           INTEGER NOT NULL, -- name: the DMARC Policy Domain
    discovery_method TEXT    NOT NULL,
    record           INTEGER NOT NULL  -- dmarc_record
) STRICT;

-- What a report's policy_evaluated says, and how it came to that.
CREATE TABLE policy_evaluated (
    id          INTEGER PRIMARY KEY,
    digest      BLOB    NOT NULL UNIQUE,
    last_day    INTEGER NOT NULL,
    dmarc       TEXT,             -- the result; NULL: not evaluated
    tag         TEXT,             -- which of p, sp, np was taken; NULL: no policy found
    selected    TEXT,             -- the policy it named
    applied     TEXT,             -- after t=y
    dkim        TEXT,             -- pass or fail: aligned, for DMARC
    spf         TEXT,             -- likewise
    cause       TEXT    NOT NULL,
    published   TEXT,             -- the policy that the decision started from
    disposition TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    reasons     TEXT    NOT NULL, -- JSON: [{"type", "comment"}]
    weight      TEXT    NOT NULL
) STRICT;

-- One message, judged. Never changed afterwards.
CREATE TABLE verdict (
    number           INTEGER PRIMARY KEY,
    id               BLOB    NOT NULL UNIQUE, -- UUIDv7, 16 octets
    received         INTEGER NOT NULL,        -- microseconds since 1970, UTC
    queue_id         TEXT,
    source_ip        BLOB,                    -- 4 or 16 octets
    header_from      INTEGER,                 -- name; NULL: not exactly one author domain
    envelope_from    INTEGER,                 -- name; '' for the null path, NULL: unreadable
    envelope_to      INTEGER NOT NULL,        -- document: JSON, domains of the recipients
    policy_published INTEGER,
    policy_evaluated INTEGER NOT NULL,
    auth_results     INTEGER NOT NULL,        -- document: JSON, the report's auth_results
    reverse_name     INTEGER,                 -- name: confirmed by a forward look-up
    list_id          INTEGER                  -- name
) STRICT;
CREATE INDEX verdict_received ON verdict (received);
CREATE INDEX verdict_author ON verdict (header_from, received) WHERE header_from IS NOT NULL;
CREATE INDEX verdict_queue_id ON verdict (queue_id) WHERE queue_id IS NOT NULL;

-- The rest of a verdict; with its row and the dictionaries it yields the verdict exactly.
CREATE TABLE detail (
    verdict     INTEGER PRIMARY KEY,
    version     INTEGER NOT NULL,
    discovery   INTEGER,          -- document: JSON, the names asked for the policy
    spf_record  INTEGER,          -- document: the record of MAIL FROM's domain
    helo_record INTEGER,          -- document: the record of HELO's domain
    document    TEXT    NOT NULL  -- JSON
) STRICT;

-- What became of a message: append-only, the row with the highest seq holds. seq is never used
-- twice, even after everything was deleted: reports name the ranges of it that they cover.
CREATE TABLE outcome (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    verdict       INTEGER NOT NULL,
    state         TEXT    NOT NULL,
    at            INTEGER NOT NULL, -- microseconds since 1970, UTC
    day           INTEGER NOT NULL, -- the UTC day of at, since 1970-01-01
    source        TEXT    NOT NULL,
    detail        TEXT,
    policy_domain INTEGER           -- name: as the verdict's policy_published says
) STRICT;
CREATE INDEX outcome_verdict ON outcome (verdict);
-- A day's outcomes of one policy domain, in order of seq.
CREATE INDEX outcome_day ON outcome (day, policy_domain)
    WHERE policy_domain IS NOT NULL AND state <> 'answering';

-- Verdicts whose state is not meant to last, so that a start after a crash finds them at once.
CREATE TABLE awaiting (
    verdict INTEGER PRIMARY KEY,
    state   TEXT    NOT NULL
) STRICT;
