-- Finished simulations: a proposed rule set compared with the active one over a directory. Required
-- for an activation.
CREATE TABLE simulations (
    proposed BLOB NOT NULL,
    against BLOB NOT NULL,
    directory BLOB NOT NULL,
    decided INTEGER NOT NULL,
    different INTEGER NOT NULL,
    finish_time INTEGER NOT NULL,
    finished_by TEXT NOT NULL,
    PRIMARY KEY (proposed, against, directory)
) WITHOUT ROWID;

-- The detail of the change that opened a case, and its salt: with them, the route can be compared
-- with the logged commitment.
CREATE TABLE case_openings (
    case_id TEXT NOT NULL PRIMARY KEY,
    salt BLOB NOT NULL,
    detail BLOB NOT NULL
);
