-- First answers to requests that named an id, while their window lasts.
CREATE TABLE requests (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    answer_time BIGINT NOT NULL,
    PRIMARY KEY (request_id, caller)
);

CREATE INDEX requests_window ON requests (answer_time);
