-- Who withdraws a report gets its own first time, whoever else did: one row for each report and
-- system, with the change of the kind `report.withdrawal-requested`, of which a report has one.
CREATE TABLE withdrawals_by_caller (
    report TEXT NOT NULL,
    caller TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    request_time INTEGER NOT NULL,
    PRIMARY KEY (report, caller)
);
INSERT INTO withdrawals_by_caller (report, caller, sequence, request_time)
SELECT withdrawals.report, reports.caller, withdrawals.sequence, withdrawals.request_time
FROM withdrawals JOIN reports ON reports.id = withdrawals.report;
DROP TABLE withdrawals;
ALTER TABLE withdrawals_by_caller RENAME TO withdrawals;
