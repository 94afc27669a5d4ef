//! What each source has in the log, and what its marks say of that.

use std::collections::BTreeMap;

use journal::{Bytes32, Content, Entry, EventSet, Time};

use super::Problem;

/// What the log holds of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Its changes.
    pub held: EventSet,
    /// How many of them its newest mark counts, and when that was made; `None` without one.
    pub marked: Option<(u64, Time)>,
    /// How many marks there are.
    pub marks: u64,
}

/// All sources, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Producers(pub BTreeMap<String, Counted>);

impl Producers {
    /// Takes the next entry. Nothing has changed when it is a mark that is not met.
    pub fn take(&mut self, entry: &Entry, hash: Bytes32) -> Result<(), Problem> {
        // Looked up by reference: there are a few sources, and millions of entries.
        if !self.0.contains_key(&entry.source) {
            self.0.insert(entry.source.clone(), Counted::default());
        }
        let Some(counted) = self.0.get_mut(&entry.source) else {
            return Ok(());
        };
        match entry.content {
            Content::Change { .. } => counted.held.add(&hash),
            Content::Mark(set) if set == counted.held => {
                counted.marked = Some((set.count, entry.time));
                counted.marks += 1;
            }
            Content::Mark(set) => {
                return Err(Problem::Mark {
                    source_name: entry.source.clone(),
                    said: set.count,
                    found: counted.held.count,
                });
            }
        }
        Ok(())
    }
}
