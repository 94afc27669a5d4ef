-- The open cases below each superior of their owner that may know of them: what it sees of each.
-- `place` is when the owner's clock ends; `runs` is 1 if the owner has to act and that clock runs.
-- They follow from the case, its exclusions and the directory, and are written with the case.
CREATE TABLE case_below (
    case_id TEXT NOT NULL,
    superior TEXT NOT NULL,
    owner TEXT NOT NULL,
    stage TEXT NOT NULL,
    runs INTEGER NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (case_id, superior)
) WITHOUT ROWID;

CREATE INDEX case_below_all ON case_below (superior, place, case_id);
CREATE INDEX case_below_runs ON case_below (superior, place, case_id) WHERE runs = 1;
CREATE INDEX case_below_stage ON case_below (superior, stage, place, case_id);
CREATE INDEX case_below_owner ON case_below (superior, owner, place, case_id);
CREATE INDEX case_below_owner_runs ON case_below (superior, owner, place, case_id) WHERE runs = 1;
CREATE INDEX case_below_owner_stage ON case_below (superior, owner, stage, place, case_id);

-- The directory by which the rows of `case_below` were made. Another makes them anew; until then
-- nobody is shown them.
CREATE TABLE case_below_made (
    id INTEGER NOT NULL PRIMARY KEY,
    directory BLOB NOT NULL
);
