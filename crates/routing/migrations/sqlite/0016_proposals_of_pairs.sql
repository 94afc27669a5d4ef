-- A proposal is of the pair that was in force, and says how its officer was proven. Those that wait
-- say neither: they have to be proposed again.
DROP TABLE version_proposals;

CREATE TABLE version_proposals (
    kind TEXT NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    against_directory BLOB NOT NULL,
    against_rules BLOB NOT NULL,
    officer TEXT NOT NULL,
    is_signed INTEGER NOT NULL,
    system TEXT NOT NULL,
    purpose TEXT NOT NULL,
    propose_time INTEGER NOT NULL,
    event_id TEXT NOT NULL
) WITHOUT ROWID;
