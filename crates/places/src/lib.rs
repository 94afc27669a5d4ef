//! Places: the tree of territories that reports are tied to, and the countries outside it.
//!
//! A place arrives as text. [`TerritoryCode`] and [`Country`] are parsed at the edge (`code.rs`, `country.rs`);
//! [`Territories`] (`territories.rs`) is the tree itself, read from one CSV file by `parse.rs`. Intake checks with it
//! that a place exists; routing climbs it.
//!
//! The shipped tree goes down to townships and has every code of the yearly sets since 2002: one that was abolished is read
//! through its successor where that is certain, else as the territory that it lay in, and [`Resolved::reading`] says which. A
//! code that the tree does not have never existed. How the file is made stands in `deploy/tools/territories.py`.
//!
//! Nothing here does I/O, knows an agency, or looks at a clock: a territory that the file calls abolished is abolished.

mod code;
mod country;
mod parse;
mod territories;

pub use code::{InvalidCode, Level, TerritoryCode};
pub use country::{Country, CountryError};
pub use parse::{Fault, TerritoriesError};
pub use territories::{Reading, Resolved, Territories, Territory};
