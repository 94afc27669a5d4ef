-- Files that were refused for the category that they were named for: nothing with these bytes is
-- taken from their senders again.
CREATE INDEX evidence_refused ON evidence (sha256) WHERE state = 'REFUSED';
