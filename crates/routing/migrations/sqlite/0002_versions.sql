-- What cases are routed by, so that each route can be decided again: rule sets, directories and the trees of territories that
-- those stand in. The digest of each is the SHA-256 of its content. Never changed, never deleted. A table with row ids, because contents are long.
CREATE TABLE versions (
    digest BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    content BLOB NOT NULL,
    create_time INTEGER NOT NULL,
    created_by TEXT NOT NULL
);

CREATE INDEX versions_newest ON versions (kind, create_time, digest);

-- Which version of each kind decides now, and the head of the kind's chain of changes. Whoever opens a case or gives it to
-- another agency holds these rows shared to the end of its transaction; a switch takes them for itself.
CREATE TABLE active_versions (
    kind TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL
) WITHOUT ROWID;

-- Every switch, by the sequence of its change in the kind's chain. Never changed, never deleted.
CREATE TABLE activations (
    kind TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    digest BLOB NOT NULL,
    activate_time INTEGER NOT NULL,
    activated_by TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (kind, sequence)
) WITHOUT ROWID;

-- Agencies that a directory in force had once, and a later one no longer; with the successor that they had last.
CREATE TABLE former_agencies (
    agency TEXT NOT NULL PRIMARY KEY,
    successor TEXT
) WITHOUT ROWID;
