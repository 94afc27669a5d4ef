-- What was added to a report after it was recorded: one row for each change of the kinds
-- `report.supplemented` and `report.answered`. Rows do not change. `content` is an encoded
-- `Supplement`: personal content, to which the log commits with the key; destroying the row erases
-- the link.
CREATE TABLE supplements (
    report TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    -- Number of the question that it answers.
    question BIGINT,
    caller TEXT NOT NULL,
    agency TEXT,
    size BIGINT NOT NULL,
    files BIGINT NOT NULL,
    content BYTEA NOT NULL,
    commitment_key BYTEA NOT NULL,
    PRIMARY KEY (report, sequence)
);
