-- The lists that each case is on: for each agency that sees it those of its worklists, and its state;
-- for operators, as the agency with the empty name, its state only. They follow from the case, and
-- are written with it. Lists are read in the order of `place`.
CREATE TABLE case_lists (
    case_id TEXT NOT NULL,
    agency TEXT NOT NULL,
    list TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (case_id, agency, list)
) WITHOUT ROWID;

CREATE INDEX case_lists_place ON case_lists (agency, list, place, case_id);

-- By which rules the rows of `case_lists` were made. Other rules make them anew.
CREATE TABLE case_lists_rules (
    id INTEGER NOT NULL PRIMARY KEY,
    rules TEXT NOT NULL
) WITHOUT ROWID;
