-- Held mail: who moved an outcome, and what a report says of a released message instead of its verdict.

ALTER TABLE outcome ADD COLUMN who TEXT;          -- the person or program that moved it
ALTER TABLE outcome ADD COLUMN evaluated INTEGER; -- policy_evaluated; NULL: as the verdict's
