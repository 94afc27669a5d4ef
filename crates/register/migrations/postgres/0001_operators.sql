-- Loads of the operator register. Whoever reads sees the rows of those that are LIVE and of no
-- others: since the last replacement, all that were put into force. LOADING ones are being written,
-- DEAD ones are swept, of SWEPT ones nothing is left.
CREATE TABLE operator_loads (
    load BIGINT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('LOADING', 'LIVE', 'DEAD', 'SWEPT')),
    touch_time BIGINT NOT NULL,
    version BIGINT,
    CONSTRAINT what_is_live_has_a_version CHECK (state <> 'LIVE' OR version IS NOT NULL)
);

-- What each load says of each name: who operates it, where, from the first to the last day (ISO
-- 8601; empty without end). Of several live loads that have a name, the one of the highest version
-- counts. A row without place removes the name.
CREATE TABLE operator_entries (
    key TEXT COLLATE "C" NOT NULL,
    load BIGINT NOT NULL,
    valid_from TEXT NOT NULL,
    valid_to TEXT NOT NULL,
    place TEXT NOT NULL,
    operator TEXT NOT NULL,
    PRIMARY KEY (key, load, valid_from)
);

-- Every version there ever was.
CREATE TABLE operator_versions (
    version BIGINT NOT NULL PRIMARY KEY,
    load BIGINT NOT NULL UNIQUE,
    digest BYTEA NOT NULL,
    entries BIGINT NOT NULL,
    load_time BIGINT NOT NULL
);

-- The register as a record: the version in force, the last load's number, and its chain of changes.
CREATE TABLE operator_register (
    id BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    entries BIGINT NOT NULL,
    last_load BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    change_time BIGINT NOT NULL
);

INSERT INTO operator_register (id, version, digest, entries, last_load, sequence, hash, change_time)
VALUES (1, 0, decode(repeat('00', 32), 'hex'), 0, 0, 0, decode(repeat('00', 32), 'hex'), 0);
