-- Who dies with an entry in hand leaves it to be taken again: at once by whoever knows that nobody else
-- sends, and by others when its next_try has come.
ALTER TABLE outbox ADD COLUMN in_hand INTEGER NOT NULL DEFAULT 0; -- taken, and nothing recorded since
CREATE INDEX outbox_in_hand ON outbox (number) WHERE in_hand = 1;
-- The oldest report that waits.
CREATE INDEX outbox_oldest ON outbox (report) WHERE state IN ('to_verify', 'queued');
