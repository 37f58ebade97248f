-- RFC 9990 section 4: a destination that was not confirmed must not be used, and a resend must not forget it.
ALTER TABLE outbox ADD COLUMN verified INTEGER NOT NULL DEFAULT 0; -- the check confirmed address
-- Tries and delivery.retry_for count from the resend; NULL: there was none, and they count from report.built.
ALTER TABLE outbox ADD COLUMN queued_at INTEGER; -- microseconds
ALTER TABLE outbox ADD COLUMN tries_before INTEGER NOT NULL DEFAULT 0; -- attempts by then

-- Mail was sent there, or it waits for its first try, which it never did unconfirmed. Of the others it cannot
-- be told: they are asked again.
UPDATE outbox SET verified = 1
    WHERE state = 'sent' OR (state = 'queued' AND attempts = 0)
        OR (state = 'refused' AND last_answer LIKE 'bounced: %');
UPDATE outbox SET state = 'to_verify' WHERE state = 'queued' AND verified = 0 AND host <> '';
-- Nobody could ever take these.
UPDATE outbox SET state = 'refused', last_answer = 'not an address that mail is sent to'
    WHERE state IN ('to_verify', 'queued') AND host = '';

-- Mail that is due is looked for by itself: it does not wait behind what is to be verified.
DROP INDEX outbox_waiting;
DROP INDEX outbox_next;
CREATE INDEX outbox_queued ON outbox (next_try) WHERE state = 'queued';
CREATE INDEX outbox_queued_host ON outbox (host, next_try) WHERE state = 'queued';
CREATE INDEX outbox_to_verify ON outbox (next_try) WHERE state = 'to_verify';
-- Whether a domain gets mail.
CREATE INDEX outbox_sent ON outbox (host) WHERE state = 'sent';
