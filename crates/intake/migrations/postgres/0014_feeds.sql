-- What senders are told of their reports, each sender in a feed of its own. `owner` is who owns the
-- report (`Sender::owner`), `position` counts its feed, and `news` is an encoded `ReportNews`.
CREATE TABLE report_feed (
    owner TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    report TEXT NOT NULL,
    record_time BIGINT NOT NULL,
    news BYTEA NOT NULL,
    PRIMARY KEY (owner, position)
);

CREATE INDEX report_feed_window ON report_feed (record_time);

-- The last position of each feed, and the last that its sender confirmed. Updated last in each
-- transaction, so that positions follow the order of commits.
CREATE TABLE report_feeds (
    owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    confirmed BIGINT NOT NULL DEFAULT 0,
    confirm_time BIGINT
);
