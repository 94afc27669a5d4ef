-- Simulations that were finished: a rule set, tried out against the one in force over a directory. Asked for at activation.
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

-- The detail of the change that opened a case, and its salt: with them the facts can be held against the logged commitment.
CREATE TABLE case_openings (
    case_id TEXT NOT NULL PRIMARY KEY,
    salt BYTEA NOT NULL,
    detail BYTEA NOT NULL
);
