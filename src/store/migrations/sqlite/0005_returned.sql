-- Messages that came back with their verdict header: each header is good for one time.

CREATE TABLE returned (
    verdict  INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL, -- microseconds since 1970, UTC
    queue_id TEXT              -- under which it came back
) STRICT;
