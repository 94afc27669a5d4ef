-- The lane in which an event waits for a consumer that takes turns between senders. Empty for other
-- consumers, whose rows the index does not have.
ALTER TABLE outbox ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN lane TEXT NOT NULL DEFAULT '';
CREATE INDEX outbox_lanes ON outbox (consumer, urgent, lane, position) WHERE lane <> '';
