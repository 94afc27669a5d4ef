-- What replicas must have in common: of each key a random salt and its keyed hash, which tells
-- nothing of the key; the id that the evidence folder is marked with.
CREATE TABLE shared (
    name TEXT NOT NULL PRIMARY KEY,
    salt BLOB NOT NULL,
    proof BLOB NOT NULL
) WITHOUT ROWID;

-- A row that health writes over, to see whether the database can be written to.
CREATE TABLE probe (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    probe_time INTEGER NOT NULL
);
