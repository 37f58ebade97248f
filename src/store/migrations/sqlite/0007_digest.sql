-- The daily digest of what is held: how far it is; one row at most.
CREATE TABLE digest (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    due      INTEGER NOT NULL, -- microseconds since 1970, UTC: the point at which the last one was due
    sent     INTEGER,          -- microseconds: when the mail server took the last one
    messages INTEGER NOT NULL  -- that it told to be held
) STRICT;

-- Microseconds: when the mail server took the digest that says that this held message is to be deleted.
ALTER TABLE awaiting ADD COLUMN announced INTEGER;
