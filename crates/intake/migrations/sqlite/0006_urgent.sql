-- Whether the report's category is urgent: urgent reports wait for routing in lanes of their own.
ALTER TABLE reports ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;

-- What waits for routing from before there were lanes.
UPDATE outbox SET lane = (SELECT caller FROM reports WHERE 'reports/' || id = record)
WHERE consumer = 'routing' AND lane = '';
