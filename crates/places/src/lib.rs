//! Places: the tree of territories that reports are tied to, and the countries outside it.
//!
//! A place arrives as text. [`TerritoryCode`] and [`Country`] are parsed at the edge (`code.rs`,
//! `country.rs`); [`Territories`] (`territories.rs`) is the tree itself, parsed from one CSV file
//! by `parse.rs` and stored as in `tree.rs`. Intake uses it to check that a place exists; routing
//! climbs it.
//!
//! The shipped tree goes down to townships and contains every code of the lists published since
//! 2002. An abolished code resolves to its successor where that is documented, otherwise to the
//! territory that holds its parts or to the one above it; [`Resolved::reading`] says which. A code
//! that is missing from the tree never existed. `deploy/tools/succession.py` documents how the file
//! is made.
//!
//! Nothing here does I/O, knows agencies or reads the clock: the day on which a code is read is a
//! parameter ([`Territories::on`]), so that changes can be announced ahead.

mod code;
mod country;
mod parse;
mod territories;
mod tree;

pub use code::{InvalidCode, Level, TERRITORY, TerritoryCode};
pub use country::{Country, CountryError};
pub use parse::{Fault, TerritoriesError};
pub use territories::{OnDay, Reading, Resolved, Territories, Territory};
