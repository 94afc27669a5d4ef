-- Cases as they were opened. Never changed. `excluded` and `last_resort` are ids between spaces; clocks are written as `24 hours`.
-- With row ids, because rows are long.
CREATE TABLE cases (
    id TEXT NOT NULL PRIMARY KEY,
    category TEXT NOT NULL,
    urgent INTEGER NOT NULL,
    open_time INTEGER NOT NULL,
    facts BLOB NOT NULL,
    explanation BLOB NOT NULL,
    excluded TEXT NOT NULL,
    last_resort TEXT NOT NULL,
    acknowledge_clock TEXT,
    result_clock TEXT
);

CREATE INDEX cases_newest ON cases (open_time, id);

-- Where each case stands: its state, owner, clock and chain. An open case has exactly one owner and one running clock.
CREATE TABLE case_states (
    case_id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT,
    supporting TEXT NOT NULL,
    clock_kind TEXT,
    clock_generation INTEGER,
    clock_due INTEGER,
    clock_provisional INTEGER,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL,
    CONSTRAINT an_open_case_has_an_owner CHECK ((owner IS NULL) = (state IN ('CLOSED', 'ADVISED'))),
    CONSTRAINT an_owner_has_a_clock CHECK (
        (owner IS NULL) = (clock_kind IS NULL) AND (owner IS NULL) = (clock_generation IS NULL)
        AND (owner IS NULL) = (clock_due IS NULL) AND (owner IS NULL) = (clock_provisional IS NULL)
    )
) WITHOUT ROWID;

CREATE INDEX case_states_clock ON case_states (clock_due) WHERE clock_due IS NOT NULL;

-- Which case a report belongs to. A report opens a case once, whatever is delivered twice.
CREATE TABLE case_reports (
    report TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX case_reports_case ON case_reports (case_id);

-- Who sees a case: its lead, or whoever must designate, and those who support. Follows `case_states`.
CREATE TABLE case_parties (
    case_id TEXT NOT NULL,
    agency TEXT NOT NULL,
    role TEXT NOT NULL,
    open_time INTEGER NOT NULL,
    PRIMARY KEY (case_id, agency)
) WITHOUT ROWID;

CREATE INDEX case_parties_newest ON case_parties (agency, open_time, case_id);

-- Changes in the order of their commits, for each agency that saw the case before or after.
CREATE TABLE feed (
    agency TEXT NOT NULL,
    position INTEGER NOT NULL,
    case_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    change_time INTEGER NOT NULL,
    PRIMARY KEY (agency, position)
) WITHOUT ROWID;

CREATE INDEX feed_window ON feed (change_time);

-- Up to where each agency's changes were forgotten: whoever read less has missed some.
CREATE TABLE feed_forgotten (
    agency TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;

-- The last position given. Updated last in each transaction, so that positions are given in the order of commits.
CREATE TABLE feed_head (
    id INTEGER NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO feed_head (id, position) VALUES (1, 0);

-- First answers to requests that named an id, while their window lasts.
CREATE TABLE requests (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    answer_time INTEGER NOT NULL,
    PRIMARY KEY (caller, request_id)
) WITHOUT ROWID;

CREATE INDEX requests_window ON requests (answer_time);
