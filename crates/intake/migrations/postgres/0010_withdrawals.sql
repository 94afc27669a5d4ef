-- The reports whose reporters withdraw: one row for each change of the kind
-- `report.withdrawal-requested`.
CREATE TABLE withdrawals (
    report TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    request_time BIGINT NOT NULL
);
