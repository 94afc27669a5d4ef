-- The log: canonical entries in log order. No column says more than the entry itself does.
CREATE TABLE entries (
    idx BIGINT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    entry BYTEA NOT NULL
);

-- What entries commit to: the chain, and the detail. Apart from them, so that whoever may read the log need not be able to read this.
-- A mark commits to nothing: its row is empty, and says that nothing is missing.
CREATE TABLE openings (
    idx BIGINT NOT NULL PRIMARY KEY,
    record TEXT,
    sequence BIGINT,
    previous BYTEA,
    kind TEXT,
    chain_salt BYTEA,
    detail_salt BYTEA,
    detail BYTEA,
    -- The chain check's last resort: the database itself takes no place of a record twice.
    UNIQUE (record, sequence)
);

-- The Merkle tree in C2SP tlog-tiles layout, height 8. The right-most tile of each level grows, all others are final.
-- A place is one number, the level in its highest byte: on SQLite the rows are then the index.
CREATE TABLE tiles (
    place BIGINT NOT NULL PRIMARY KEY,
    hashes BYTEA NOT NULL
);

-- One row: how large the log is, and which store may write. A store that opens takes the next epoch.
CREATE TABLE head (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    epoch BIGINT NOT NULL
);

-- What was signed: the newest, and of each past minute the last.
CREATE TABLE checkpoints (
    size BIGINT NOT NULL PRIMARY KEY,
    note TEXT NOT NULL,
    time BIGINT NOT NULL
);
CREATE INDEX checkpoints_time ON checkpoints (time);
