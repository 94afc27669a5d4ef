//! What a row lays down for the case that it routes.

use api::event::ClockUnit;
use api::routing::{CaseTerms, ClockNeed, ReviewNeed};

use super::wire::{clock_need, span};
use super::{HoldNeed, Lead, PauseNeed, Review, RuleSet, Span};
use crate::calendar::{ClockKind, ClockRule, Clocks, Unit};
use crate::directory::Function;

/// What the row that routed a case lays down for it. A later rule set changes none of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What the lead does. Whoever comes to lead has it, too.
    pub function: Function,
    /// By when a lead takes the case over, and by when it comes to a result.
    pub clocks: Clocks,
    /// Payments to be stopped at once.
    pub holds: Vec<HoldNeed>,
    /// Whether a second person has to look at the result.
    pub review: Review,
    /// Functions that support.
    pub support: Vec<Function>,
    /// The grounds on which a lead may pause the time for the result, for this function.
    pub pauses: Vec<PauseNeed>,
    /// Time for a late lead under its superior's supervision; `None` if the superior has the case at
    /// once.
    pub supervision: Option<Span>,
}

impl Terms {
    /// Of a row by which an agency leads.
    #[must_use]
    pub fn of(lead: &Lead, rules: &RuleSet) -> Self {
        let pauses = rules.pauses(&lead.function).map(|pause| PauseNeed {
            functions: Vec::new(),
            ..pause.clone()
        });
        Self {
            function: lead.function.clone(),
            clocks: lead.clocks,
            holds: lead.holds.clone(),
            review: lead.review,
            support: lead.support.clone(),
            pauses: pauses.collect(),
            supervision: rules.supervision(),
        }
    }

    /// As in the contract.
    #[must_use]
    pub fn to_proto(&self) -> CaseTerms {
        let clock = |rule: ClockRule| Some(clock_need(rule.value, rule.unit));
        CaseTerms {
            agency_function: self.function.to_string(),
            acknowledge: clock(self.clocks.acknowledge),
            result: clock(self.clocks.result),
            holds: self.holds.iter().map(HoldNeed::to_proto).collect(),
            review: self.review.to_proto().into(),
            supporting_functions: self.support.iter().map(ToString::to_string).collect(),
            pauses: self.pauses.iter().map(PauseNeed::to_proto).collect(),
            supervision: self.supervision.map(|(value, unit)| clock_need(value, unit)),
        }
    }

    /// From the contract; `None` when something is missing or cannot be read.
    #[must_use]
    pub fn from_proto(terms: &CaseTerms) -> Option<Self> {
        let clock = |kind, need: &Option<ClockNeed>| {
            let (value, unit) = span(need.as_ref()?)?;
            Some(ClockRule { kind, value, unit })
        };
        Some(Self {
            function: Function::new(&terms.agency_function).ok()?,
            clocks: Clocks {
                acknowledge: clock(ClockKind::Acknowledge, &terms.acknowledge)?,
                result: clock(ClockKind::Result, &terms.result)?,
            },
            holds: terms
                .holds
                .iter()
                .map(|hold| {
                    let (value, unit) = span(hold.clock.as_ref()?)?;
                    let function = Function::new(&hold.agency_function).ok()?;
                    Some(HoldNeed { function, value, unit })
                })
                .collect::<Option<_>>()?,
            review: Review::from_proto(ReviewNeed::try_from(terms.review).ok()?)?,
            support: terms
                .supporting_functions
                .iter()
                .map(|function| Function::new(function).ok())
                .collect::<Option<_>>()?,
            pauses: terms.pauses.iter().map(PauseNeed::from_proto).collect::<Option<_>>()?,
            supervision: match &terms.supervision {
                Some(need) => Some(span(need)?),
                None => None,
            },
        })
    }
}

impl Unit {
    /// As in the contract.
    #[must_use]
    pub const fn to_proto(self) -> ClockUnit {
        match self {
            Self::Minutes => ClockUnit::Minutes,
            Self::Hours => ClockUnit::Hours,
            Self::CalendarDays => ClockUnit::CalendarDays,
            Self::WorkingDays => ClockUnit::WorkingDays,
            Self::WorkingHours => ClockUnit::WorkingHours,
        }
    }

    /// From the contract; `None` when it is not set.
    #[must_use]
    pub fn from_proto(unit: ClockUnit) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() == unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Action, RuleSet};

    #[test]
    fn the_terms_of_every_shipped_row_lead_back() {
        let mut rows = 0;
        for row in RuleSet::shipped().rows() {
            if let Action::Lead(lead) = &row.action {
                let terms = Terms::of(lead, RuleSet::shipped());
                assert_eq!(Terms::from_proto(&terms.to_proto()), Some(terms), "{}", row.id);
                rows += 1;
            }
        }
        assert!(rows > 10);
    }

    #[test]
    fn terms_that_lack_a_clock_are_not_read() {
        for unit in Unit::ALL {
            assert_eq!(Unit::from_proto(unit.to_proto()), Some(unit));
        }
        assert_eq!(Unit::from_proto(ClockUnit::Unspecified), None);
        assert_eq!(Terms::from_proto(&CaseTerms::default()), None);
    }
}
