-- The routes that a case had before it was filed under another category, from 1. `cases` and
-- `case_openings` have the one in force. `sequence` is the change of the case that logged it.
CREATE TABLE case_former_routes (
    case_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    category TEXT NOT NULL,
    urgent BIGINT NOT NULL,
    facts BYTEA NOT NULL,
    explanation BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    salt BYTEA NOT NULL,
    detail BYTEA NOT NULL,
    PRIMARY KEY (case_id, number)
);

ALTER TABLE case_openings ADD COLUMN sequence BIGINT NOT NULL DEFAULT 1;
