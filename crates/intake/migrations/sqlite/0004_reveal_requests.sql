-- Request ids of reveals, for as long as they stand for their first answer: then they are NULL.
ALTER TABLE reveals ADD COLUMN request_id TEXT;
ALTER TABLE reveals ADD COLUMN fingerprint BLOB;
CREATE UNIQUE INDEX reveals_by_request ON reveals (system, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX reveals_by_time ON reveals (reveal_time) WHERE request_id IS NOT NULL;
