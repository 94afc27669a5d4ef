//! Joining: which case a new one is linked to, and what a joined case takes over from it.
//!
//! Each report has a case of its own, with its own route, clocks and lead's acknowledgement, so that
//! from the outside a joined one looks like any other. A link says that the lead works it through
//! another: the main case. What is decided there is applied to the joined ones, as changes of their
//! own, by [`Rules::followed`]. A link has an effect only between cases with one lead and the same
//! exclusions; while these differ, each case goes on by itself.

use std::collections::BTreeSet;

use decision::directory::AgencyId;

use super::{Matter, State};

/// A link from a new case to an earlier one on the same subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// The earlier one was decided before: a reference, and nothing else.
    Prior,
    /// It is worked through the earlier one.
    Joined,
}

impl Link {
    /// The name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prior => "prior",
            Self::Joined => "joined",
        }
    }
}

/// An earlier case on the subjects of a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its state.
    pub state: State,
    /// Its lead, or the agency that decided it; `None` if it has neither.
    pub holder: Option<AgencyId>,
    /// Who is excluded from it, with successors.
    pub excluded: BTreeSet<AgencyId>,
}

impl Candidate {
    /// Whether new reports may still join it: it has a lead, and is not decided.
    #[must_use]
    pub const fn takes_reports(&self) -> bool {
        matches!(self.state, State::ASSIGNED | State::IN_PROGRESS | State::IN_REVIEW)
    }

    /// The link to it of a new case with a lead. `None` if another agency has it, or another is
    /// excluded from it: through the one, nobody must learn of the other.
    #[must_use]
    pub fn link(&self, lead: &AgencyId, matter: &Matter) -> Option<Link> {
        if self.holder.as_ref() != Some(lead) || self.excluded != matter.excluded {
            return None;
        }
        match self.state {
            State::RESOLVED | State::CLOSED => Some(Link::Prior),
            _ if self.takes_reports() => Some(Link::Joined),
            _ => None,
        }
    }
}
