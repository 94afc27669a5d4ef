-- Rule sets, directories, and the directories' trees of territories: every route can be decided
-- again. The digest is the SHA-256 of the content. Never changed, never deleted.
CREATE TABLE versions (
    digest BYTEA NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    content BYTEA NOT NULL,
    create_time BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

CREATE INDEX versions_newest ON versions (kind, create_time, digest);

-- The active version of each kind, and the head of the kind's chain of changes. A transaction that
-- opens a case or gives it to another agency holds a shared lock on these rows, a switch an
-- exclusive one.
CREATE TABLE active_versions (
    kind TEXT NOT NULL PRIMARY KEY,
    digest BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    change_time BIGINT NOT NULL
);

-- All switches, by the sequence of the change in the kind's chain. Never changed, never deleted.
CREATE TABLE activations (
    kind TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    activate_time BIGINT NOT NULL,
    activated_by TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (kind, sequence)
);

-- Agencies that a directory in force had once, and a later one no longer; with the successor that
-- they had last.
CREATE TABLE former_agencies (
    agency TEXT NOT NULL PRIMARY KEY,
    successor TEXT
);
