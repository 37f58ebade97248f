-- Mail that was passed over, counted per UTC day; of the messages themselves nothing is kept.

CREATE TABLE skip (
    day      INTEGER NOT NULL,
    reason   TEXT    NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (day, reason)
) STRICT, WITHOUT ROWID;

-- Of authenticated clients, by author domain and recipient domain. A message to several domains
-- counts once for each; pairs beyond a bound per day are in skip alone.
CREATE TABLE skip_domain (
    day              INTEGER NOT NULL,
    author_domain    TEXT    NOT NULL, -- '' when there is not exactly one
    recipient_domain TEXT    NOT NULL,
    messages         INTEGER NOT NULL,
    PRIMARY KEY (day, author_domain, recipient_domain)
) STRICT, WITHOUT ROWID;
