-- Agencies that a superior has put under supervision, with what they have to correct until when.
-- Each is a record of the log; `sequence` and `hash` are the head of its chain. Texts are content,
-- like
-- `case_steps.note`, each with the key of the commitment to it.
CREATE TABLE supervisions (
    id TEXT NOT NULL PRIMARY KEY,
    agency TEXT NOT NULL,
    supervisor TEXT NOT NULL,
    demand TEXT NOT NULL,
    demand_key BLOB NOT NULL,
    correct_by INTEGER NOT NULL,
    supervise_time INTEGER NOT NULL,
    answer TEXT NOT NULL,
    answer_key BLOB,
    answer_time INTEGER,
    corrected INTEGER NOT NULL,
    end_note TEXT NOT NULL,
    end_key BLOB,
    end_time INTEGER,
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change_time INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX supervisions_agency ON supervisions (agency, id);
CREATE INDEX supervisions_supervisor ON supervisions (supervisor, id);
