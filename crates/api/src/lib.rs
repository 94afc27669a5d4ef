//! The contract: what `proto/` says, as Rust types, clients and servers. Generated code, and what
//! makes and reads the common types of Google (`common.rs`), the control characters that texts may
//! have (`text.rs`), and what a request takes in memory (`cost.rs`).
//!
//! Clients and servers need the feature `grpc`; without it there are messages only, and no
//! dependency on a transport.
//!
//! Conventions of all packages stand at the top of `proto/remit/event/v1/event.proto`.

#![allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated; the documentation is the proto file's comments"
)]

use std::sync::LazyLock;

#[cfg(feature = "grpc")]
mod codec;
mod common;
#[cfg(feature = "grpc")]
pub mod cost;
pub mod text;

mod generated {
    include!(concat!(env!("OUT_DIR"), "/remit.rs"));
}

#[cfg(feature = "grpc")]
pub use codec::refused as refused_texts;
pub use common::{bilingual, date, day, text_in};
pub use generated::{
    google,
    remit::{
        audit::v1 as audit, error::v1 as error, event::v1 as event, intake::v1 as intake, operations::v1 as operations,
        routing::v1 as routing,
    },
};

/// The encoded descriptors of all packages, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The descriptors of all packages, for the JSON form of messages.
pub static POOL: LazyLock<prost_reflect::DescriptorPool> = LazyLock::new(|| {
    prost_reflect::DescriptorPool::decode(DESCRIPTORS).expect("the descriptors were made by this build")
});
