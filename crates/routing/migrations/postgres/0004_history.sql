-- What happened to each case after its opening, for those who see it. `step` is an encoded
-- `CaseStep`, `note` an encoded `CaseNote`: personal content, to which the log has a commitment under
-- `note_key`.
CREATE TABLE case_steps (
    case_id TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    step BYTEA NOT NULL,
    note BYTEA,
    note_key BYTEA,
    PRIMARY KEY (case_id, sequence)
);

-- Clocks whose end may still move: found when the holidays of another year are known.
CREATE INDEX case_clocks_provisional ON case_clocks (case_id) WHERE provisional = 1;
