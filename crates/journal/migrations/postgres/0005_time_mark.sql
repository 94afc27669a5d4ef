-- The latest time that the service believed its clock: one row. Older databases begin with the time
-- of their last change; a new one has no row, and nothing that time could end.
CREATE TABLE time_mark (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    time BIGINT NOT NULL
);

INSERT INTO time_mark (id, time) SELECT 1, max(time) FROM journal HAVING count(*) > 0;
