-- The key that seals page and resume tokens: one row, made at first use and kept.
CREATE TABLE token_keys (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    key BYTEA NOT NULL
);
