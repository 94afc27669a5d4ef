-- The upload that goes on with one that broke off: no other notes anything of it. And when that was
-- last heard of: one that runs does not end with the day.
ALTER TABLE uploads ADD COLUMN writer TEXT NOT NULL DEFAULT '';
ALTER TABLE uploads ADD COLUMN note_time INTEGER NOT NULL DEFAULT 0;
