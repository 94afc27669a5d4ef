//! The commands of `remit`, one file per group.

pub mod access;
pub mod backup;
pub mod case;
pub mod category;
pub mod config;
pub mod context;
pub mod demo;
pub mod dev_certs;
pub mod directory;
pub mod evidence;
pub mod health;
pub mod log;
pub mod manual;
pub mod migrate;
pub mod notice;
pub mod operator;
pub mod proof;
pub mod report;
pub mod route;
pub mod serve;
pub mod status;
pub mod token;
mod watching;
pub mod witness;
