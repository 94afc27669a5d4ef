-- The officer to whom the agency of the row has assigned the case, in the form in which names of people
-- are compared; empty if to none. For the lists of an officer.
ALTER TABLE case_lists ADD COLUMN officer TEXT NOT NULL DEFAULT '';

CREATE INDEX case_lists_officer ON case_lists (agency, officer, list, place, case_id) WHERE officer <> '';
