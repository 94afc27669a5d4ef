//! The contract: what `proto/` says, as Rust types, clients and servers. Generated code only.
//!
//! Conventions of all packages stand at the top of `proto/remit/event/v1/event.proto`.

#![allow(missing_docs, clippy::all, reason = "generated; the documentation is the proto file's comments")]

use std::sync::LazyLock;

/// `remit.event.v1`: the state change that all services share.
pub mod event {
    tonic::include_proto!("remit.event.v1");
}

/// `remit.intake.v1`.
pub mod intake {
    tonic::include_proto!("remit.intake.v1");
}

/// `remit.routing.v1`.
pub mod routing {
    tonic::include_proto!("remit.routing.v1");
}

/// `remit.audit.v1`.
pub mod audit {
    tonic::include_proto!("remit.audit.v1");
}

/// The encoded descriptors of all packages, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of all packages, for the JSON form of messages.
pub static POOL: LazyLock<prost_reflect::DescriptorPool> =
    LazyLock::new(|| prost_reflect::DescriptorPool::decode(DESCRIPTORS).expect("the descriptors were made by this build"));
