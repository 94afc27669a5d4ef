//! What a server takes at most, in all and of one caller, from the first byte of a connection to
//! the last of a stream. Nothing is unlimited.

use std::time::Duration;

telemetry::label! {
    /// The limit that was reached: its key in the configuration, without the section.
    pub enum Limit("remit.limit") {
        /// Calls at once, in all.
        Concurrency = "concurrency",
        /// Calls at once, of one caller.
        ConcurrencyPerCaller = "concurrency_per_caller",
        /// Open streams, in all.
        Streams = "streams",
        /// Open streams, of one caller.
        StreamsPerCaller = "streams_per_caller",
        /// Age of a stream.
        StreamAge = "stream_ms",
        /// Bytes of messages, in all.
        InFlight = "in_flight_bytes",
        /// Bytes of messages, of one caller.
        InFlightPerCaller = "in_flight_bytes_per_caller",
        /// Bytes of one message in memory.
        Decoded = "decoded_bytes",
        /// Connections, in all.
        Connections = "connections",
        /// Connections from one address.
        ConnectionsPerPeer = "connections_per_peer",
        /// Connections of one caller.
        ConnectionsPerCaller = "connections_per_caller",
        /// Time to the first bytes of a connection.
        Handshake = "handshake_ms",
        /// Time for which a body may let us wait.
        BodyWait = "body_wait_ms",
        /// Time in which a reader may take nothing.
        Stall = "stall_ms",
        /// Frames of a connection that carry nothing.
        ControlFrames = "control_frames_per_second",
        /// Files that the machine can open.
        Descriptors = "descriptors",
    }
}

/// What a server takes at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Bytes that one message may take once it is decoded, beside its own.
    pub decoded_bytes: usize,
    /// Bytes of requests, as they came and decoded, that are held at once. Remit's own services have
    /// four times as many, for them alone.
    pub in_flight_bytes: usize,
    /// The same, of one caller.
    pub in_flight_bytes_per_caller: usize,
    /// Calls that run at once; more are refused with `RESOURCE_EXHAUSTED`. Remit's own services have
    /// as many again, for them alone.
    pub concurrency: usize,
    /// The same, of one caller.
    pub concurrency_per_caller: usize,
    /// Streams that are open at once, from their beginning to their end.
    pub streams: usize,
    /// The same, of one caller.
    pub streams_per_caller: usize,
    /// Longest time that a stream of answers is open. Those of Remit's own services are not bound.
    pub stream: Duration,
    /// Streams of one connection.
    pub streams_per_connection: u32,
    /// Bytes of a request's headers.
    pub header_bytes: u32,
    /// Longest time that one request may take, whatever deadline it names. Open streams are not
    /// bound by it.
    pub deadline: Duration,
    /// Longest time that the upload of a file may take.
    pub upload: Duration,
    /// Longest time for which a request's body may let us wait: from its beginning, and again for
    /// what `bytes_per_second` does not make up for.
    pub body_wait: Duration,
    /// Longest time for which a reader may take nothing of an answer, likewise.
    pub stall: Duration,
    /// Slowest rate of a body, in either direction.
    pub bytes_per_second: u32,
    /// Connections. The longest open one that nobody called on with a token makes room.
    pub connections: usize,
    /// Connections from one address.
    pub connections_per_peer: usize,
    /// Connections that one caller calls on.
    pub connections_per_caller: usize,
    /// Age at which a connection takes no more calls; those that run end.
    pub connection_age: Duration,
    /// Time without a call after which a connection ends.
    pub connection_idle: Duration,
    /// Longest time to a connection's first bytes.
    pub handshake: Duration,
    /// Frames that carry nothing (PING, SETTINGS, unknown ones) that a connection may send each
    /// second, ten times as many at once, beside those that its calls and answers account for.
    pub control_frames_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 4 << 20,
            decoded_bytes: 8 << 20,
            in_flight_bytes: 32 << 20,
            in_flight_bytes_per_caller: 12 << 20,
            concurrency: 1_024,
            concurrency_per_caller: 256,
            streams: 1_024,
            streams_per_caller: 256,
            stream: Duration::from_secs(60 * 60),
            streams_per_connection: 256,
            header_bytes: 16 << 10,
            deadline: Duration::from_secs(30),
            upload: Duration::from_secs(60 * 60),
            body_wait: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            bytes_per_second: 1 << 10,
            connections: 2_048,
            connections_per_peer: 512,
            connections_per_caller: 128,
            connection_age: Duration::from_secs(60 * 60),
            connection_idle: Duration::from_secs(10 * 60),
            handshake: Duration::from_secs(10),
            control_frames_per_second: 100,
        }
    }
}

impl Limits {
    /// The same, with no more connections than these: what a process may open is shared by its
    /// servers. No caller has more than a quarter of them.
    #[must_use]
    pub fn with_connections(mut self, most: usize) -> Self {
        self.connections = self.connections.min(most).max(1);
        self.connections_per_caller = self.connections_per_caller.min(self.connections.div_ceil(4));
        self
    }
}

/// A row of `docs/limits.md`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Key in the configuration, whose default is the limit's.
    pub key: &'static str,
    /// Unit of its value.
    pub unit: &'static str,
    /// What is bounded.
    pub about: &'static str,
    /// The metric that shows that it is reached.
    pub metric: &'static str,
    /// What whoever reaches it is told.
    pub error: &'static str,
}

const LIMITED: &str = "`remit.rpc.limited`";
const REFUSED: &str = "`remit.rpc.refused`";
const OVERLOADED: &str = "`OVERLOADED`, with a time to wait";
const TOO_LARGE: &str = "`MESSAGE_TOO_LARGE`";
const LATE: &str = "`DEADLINE_EXCEEDED`";
const CLOSED: &str = "the connection ends";

const fn row(
    key: &'static str,
    unit: &'static str,
    about: &'static str,
    metric: &'static str,
    error: &'static str,
) -> Row {
    Row {
        key,
        unit,
        about,
        metric,
        error,
    }
}

/// All limits of a server, from the first byte of a connection to the last of a stream.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    row("limits.connections", "connections", "of a server; fewer where the process may open fewer files. The oldest that nobody has called on with a token makes room; callers other than Remit's own services call on three quarters at most", LIMITED, CLOSED),
    row("limits.connections_per_peer", "connections", "from one address, which of IPv6 is a network of 64 bits; likewise", LIMITED, CLOSED),
    row("limits.connections_per_caller", "connections", "that one caller calls on; at most a quarter of all", LIMITED, OVERLOADED),
    row("limits.handshake_ms", "ms", "to the first bytes that say what a peer speaks, a TLS handshake before them included", LIMITED, CLOSED),
    row("limits.connection_idle_ms", "ms", "without a call", "`remit.rpc.connections`", "the connection is closed in order (GOAWAY)"),
    row("limits.connection_age_ms", "ms", "after which a connection takes no more calls, up to 15 % earlier so that not all end at once; those that run end", "`remit.rpc.connections`", "the connection is closed in order (GOAWAY)"),
    row("limits.control_frames_per_second", "frames", "of a connection that carry nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown ones. Ten times as many at once; calls and answers earn more", LIMITED, "the connection ends, with GOAWAY where it can still be written"),
    row("limits.streams_per_connection", "calls", "of one connection at once", "none: HTTP/2 has the caller wait", "none"),
    row("limits.header_bytes", "bytes", "of a request's headers", "none", "the call's stream is refused"),
    row("limits.concurrency", "calls", "that run at once, to the end of their answers; streams are counted apart. Remit's own services have as many again", LIMITED, OVERLOADED),
    row("limits.concurrency_per_caller", "calls", "of one caller", LIMITED, OVERLOADED),
    row("limits.message_bytes", "bytes", "of one message", REFUSED, TOO_LARGE),
    row("limits.decoded_bytes", "bytes", "that one message may take in memory once decoded, beside its own: lists of many small items", LIMITED, TOO_LARGE),
    row("limits.in_flight_bytes", "bytes", "of requests that are held at once, as they came and decoded, until they are answered, and of streams that are not read. Remit's own services have four times as many", LIMITED, OVERLOADED),
    row("limits.in_flight_bytes_per_caller", "bytes", "of one caller", LIMITED, OVERLOADED),
    row("limits.body_wait_ms", "ms", "for which a request's body may let us wait, of a stream whose sender may rest between messages within one; a body that comes at `bytes_per_second` earns as much as it uses", LIMITED, LATE),
    row("limits.stall_ms", "ms", "for which a reader may take nothing of an answer, likewise; an answer is handed over in parts of 64 KiB", LIMITED, "the stream is reset; where only its end was left to send, the connection ends"),
    row("limits.bytes_per_second", "bytes/s", "slowest rate of a body, in either direction", LIMITED, "as for `body_wait_ms` and `stall_ms`"),
    row("limits.deadline_ms", "ms", "of a call, whatever deadline it names", REFUSED, LATE),
    row("limits.upload_ms", "ms", "of the upload of a file", REFUSED, LATE),
    row("limits.streams", "streams", "that are open at once, from their beginning to their end", LIMITED, OVERLOADED),
    row("limits.streams_per_caller", "streams", "of one caller", LIMITED, OVERLOADED),
    row("limits.stream_ms", "ms", "for which a stream of answers is open; those of Remit's own services are not bound", LIMITED, "`UNAVAILABLE`, with a time to wait: the stream is opened again where it ended"),
];
