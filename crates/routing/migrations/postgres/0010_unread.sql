-- What all agencies have not read, for operators.
CREATE INDEX case_lists_unread ON case_lists (place, case_id, agency) WHERE list = 'unread';
