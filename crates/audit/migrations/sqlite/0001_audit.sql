-- The log: canonical entries in log order. No column says more than the entry itself does.
CREATE TABLE entries (
    idx INTEGER NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    entry BLOB NOT NULL
);

-- Openings of the entries' commitments to chain and detail. In a table of their own, so that access
-- to the log does not need access to them. A mark has no commitments: its row is empty, and shows
-- that nothing is missing.
CREATE TABLE openings (
    idx INTEGER NOT NULL PRIMARY KEY,
    record TEXT,
    sequence INTEGER,
    previous BLOB,
    kind TEXT,
    chain_salt BLOB,
    detail_salt BLOB,
    detail BLOB,
    -- Last resort of the chain check: the database accepts each sequence of a record once.
    UNIQUE (record, sequence)
);

-- The Merkle tree in C2SP tlog-tiles layout, height 8. The right-most tile of each level grows, all
-- others are final. A place is one number with the level in its highest byte, so that on SQLite the
-- rows are the index.
CREATE TABLE tiles (
    place INTEGER NOT NULL PRIMARY KEY,
    hashes BLOB NOT NULL
);

-- One row: the size and root of the log, and the epoch of the store that may write. Each opening
-- store takes the next epoch.
CREATE TABLE head (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    epoch INTEGER NOT NULL
);

-- Signed checkpoints: the newest, and the last of each past minute.
CREATE TABLE checkpoints (
    size INTEGER NOT NULL PRIMARY KEY,
    note TEXT NOT NULL,
    time INTEGER NOT NULL
);
CREATE INDEX checkpoints_time ON checkpoints (time);
