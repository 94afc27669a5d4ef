-- Reports as they were submitted. Rows do not change.
CREATE TABLE reports (
    id TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    agency TEXT,
    receipt_hash BYTEA NOT NULL,
    accept_time BIGINT NOT NULL,
    entry_hash BYTEA NOT NULL,
    commitment_key BYTEA NOT NULL,
    content BYTEA NOT NULL
);

-- Where a report stands that anything followed: its state and chain, and the case as routing last
-- told of it.
CREATE TABLE report_states (
    report TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    change_time BIGINT NOT NULL,
    known_time BIGINT NOT NULL,
    case_view BYTEA
);

-- The reports with where each stands. Accepting one writes no row for that, as most of it is known:
-- it is the first change.
CREATE VIEW standings AS SELECT
    id, caller, agency, receipt_hash, accept_time, content,
    COALESCE(state, 'ACCEPTED') AS state,
    COALESCE(sequence, 1) AS sequence,
    COALESCE(hash, entry_hash) AS hash,
    COALESCE(change_time, accept_time) AS change_time,
    COALESCE(known_time, accept_time) AS known_time,
    case_view
FROM reports LEFT JOIN report_states ON report = id;
