-- First answers to requests that named an id, while their window lasts.
CREATE TABLE requests (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    answer_time INTEGER NOT NULL,
    PRIMARY KEY (request_id, caller)
) WITHOUT ROWID;

CREATE INDEX requests_window ON requests (answer_time);
