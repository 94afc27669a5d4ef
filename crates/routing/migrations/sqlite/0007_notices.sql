-- The receipts of the affected sides: SHA-256 of a random code, which is kept nowhere else but with the
-- answer to the request, for its repeats.
CREATE TABLE case_notices (
    hash BLOB NOT NULL PRIMARY KEY,
    case_id TEXT NOT NULL,
    notice INTEGER NOT NULL,
    UNIQUE (case_id, notice)
) WITHOUT ROWID;
