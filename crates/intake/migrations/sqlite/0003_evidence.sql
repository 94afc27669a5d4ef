-- Files that were uploaded, and where each stands. The files themselves lie elsewhere, under the
-- same ids. The log commits to the hash with the key; destroying the row erases the link.
CREATE TABLE evidence (
    id TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL,
    agency TEXT,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    declared_type TEXT NOT NULL,
    sniffed_type TEXT NOT NULL,
    upload_time INTEGER NOT NULL,
    commitment_key BLOB NOT NULL,
    state TEXT NOT NULL,
    report TEXT,
    -- When it expired, while its file is still there.
    unremoved_since INTEGER,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL
);

CREATE INDEX evidence_unattached ON evidence (upload_time) WHERE state = 'UPLOADED';
CREATE INDEX evidence_unremoved ON evidence (unremoved_since) WHERE unremoved_since IS NOT NULL;

-- Who was given a file, when and why: one row for each change of the kind `evidence.downloaded`.
-- The log commits to the justification with this key; destroying the row erases the link.
CREATE TABLE evidence_downloads (
    evidence TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    justification TEXT NOT NULL,
    system TEXT NOT NULL,
    agency TEXT,
    download_time INTEGER NOT NULL,
    commitment_key BLOB NOT NULL,
    PRIMARY KEY (evidence, sequence)
);
