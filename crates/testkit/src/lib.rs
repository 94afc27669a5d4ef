//! Test support that nothing shipped may depend on: real databases, a trace collector, seeds. A
//! dev-dependency only.
//!
//! * `postgres.rs`: a database per test, on a private PostgreSQL server (`postgres/cluster.rs`).
//! * `backend.rs`: one test suite for each storage backend.
//! * `eventually.rs`: waits for something another process does.
//! * `otlp.rs`: a collector that stores the spans it receives.
//! * `python.rs`: Python with a gRPC client's libraries.
//! * `access.rs`: which calls a running server admits.
//! * `tls.rs`: a TLS proxy with certificates made in the test.
//! * `jwt.rs`: an issuer's key, and tokens that it signs.
//! * `seed.rs`: reproducible randomness.
//! * `bin/with-postgres.rs`: one PostgreSQL server around a whole test run, for runners with a
//!   process per test.
//!
//! # Invariants
//!
//! * Nothing outlives the tests, even if they are killed: no server, file, system user or setting.
//! * Nothing waits by sleeping, except [`eventually()`] while polling another process.
//! * Skipped tests are reported loudly, and are failures if `REMIT_REQUIRE_POSTGRES=1` or
//!   `REMIT_REQUIRE_PYTHON=1`.

pub mod access;
pub mod backend;
mod eventually;
pub mod jwt;
pub mod otlp;
pub mod postgres;
pub mod python;
mod seed;
pub mod tls;

pub use backend::Backend;
pub use eventually::eventually;
pub use seed::seed;
