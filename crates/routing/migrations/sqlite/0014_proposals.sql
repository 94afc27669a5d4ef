-- What one person proposed to put in force, and no second one has approved yet: one of each kind at
-- most. The officer stands in the form in which names of people are compared.
CREATE TABLE version_proposals (
    kind TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    against BLOB NOT NULL,
    officer TEXT NOT NULL,
    system TEXT NOT NULL,
    purpose TEXT NOT NULL,
    propose_time INTEGER NOT NULL,
    event_id TEXT NOT NULL
) WITHOUT ROWID;
