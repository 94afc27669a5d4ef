//! What tests need and nothing shipped may: real databases, a collector of traces, seeds. A dev-dependency only.
//!
//! * `postgres.rs`: a database of its own for each test, on a private PostgreSQL (`postgres/cluster.rs`).
//! * `backend.rs`: one suite, run on each storage backend.
//! * `otlp.rs`: a collector that keeps the spans it is sent.
//! * `python.rs`: Python with a gRPC client's libraries.
//! * `tls.rs`: a proxy that speaks TLS, with certificates made in the test.
//! * `seed.rs`: randomness that a failure can be repeated with.
//! * `bin/with-postgres.rs`: one PostgreSQL around a whole test run, for runners with a process per test.
//!
//! # Invariants
//!
//! * Nothing outlives the tests, not even those that are killed: no server, no file, no system user or setting.
//! * Nothing waits by sleeping.
//! * What could not be tested is said aloud, and is a failure where `REMIT_REQUIRE_POSTGRES=1` or
//!   `REMIT_REQUIRE_PYTHON=1` asks for it.

pub mod backend;
pub mod otlp;
pub mod postgres;
pub mod python;
mod seed;
pub mod tls;

pub use backend::Backend;
pub use seed::seed;
