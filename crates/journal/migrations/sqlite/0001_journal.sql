-- Every change of every record of this service, as canonical bytes.
CREATE TABLE journal (
    record TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    time INTEGER NOT NULL,
    entry BLOB NOT NULL,
    -- Opens the entry's chain commitment, whose content is rebuilt from this row and the one
    -- before.
    chain_salt BLOB NOT NULL,
    PRIMARY KEY (record, sequence)
) WITHOUT ROWID;

-- Undelivered events. `position` sorts by time, then sequence. With row ids, because payloads are
-- long.
CREATE TABLE outbox (
    consumer TEXT NOT NULL,
    position TEXT NOT NULL,
    record TEXT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (consumer, position)
);

-- Records whose next event a consumer refused: retried at `retry_time`; others go on.
CREATE TABLE outbox_parked (
    consumer TEXT NOT NULL,
    record TEXT NOT NULL,
    since INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    retry_time INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (consumer, record)
) WITHOUT ROWID;

-- The replica that delivers to a consumer. Saves work; no promise depends on it.
CREATE TABLE relay_leases (
    consumer TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until_time INTEGER NOT NULL
) WITHOUT ROWID;

-- The events that a consumer has acknowledged, for high-water marks: number and sum of hashes.
CREATE TABLE outbox_delivered (
    consumer TEXT NOT NULL PRIMARY KEY,
    events INTEGER NOT NULL,
    set_hash BLOB NOT NULL
) WITHOUT ROWID;

-- The last event taken of each record of other services.
CREATE TABLE inbox (
    record TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL
) WITHOUT ROWID;
