-- What its reporter is told of a report's case. `record` and `sequence` are those of the case's
-- change; `step` is an encoded `ReceiptStep`, with what agencies wrote for the reporter: personal
-- content.
CREATE TABLE report_steps (
    report TEXT NOT NULL,
    record TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    change_time INTEGER NOT NULL,
    step BLOB NOT NULL,
    PRIMARY KEY (report, record, sequence)
) WITHOUT ROWID;
