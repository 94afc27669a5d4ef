-- The receipts of the affected sides: SHA-256 of a random code, which is kept nowhere else but with the
-- answer to the request, for its repeats.
CREATE TABLE case_notices (
    hash BYTEA NOT NULL PRIMARY KEY,
    case_id TEXT COLLATE "C" NOT NULL,
    notice BIGINT NOT NULL,
    UNIQUE (case_id, notice)
);
