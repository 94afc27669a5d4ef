-- The key that seals page and resume tokens: one row, made at the first use, the same for all replicas and restarts.
CREATE TABLE token_keys (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    key BLOB NOT NULL
);
