-- Uploads that have not come to their end, and how much of each is durable under `file` where files
-- arrive. `fingerprint` is that of the announcement.
CREATE TABLE uploads (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    file TEXT NOT NULL,
    received BIGINT NOT NULL,
    begin_time BIGINT NOT NULL,
    PRIMARY KEY (caller, request_id)
);

CREATE INDEX uploads_begun ON uploads (begin_time);
