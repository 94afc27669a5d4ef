-- Every change of every record of this service, as canonical bytes.
CREATE TABLE journal (
    record TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    time BIGINT NOT NULL,
    entry BYTEA NOT NULL,
    -- Opens the entry's chain commitment, whose content is rebuilt from this row and the one
    -- before.
    chain_salt BYTEA NOT NULL,
    PRIMARY KEY (record, sequence)
);

-- Undelivered events. `position` sorts by time, then sequence.
CREATE TABLE outbox (
    consumer TEXT NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    record TEXT NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (consumer, position)
);

-- Records whose next event a consumer refused: retried at `retry_time`; others go on.
CREATE TABLE outbox_parked (
    consumer TEXT NOT NULL,
    record TEXT NOT NULL,
    since BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    retry_time BIGINT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (consumer, record)
);

-- The replica that delivers to a consumer. Saves work; no promise depends on it.
CREATE TABLE relay_leases (
    consumer TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until_time BIGINT NOT NULL
);

-- The events that a consumer has acknowledged, for high-water marks: number and sum of hashes.
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
