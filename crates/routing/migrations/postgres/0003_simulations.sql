-- Finished simulations: a proposed rule set compared with the active one over a directory. Required
-- for an activation.
CREATE TABLE simulations (
    proposed BYTEA NOT NULL,
    against BYTEA NOT NULL,
    directory BYTEA NOT NULL,
    decided BIGINT NOT NULL,
    different BIGINT NOT NULL,
    finish_time BIGINT NOT NULL,
    finished_by TEXT NOT NULL,
    PRIMARY KEY (proposed, against, directory)
);

-- The detail of the change that opened a case, and its salt: with them, the route can be compared
-- with the logged commitment.
CREATE TABLE case_openings (
    case_id TEXT NOT NULL PRIMARY KEY,
    salt BYTEA NOT NULL,
    detail BYTEA NOT NULL
);
