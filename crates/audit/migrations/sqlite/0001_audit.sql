-- The log: canonical entries in log order. No column says more than the entry itself does.
CREATE TABLE entries (
    idx INTEGER NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    entry BLOB NOT NULL
);

-- What entries commit to: the chain, and the detail. Apart from them, so that whoever may read the log need not be able to read this.
-- A mark commits to nothing: its row is empty, and says that nothing is missing.
CREATE TABLE openings (
    idx INTEGER NOT NULL PRIMARY KEY,
    record TEXT,
    sequence INTEGER,
    previous BLOB,
    kind TEXT,
    chain_salt BLOB,
    detail_salt BLOB,
    detail BLOB,
    -- The chain check's last resort: the database itself takes no place of a record twice.
    UNIQUE (record, sequence)
);

-- The Merkle tree in C2SP tlog-tiles layout, height 8. The right-most tile of each level grows, all others are final.
-- A place is one number, the level in its highest byte: on SQLite the rows are then the index.
CREATE TABLE tiles (
    place INTEGER NOT NULL PRIMARY KEY,
    hashes BLOB NOT NULL
);

-- One row: how large the log is, and which store may write. A store that opens takes the next epoch.
CREATE TABLE head (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    epoch INTEGER NOT NULL
);

-- What was signed: the newest, and of each past minute the last.
CREATE TABLE checkpoints (
    size INTEGER NOT NULL PRIMARY KEY,
    note TEXT NOT NULL,
    time INTEGER NOT NULL
);
CREATE INDEX checkpoints_time ON checkpoints (time);
