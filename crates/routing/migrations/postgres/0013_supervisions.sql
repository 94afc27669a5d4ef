-- Agencies that a superior has put under supervision, with what they have to correct until when.
-- Each is a record of the log; `sequence` and `hash` are the head of its chain. Texts are content,
-- like
-- `case_steps.note`, each with the key of the commitment to it.
CREATE TABLE supervisions (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    agency TEXT NOT NULL,
    supervisor TEXT NOT NULL,
    demand TEXT NOT NULL,
    demand_key BYTEA NOT NULL,
    correct_by BIGINT NOT NULL,
    supervise_time BIGINT NOT NULL,
    answer TEXT NOT NULL,
    answer_key BYTEA,
    answer_time BIGINT,
    corrected BIGINT NOT NULL,
    end_note TEXT NOT NULL,
    end_key BYTEA,
    end_time BIGINT,
    sequence BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    change_time BIGINT NOT NULL
);

CREATE INDEX supervisions_agency ON supervisions (agency, id);
CREATE INDEX supervisions_supervisor ON supervisions (supervisor, id);
