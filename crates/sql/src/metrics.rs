//! What is measured of a database that belongs to a service ([`Db::measure`](crate::Db::measure)).
//! Named as OpenTelemetry names pools of connections.

use telemetry::{
    conventions,
    metrics::{Counter, Histogram, Level, SECONDS, Service},
};

telemetry::instruments! {
    /// The instruments of databases.
    pub struct Instruments {
        /// Connections that are open, by what they do.
        connections: Level<(Service, Pool, State)> = (conventions::DB_CONNECTIONS, "{connection}"),
        /// Connections that may be open.
        most: Level<(Service, Pool)> = (conventions::DB_CONNECTIONS_MAX, "{connection}"),
        /// Callers that wait for a connection.
        pending: Level<(Service, Pool)> = (conventions::DB_PENDING, "{request}"),
        /// Time that a caller waited for a connection, until it had one or gave up.
        wait: Histogram<(Service, Pool)> = (conventions::DB_WAIT, "s", SECONDS),
        /// Callers that gave up waiting.
        timeouts: Counter<(Service, Pool)> = (conventions::DB_TIMEOUTS, "{timeout}"),
        /// Whether the database's disk is full, so that it cannot grow: 1, or 0.
        full: Level<(Service,)> = ("remit.db.full", "{database}"),
    }
}

telemetry::label! {
    /// A pool of connections.
    pub enum Pool(conventions::DB_POOL) {
        /// The one connection that writes to SQLite.
        Writer = "writer",
        /// Those that read from SQLite.
        Readers = "readers",
        /// Those to PostgreSQL.
        Shared = "shared",
    }
}

telemetry::label! {
    /// What a connection does.
    pub enum State(conventions::DB_STATE) {
        /// It waits for a caller.
        Idle = "idle",
        /// A caller has it.
        Used = "used",
    }
}
