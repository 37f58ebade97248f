-- What tells this store from every other: part of the ids of reports made from it.

CREATE TABLE store_id (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id  BLOB    NOT NULL -- 16 octets by chance
) STRICT;
INSERT INTO store_id (one, id) VALUES (1, randomblob(16));
