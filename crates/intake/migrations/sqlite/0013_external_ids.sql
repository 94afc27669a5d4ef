-- A sender's own id of a report: one report for each. `external_key` is who owns the report with
-- that id (`store/external.rs`), and `fingerprint` a keyed hash of what was submitted, which tells a
-- repeat from other content.
ALTER TABLE reports ADD COLUMN external_key TEXT;
ALTER TABLE reports ADD COLUMN fingerprint BLOB;
CREATE UNIQUE INDEX reports_by_external_key ON reports (external_key) WHERE external_key IS NOT NULL;

DROP VIEW standings;
CREATE VIEW standings AS SELECT
    id, caller, agency, receipt_hash, accept_time, content, external_key,
    COALESCE(state, 'ACCEPTED') AS state,
    COALESCE(sequence, 1) AS sequence,
    COALESCE(hash, entry_hash) AS hash,
    COALESCE(change_time, accept_time) AS change_time,
    COALESCE(known_time, accept_time) AS known_time,
    case_view
FROM reports LEFT JOIN report_states ON report = id;
