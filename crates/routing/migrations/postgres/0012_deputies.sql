-- Officers who act in others' stead, at an agency, from `begins` until `ends`. Names as they were
-- written. Each is a record of the log; `sequence` and `hash` are the head of its chain.
CREATE TABLE deputies (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    agency TEXT NOT NULL,
    officer TEXT NOT NULL,
    deputy TEXT NOT NULL,
    begins BIGINT NOT NULL,
    ends BIGINT NOT NULL,
    appointer TEXT NOT NULL,
    appoint_time BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    change_time BIGINT NOT NULL
);

CREATE INDEX deputies_ends ON deputies (agency, ends);
