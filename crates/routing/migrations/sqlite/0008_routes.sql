-- The routes that a case had before it was filed under another category, from 1. `cases` and
-- `case_openings` have the one in force. `sequence` is the change of the case that logged it.
CREATE TABLE case_former_routes (
    case_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    category TEXT NOT NULL,
    urgent INTEGER NOT NULL,
    facts BLOB NOT NULL,
    explanation BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    salt BLOB NOT NULL,
    detail BLOB NOT NULL,
    PRIMARY KEY (case_id, number)
);

ALTER TABLE case_openings ADD COLUMN sequence INTEGER NOT NULL DEFAULT 1;
