-- The services that append: the events that the log holds of each, and whether it is frozen.
CREATE TABLE producers (
    source TEXT NOT NULL PRIMARY KEY,
    events BIGINT NOT NULL,
    set_hash BYTEA NOT NULL,
    frozen BIGINT,
    tolerated_until BIGINT,
    incidents BIGINT NOT NULL
);

-- The newest mark of each, and the log's standing against it.
CREATE TABLE marks (
    source TEXT NOT NULL PRIMARY KEY,
    delivered BIGINT NOT NULL,
    delivered_hash BYTEA NOT NULL,
    committed BIGINT NOT NULL,
    committed_hash BYTEA,
    found TEXT NOT NULL,
    awaited BIGINT,
    awaited_since BIGINT,
    standing TEXT NOT NULL,
    standing_since BIGINT NOT NULL,
    logged TEXT NOT NULL,
    -- The newest mark in the log: its number of events, and its time.
    marked BIGINT,
    marked_time BIGINT
);

-- Changes that are kept out of the log. `key` is the record, or the reused event id.
CREATE TABLE gaps (
    kind TEXT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    source TEXT NOT NULL,
    record TEXT NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    since BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    examined BIGINT,
    PRIMARY KEY (kind, key)
);
