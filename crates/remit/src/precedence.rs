//! Which of several ways to say one thing counts.
//!
//! The order is the same for every setting of every command: a flag goes before a variable, that
//! before the context (of a server: before its configuration file), and that before the default.
//! Within one option clap keeps it. Here it is kept among options that say the same thing in
//! different ways, such as `--context` and `--data-dir`: a flag silences the variables of the others.
//! Two flags, or two variables, are refused: which is meant, nobody knows.

use std::ops::{Deref, DerefMut};

use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id, error::ErrorKind, parser::ValueSource};

/// One way to say something.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The option's id.
    pub id: &'static str,
    /// Its flag.
    pub flag: &'static str,
    /// Its variable, if it has one.
    pub variable: Option<&'static str>,
}

/// Options of which several say one thing.
pub trait OneThing: Args {
    /// The ways to say each thing.
    const THINGS: &'static [&'static [Way]];
}

/// Options with the one way that counts for each thing.
#[derive(Clone, Copy, Debug)]
pub struct Settled<T>(pub T);

impl<T> Deref for Settled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Settled<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: OneThing> FromArgMatches for Settled<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Self::from_arg_matches_mut(&mut matches.clone())
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        for ways in T::THINGS {
            let counts = counting(matches, ways)?;
            for way in ways.iter().filter(|way| Some(way.id) != counts) {
                // Every option here is one of `T`.
                let _ = matches.try_clear_id(way.id);
            }
        }
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<T: OneThing> Args for Settled<T> {
    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }

    fn group_id() -> Option<Id> {
        T::group_id()
    }
}

/// The id of the way that counts; `None` where nothing is said, or the command has no such option.
///
/// # Errors
///
/// If two flags say it, or no flag and two variables.
pub fn counting(matches: &ArgMatches, ways: &[Way]) -> Result<Option<&'static str>, Error> {
    for source in [ValueSource::CommandLine, ValueSource::EnvVariable] {
        let said: Vec<_> = ways
            .iter()
            .filter(|way| matches.try_contains_id(way.id).unwrap_or(false))
            .filter(|way| matches.value_source(way.id) == Some(source))
            .collect();
        match said.as_slice() {
            [] => {}
            [way] => return Ok(Some(way.id)),
            [one, other, ..] => {
                let message = match (source, one.variable, other.variable) {
                    (ValueSource::EnvVariable, Some(one_variable), Some(other_variable)) => format!(
                        "the variables {one_variable} and {other_variable} say the same thing in two ways: unset one of \
                         them, or say it with {} or {}",
                        one.flag, other.flag
                    ),
                    _ => format!(
                        "{} and {} say the same thing in two ways: give one of them",
                        one.flag, other.flag
                    ),
                };
                return Err(Error::raw(ErrorKind::ArgumentConflict, message));
            }
        }
    }
    Ok(None)
}
