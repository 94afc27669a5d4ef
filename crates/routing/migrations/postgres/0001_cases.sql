-- Cases as they were opened. Never changed. `excluded` and `last_resort` are ids between spaces; clocks are written as `24 hours`.
CREATE TABLE cases (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    category TEXT NOT NULL,
    urgent BIGINT NOT NULL,
    open_time BIGINT NOT NULL,
    facts BYTEA NOT NULL,
    explanation BYTEA NOT NULL,
    excluded TEXT NOT NULL,
    last_resort TEXT NOT NULL,
    acknowledge_clock TEXT,
    result_clock TEXT
);

CREATE INDEX cases_newest ON cases (open_time, id);

-- Where each case stands: its state, owner, clock and chain. An open case has exactly one owner and one running clock.
CREATE TABLE case_states (
    case_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT,
    supporting TEXT NOT NULL,
    clock_kind TEXT,
    clock_generation BIGINT,
    clock_due BIGINT,
    clock_provisional BIGINT,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    change_time BIGINT NOT NULL,
    CONSTRAINT an_open_case_has_an_owner CHECK ((owner IS NULL) = (state IN ('CLOSED', 'ADVISED'))),
    CONSTRAINT an_owner_has_a_clock CHECK (
        (owner IS NULL) = (clock_kind IS NULL) AND (owner IS NULL) = (clock_generation IS NULL)
        AND (owner IS NULL) = (clock_due IS NULL) AND (owner IS NULL) = (clock_provisional IS NULL)
    )
);

CREATE INDEX case_states_clock ON case_states (clock_due) WHERE clock_due IS NOT NULL;

-- Which case a report belongs to. A report opens a case once, whatever is delivered twice.
CREATE TABLE case_reports (
    report TEXT NOT NULL PRIMARY KEY,
    case_id TEXT COLLATE "C" NOT NULL
);

CREATE INDEX case_reports_case ON case_reports (case_id);

-- Who sees a case: its lead, or whoever must designate, and those who support. Follows `case_states`.
CREATE TABLE case_parties (
    case_id TEXT COLLATE "C" NOT NULL,
    agency TEXT NOT NULL,
    role TEXT NOT NULL,
    open_time BIGINT NOT NULL,
    PRIMARY KEY (case_id, agency)
);

CREATE INDEX case_parties_newest ON case_parties (agency, open_time, case_id);

-- Changes in the order of their commits, for each agency that saw the case before or after.
CREATE TABLE feed (
    agency TEXT NOT NULL,
    position BIGINT NOT NULL,
    case_id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    change_time BIGINT NOT NULL,
    PRIMARY KEY (agency, position)
);

CREATE INDEX feed_window ON feed (change_time);

-- Up to where each agency's changes were forgotten: whoever read less has missed some.
CREATE TABLE feed_forgotten (
    agency TEXT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

-- The last position given. Updated last in each transaction, so that positions are given in the order of commits.
CREATE TABLE feed_head (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

INSERT INTO feed_head (id, position) VALUES (1, 0);

-- First answers to requests that named an id, while their window lasts.
CREATE TABLE requests (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    answer_time BIGINT NOT NULL,
    PRIMARY KEY (caller, request_id)
);

CREATE INDEX requests_window ON requests (answer_time);
