-- Rules that the operator keeps in the store, and how often rules were used.

CREATE TABLE exception (
    id           INTEGER PRIMARY KEY AUTOINCREMENT, -- verdicts name it
    same         TEXT    NOT NULL, -- equal for rules that decide the same
    rule         TEXT    NOT NULL, -- JSON, with the keys of the settings file
    created      INTEGER NOT NULL, -- microseconds since 1970, UTC
    expires      INTEGER,          -- microseconds; NULL: never
    removed      INTEGER,          -- microseconds; NULL: not removed
    from_verdict BLOB              -- the id of the message whose release it came with
) STRICT;
CREATE INDEX exception_same ON exception (same) WHERE removed IS NULL;

-- Who did what to it; that it expired follows from expires.
CREATE TABLE exception_event (
    id        INTEGER PRIMARY KEY,
    exception INTEGER NOT NULL,
    at        INTEGER NOT NULL, -- microseconds
    what      TEXT    NOT NULL, -- added, changed, removed
    who       TEXT    NOT NULL,
    why       TEXT
) STRICT;
CREATE INDEX exception_event_of ON exception_event (exception);

-- How often a rule, of the settings or of the store, decided about a message.
CREATE TABLE rule_use (
    rule  TEXT    PRIMARY KEY, -- its key
    hits  INTEGER NOT NULL,
    first INTEGER NOT NULL,    -- microseconds
    last  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Held mail is awaited: retention keeps it, and a listing finds it at once.
INSERT OR REPLACE INTO awaiting (verdict, state)
    SELECT verdict, state FROM outcome WHERE state = 'held'
        AND seq = (SELECT max(n.seq) FROM outcome n WHERE n.verdict = outcome.verdict);
