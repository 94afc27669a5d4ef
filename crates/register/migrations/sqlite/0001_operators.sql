-- Loads of the operator register. Whoever reads sees the rows of those that are LIVE and of no
-- others: since the last replacement, all that were put into force. LOADING ones are being written,
-- DEAD ones are swept, of SWEPT ones nothing is left.
CREATE TABLE operator_loads (
    load INTEGER NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('LOADING', 'LIVE', 'DEAD', 'SWEPT')),
    touch_time INTEGER NOT NULL,
    version INTEGER,
    CONSTRAINT what_is_live_has_a_version CHECK (state <> 'LIVE' OR version IS NOT NULL)
) WITHOUT ROWID;

-- What each load says of each name: who operates it, where, from the first to the last day (ISO
-- 8601; empty without end). Of several live loads that have a name, the one of the highest version
-- counts. A row without place removes the name.
CREATE TABLE operator_entries (
    key TEXT NOT NULL,
    load INTEGER NOT NULL,
    valid_from TEXT NOT NULL,
    valid_to TEXT NOT NULL,
    place TEXT NOT NULL,
    operator TEXT NOT NULL,
    PRIMARY KEY (key, load, valid_from)
) WITHOUT ROWID;

-- Every version there ever was.
CREATE TABLE operator_versions (
    version INTEGER NOT NULL PRIMARY KEY,
    load INTEGER NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    entries INTEGER NOT NULL,
    load_time INTEGER NOT NULL
) WITHOUT ROWID;

-- The register as a record: the version in force, the last load's number, and its chain of changes.
CREATE TABLE operator_register (
    id INTEGER NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    digest BLOB NOT NULL,
    entries INTEGER NOT NULL,
    last_load INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO operator_register (id, version, digest, entries, last_load, sequence, hash, change_time)
VALUES (1, 0, zeroblob(32), 0, 0, 0, zeroblob(32), 0);
