-- The switch of directories after which the rows of `case_below` were made: a directory that comes
-- back is another switch.
ALTER TABLE case_below_made ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;

-- The last change of the case when the row was made. A replica of an earlier version changes cases
-- without their rows: those of another change are not shown, and are made anew.
ALTER TABLE case_below ADD COLUMN made_by BIGINT NOT NULL DEFAULT 0;
