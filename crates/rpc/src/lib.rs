//! The server and client stack shared by all services.
//!
//! A connection is counted and its frames are (`connections.rs`, `frames.rs`). A request passes, top
//! to bottom ([`Server`], `server.rs`): continuation of its trace, wording of transport errors, its
//! caller's share, the deadline, authentication and access. Then the service decodes, calls its rules
//! and encodes.
//!
//! * `metadata.rs`: the metadata of calls, each key read in one place.
//! * `identity.rs`: callers, and the interface that identifies them.
//! * `jwt.rs`: tokens that issuers sign, checked.
//! * `roles.rs`: what callers may do.
//! * `access.rs`: which kinds of caller may call which method.
//! * `failure.rs`: the one place where failures become gRPC statuses.
//! * `violations.rs`: collects all violations of a request.
//! * `requests.rs`: request ids, and first answers to them.
//! * `upload.rs`: files that callers send, all in one shape.
//! * `limits.rs`: what a server takes at most.
//! * `connections.rs`: connections, accepted, counted and ended.
//! * `tls.rs`, `wire.rs`, `certificate.rs`: TLS on both sides, and what peers show.
//! * `frames.rs`: a guard against frames that carry nothing.
//! * `shares.rs`: what callers have taken of the limits.
//! * `paced.rs`: bodies, paid for and not waited for without end.
//! * `layers.rs`, `layers/`: the layers in front of every service.
//! * `refusals.rs`: log lines about refused calls.
//! * `revoked.rs`: ends streams whose token was revoked.
//! * `metrics.rs`: what servers and clients measure of calls.
//! * `admin.rs`: the process's listener for metrics and health.
//! * `server.rs`: the stack, health, reflection, graceful stop.
//! * `client.rs`: channels with the caller's token and trace.
//! * `delivery.rs`: delivery from an outbox to audit, and parts shared by all deliveries.
//! * `operations.rs`: the operations service that all services serve.
//! * `feed.rs`: what happened after a position, and then each new thing.
//! * `page.rs`: page and resume tokens, sealed under a key of the service's database.
//! * `json.rs`: messages in protobuf JSON.
//!
//! Invariants: no service binds a socket; no handler is called without a row that admits the
//! caller; no error leaves without `ErrorInfo`; the cause of an internal error stays in the log.

pub mod access;
pub mod admin;
mod certificate;
pub mod client;
mod connections;
pub mod delivery;
mod failure;
pub mod feed;
mod frames;
mod identity;
pub mod json;
pub mod jwt;
mod layers;
pub mod limits;
mod metadata;
mod metrics;
pub mod operations;
mod paced;
pub mod page;
mod refusals;
mod requests;
mod revoked;
pub mod roles;
mod server;
mod shares;
pub mod tls;
pub mod upload;
mod violations;
mod wire;

pub use certificate::{Certificate, CertificateName, SPIFFE};
pub use failure::{DOMAIN, Failure, Violation, reason};
pub use identity::{
    AgencyCaller, Authenticate, Identity, OfficerKey, Presented, Proof, Systems, Token, Tokens, TokensError, caller,
    unlisted,
};
pub use limits::Limits;
pub use metadata::{InvalidOfficer, OFFICER, Officer};
pub use metrics::{
    Certificate as CertificateLabel, Instruments, certificate_ends, certificate_is_stale, watch_issuers,
};
pub use requests::{first_answer, request_id};
pub use roles::{Role, Roles, RolesError};
pub use server::{HealthCheck, Server};
pub use violations::Violations;
