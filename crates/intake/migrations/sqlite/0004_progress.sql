-- Up to when everything that a service recorded has arrived here, by intake's clock.
CREATE TABLE progress (
    service TEXT NOT NULL PRIMARY KEY,
    arrived_time INTEGER NOT NULL
) WITHOUT ROWID;
