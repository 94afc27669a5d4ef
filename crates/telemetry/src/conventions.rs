//! Names of OpenTelemetry's semantic conventions, here alone, because those for RPC still move:
//! <https://opentelemetry.io/docs/specs/semconv/rpc/> (release candidate, 2026).

/// The RPC system of a call; [`GRPC`] here.
pub const RPC_SYSTEM: &str = "rpc.system.name";
/// Value of [`RPC_SYSTEM`].
pub const GRPC: &str = "grpc";
/// Full name of the method, such as `remit.intake.v1.IntakeService/SubmitReport`.
pub const RPC_METHOD: &str = "rpc.method";
/// Status of the answer, such as `DEADLINE_EXCEEDED`. Was `rpc.response.status_code` up to 1.44.
pub const RPC_STATUS: &str = "rpc.status_code";
/// Kind of the failure; left out where there is none.
pub const ERROR_TYPE: &str = "error.type";
/// What stands for a value that is not of the known ones.
pub const OTHER: &str = "_OTHER";
/// Duration of calls that a server answered.
pub const RPC_SERVER_DURATION: &str = "rpc.server.call.duration";
/// Duration of calls that a client made.
pub const RPC_CLIENT_DURATION: &str = "rpc.client.call.duration";
/// Name of a pool of database connections.
pub const DB_POOL: &str = "db.client.connection.pool.name";
/// Whether a pooled connection is idle or used.
pub const DB_STATE: &str = "db.client.connection.state";
/// Connections of a pool.
pub const DB_CONNECTIONS: &str = "db.client.connection.count";
/// Most connections of a pool.
pub const DB_CONNECTIONS_MAX: &str = "db.client.connection.max";
/// Callers that wait for a connection.
pub const DB_PENDING: &str = "db.client.connection.pending_requests";
/// Time until a caller got a connection.
pub const DB_WAIT: &str = "db.client.connection.wait_time";
/// Callers that got none in time.
pub const DB_TIMEOUTS: &str = "db.client.connection.timeouts";

/// Boundaries in seconds that the conventions advise for durations of calls.
pub const CALLS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
