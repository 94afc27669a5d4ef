-- Who was shown a reporter's identity, when and why: one row for each change of the kind
-- `report.revealed`. The log commits to the justification with this key; destroying the row erases
-- the link.
CREATE TABLE reveals (
    report TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    justification TEXT NOT NULL,
    system TEXT NOT NULL,
    agency TEXT,
    reveal_time INTEGER NOT NULL,
    commitment_key BLOB NOT NULL,
    PRIMARY KEY (report, sequence)
);
