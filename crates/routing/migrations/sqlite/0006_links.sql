-- What each case that other reports may join is about. `subject` is a digest of a hash that intake
-- keyed, the lead, and who is excluded: nobody who reads this table can look for a subject.
CREATE TABLE case_subjects (
    case_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (case_id, subject)
) WITHOUT ROWID;

-- The case that a report on a subject is compared with. A transaction that opens a case locks the
-- rows of its subjects, in order: of two reports at once, one opens a case and the other joins it.
CREATE TABLE subject_heads (
    subject TEXT NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL
) WITHOUT ROWID;

-- The links of each case, made when it is opened: `joined` to the case through which it is worked,
-- or `prior` for one that was decided before. `salt` keys the log's commitment to it. A link that
-- ended stays, with its end. `follow_time` is when what was decided for `other` is to be applied,
-- `lag` after the one before it, and `actor` is who decided, as an encoded `Actor`.
CREATE TABLE case_links (
    case_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    other TEXT NOT NULL,
    salt BLOB NOT NULL,
    lag INTEGER NOT NULL,
    end_time INTEGER,
    follow_time INTEGER,
    actor BLOB,
    PRIMARY KEY (case_id, kind)
) WITHOUT ROWID;

CREATE INDEX case_links_other ON case_links (other, kind, case_id);

CREATE INDEX case_links_follow ON case_links (follow_time, case_id) WHERE follow_time IS NOT NULL;
