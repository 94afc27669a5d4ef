-- Cases as they were opened. Never changed. `matter` is an encoded `CaseMatter`.
-- With row ids, because its rows are long.
CREATE TABLE cases (
    id TEXT NOT NULL PRIMARY KEY,
    category TEXT NOT NULL,
    urgent INTEGER NOT NULL,
    open_time INTEGER NOT NULL,
    facts BLOB NOT NULL,
    explanation BLOB NOT NULL,
    matter BLOB NOT NULL
);

CREATE INDEX cases_newest ON cases (open_time, id);

-- The state of each case, the origin of its lead, and the head of its chain of changes. Its owner
-- is in `case_parties`, its clocks are in `case_clocks`. `disposition` is an encoded
-- `CaseDisposition`; with what officers wrote: personal content, like `case_steps.note`.
CREATE TABLE case_states (
    case_id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    origin TEXT,
    former_owner TEXT,
    course BLOB NOT NULL,
    disposition BLOB,
    generation INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL,
    CONSTRAINT an_open_case_has_an_owner CHECK ((origin IS NULL) = (state IN ('CLOSED', 'ADVISED')))
) WITHOUT ROWID;

-- The running clocks: for each open case at least the owner's. `due` is derived from the rest, for
-- the index.
CREATE TABLE case_clocks (
    case_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    generation INTEGER NOT NULL,
    unit TEXT NOT NULL,
    budget INTEGER NOT NULL,
    used INTEGER NOT NULL,
    since INTEGER NOT NULL,
    paused_until INTEGER,
    pause_ground INTEGER,
    pauses BLOB NOT NULL,
    due INTEGER NOT NULL,
    provisional INTEGER NOT NULL,
    is_term INTEGER NOT NULL,
    reminded INTEGER NOT NULL,
    remind INTEGER,
    next INTEGER NOT NULL,
    PRIMARY KEY (case_id, kind, owner)
) WITHOUT ROWID;

CREATE INDEX case_clocks_next ON case_clocks (next, case_id, generation);

-- The case of each report. A report opens a case once, even if it is delivered twice.
CREATE TABLE case_reports (
    report TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX case_reports_case ON case_reports (case_id);

-- The parties of a case: its lead or the superior that must designate one, and the supporting
-- agencies in order. `by_request` is 1 for one that has its part only by a request for assistance
-- that it has not fulfilled.
CREATE TABLE case_parties (
    case_id TEXT NOT NULL,
    agency TEXT NOT NULL,
    part TEXT NOT NULL,
    by_request INTEGER NOT NULL,
    supports INTEGER NOT NULL,
    place INTEGER NOT NULL,
    open_time INTEGER NOT NULL,
    PRIMARY KEY (case_id, agency)
) WITHOUT ROWID;

CREATE UNIQUE INDEX case_parties_one_owner ON case_parties (case_id) WHERE part IN ('lead', 'designating');

CREATE INDEX case_parties_supervising ON case_parties (case_id) WHERE part = 'supervising';

CREATE INDEX case_parties_newest ON case_parties (agency, open_time, case_id);

-- The exclusions of open cases: those of the opening, and successors since. `directory` is the
-- digest of the directory they were last computed by.
CREATE TABLE case_exclusions (
    case_id TEXT NOT NULL,
    agency TEXT NOT NULL,
    directory BLOB NOT NULL,
    PRIMARY KEY (case_id, agency)
) WITHOUT ROWID;

CREATE INDEX case_exclusions_directory ON case_exclusions (directory, case_id);

-- Changes in the order of commits, for each agency that sees the case before or after the change.
CREATE TABLE feed (
    agency TEXT NOT NULL,
    position INTEGER NOT NULL,
    case_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    change_time INTEGER NOT NULL,
    PRIMARY KEY (agency, position)
) WITHOUT ROWID;

CREATE INDEX feed_window ON feed (change_time);

-- The last position deleted from each agency's feed: a reader of an earlier one has missed changes.
CREATE TABLE feed_forgotten (
    agency TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;

-- The last position given out. Updated last in each transaction, so that positions follow the order
-- of commits.
CREATE TABLE feed_head (
    id INTEGER NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO feed_head (id, position) VALUES (1, 0);
