-- Officers who act in others' stead, at an agency, from `begins` until `ends`. Names as they were
-- written. Each is a record of the log; `sequence` and `hash` are the head of its chain.
CREATE TABLE deputies (
    id TEXT NOT NULL PRIMARY KEY,
    agency TEXT NOT NULL,
    officer TEXT NOT NULL,
    deputy TEXT NOT NULL,
    begins INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    appointer TEXT NOT NULL,
    appoint_time INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX deputies_ends ON deputies (agency, ends);
