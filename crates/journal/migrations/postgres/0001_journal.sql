-- Every change of every record of this service, as canonical bytes.
CREATE TABLE journal (
    record TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    time BIGINT NOT NULL,
    entry BYTEA NOT NULL,
    -- Opens the entry's chain commitment: what that is to stands in this row, and in the one before.
    chain_salt BYTEA NOT NULL,
    PRIMARY KEY (record, sequence)
);

-- What consumers have not taken yet. `position` sorts by time, then sequence.
CREATE TABLE outbox (
    consumer TEXT NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    record TEXT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (consumer, position)
);

-- Records whose next event a consumer refused: tried again at `retry_time`, others go on.
CREATE TABLE outbox_parked (
    consumer TEXT NOT NULL,
    record TEXT NOT NULL,
    since BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    retry_time BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (consumer, record)
);

-- Which replica delivers to a consumer. Saves work, carries no promise.
CREATE TABLE relay_leases (
    consumer TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until_time BIGINT NOT NULL
);

-- What a consumer has acknowledged of this producer's events, for high-water marks: how many, and the sum of their hashes.
CREATE TABLE outbox_delivered (
    consumer TEXT NOT NULL PRIMARY KEY,
    events BIGINT NOT NULL,
    set_hash BYTEA NOT NULL
);

-- The last event taken of each record of other services.
CREATE TABLE inbox (
    record TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL
);
