-- The log: canonical entries in log order. No column says more than the entry itself does.
CREATE TABLE entries (
    idx BIGINT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    entry BYTEA NOT NULL
);

-- Openings of the entries' commitments to chain and detail. In a table of their own, so that access
-- to the log does not need access to them. A mark has no commitments: its row is empty, and shows
-- that nothing is missing.
CREATE TABLE openings (
    idx BIGINT NOT NULL PRIMARY KEY,
    record TEXT,
    sequence BIGINT,
    previous BYTEA,
    kind TEXT,
    chain_salt BYTEA,
    detail_salt BYTEA,
    detail BYTEA,
    -- Last resort of the chain check: the database accepts each sequence of a record once.
    UNIQUE (record, sequence)
);

-- The Merkle tree in C2SP tlog-tiles layout, height 8. The right-most tile of each level grows, all
-- others are final. A place is one number with the level in its highest byte, so that on SQLite the
-- rows are the index.
CREATE TABLE tiles (
    place BIGINT NOT NULL PRIMARY KEY,
    hashes BYTEA NOT NULL
);

-- One row: the size and root of the log, and the epoch of the store that may write. Each opening
-- store takes the next epoch.
CREATE TABLE head (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    epoch BIGINT NOT NULL
);

-- Signed checkpoints: the newest, and the last of each past minute.
CREATE TABLE checkpoints (
    size BIGINT NOT NULL PRIMARY KEY,
    note TEXT NOT NULL,
    time BIGINT NOT NULL
);
CREATE INDEX checkpoints_time ON checkpoints (time);
