//! The server and the client stack that all services share.
//!
//! A request meets, top to bottom ([`Server`], `server.rs`): the trace it continues, the words that every error needs,
//! the limit on how many run at once, the deadline, who calls, and whether that caller may. Then the service decodes, calls
//! its rules, encodes.
//!
//! * `identity.rs`: who calls, and the seam behind which that is decided.
//! * `access.rs`: which kinds of caller may call which method.
//! * `failure.rs`: the one place where what went wrong becomes a gRPC status.
//! * `layers.rs`: what a request meets on its way in.
//! * `server.rs`: the stack, health, reflection, graceful stop.
//! * `client.rs`: channels that name the caller and carry its trace.
//! * `delivery.rs`: the way from an outbox to audit, and what every such way needs.
//! * `operations.rs`: what every service tells its operators, in the same words.
//! * `page.rs`: page tokens, bound to the filter that they were made for.
//! * `json.rs`: the JSON form of messages.
//!
//! Invariants: no service binds a socket; no handler is called without a row that admits the caller; no error leaves without
//! `ErrorInfo`; the cause of an internal error stays in the log.

pub mod access;
pub mod client;
pub mod delivery;
mod failure;
mod identity;
pub mod json;
mod layers;
pub mod operations;
pub mod page;
mod server;

pub use failure::{DOMAIN, Failure, Violation, reason};
pub use identity::{AgencyCaller, Authenticate, Identity, OFFICER, Role, Token, Tokens, TokensError, caller, unlisted};
pub use layers::Limits;
pub use server::{HealthCheck, Server};
