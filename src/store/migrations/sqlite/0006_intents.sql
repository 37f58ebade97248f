-- What is about to be asked of the MTA for a held message, until the outcome is written.

CREATE TABLE intent (
    verdict  BLOB    PRIMARY KEY, -- its id
    at       INTEGER NOT NULL,    -- microseconds since 1970, UTC
    who      TEXT    NOT NULL,
    document TEXT    NOT NULL     -- JSON
) STRICT, WITHOUT ROWID;
