-- The services that append: the events that the log holds of each, and whether it is frozen.
CREATE TABLE producers (
    source TEXT NOT NULL PRIMARY KEY,
    events INTEGER NOT NULL,
    set_hash BLOB NOT NULL,
    frozen INTEGER,
    tolerated_until INTEGER,
    incidents INTEGER NOT NULL
) WITHOUT ROWID;

-- The newest mark of each, and the log's standing against it.
CREATE TABLE marks (
    source TEXT NOT NULL PRIMARY KEY,
    delivered INTEGER NOT NULL,
    delivered_hash BLOB NOT NULL,
    committed INTEGER NOT NULL,
    committed_hash BLOB,
    found TEXT NOT NULL,
    awaited INTEGER,
    awaited_since INTEGER,
    standing TEXT NOT NULL,
    standing_since INTEGER NOT NULL,
    logged TEXT NOT NULL,
    -- The newest mark in the log: its number of events, and its time.
    marked INTEGER,
    marked_time INTEGER
) WITHOUT ROWID;

-- Changes that are kept out of the log. `key` is the record, or the reused event id.
CREATE TABLE gaps (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    source TEXT NOT NULL,
    record TEXT NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    since INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    examined INTEGER,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
