//! Grounds on which the time for a result stands still, and for how long.

use api::event::PauseGround;

use super::wire::{clock_need, span};
use crate::calendar::Unit;
use crate::directory::Function;

/// The grounds, with their names in rule sets.
pub(super) const GROUNDS: [(PauseGround, &str); 5] = [
    (PauseGround::WaitingForReporter, "waiting-for-reporter"),
    (PauseGround::Hearing, "hearing"),
    (PauseGround::ExpertOpinion, "expert-opinion"),
    (PauseGround::Announcement, "announcement"),
    (PauseGround::OtherProceeding, "other-proceeding"),
];

/// The names, for messages.
pub(super) const GROUND_NAMES: &str =
    "waiting-for-reporter, hearing, expert-opinion, announcement and other-proceeding";

/// A ground on which a lead may pause the time for the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseNeed {
    /// The ground; never `Unspecified`.
    pub ground: PauseGround,
    /// The functions whose agencies may use it, each once; all if empty.
    pub functions: Vec<Function>,
    /// The longest that a lead may pause on it, all pauses together, in units.
    pub value: u32,
    /// The unit.
    pub unit: Unit,
    /// The source: the law, or that it is ours.
    pub source: String,
}

impl PauseNeed {
    /// The name of its ground.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name(self.ground)
    }

    /// Whether agencies with a function may use it.
    #[must_use]
    pub fn is_for(&self, function: &Function) -> bool {
        self.functions.is_empty() || self.functions.contains(function)
    }

    /// As in the contract.
    #[must_use]
    pub fn to_proto(&self) -> api::routing::PauseNeed {
        api::routing::PauseNeed {
            ground: self.ground.into(),
            agency_functions: self.functions.iter().map(ToString::to_string).collect(),
            at_most: Some(clock_need(self.value, self.unit)),
            source: self.source.clone(),
        }
    }

    /// From the contract; `None` if something is missing or unknown.
    pub(super) fn from_proto(need: &api::routing::PauseNeed) -> Option<Self> {
        let (value, unit) = span(need.at_most.as_ref()?)?;
        let functions = need.agency_functions.iter();
        Some(Self {
            ground: known(need.ground)?,
            functions: functions.map(|name| Function::new(name).ok()).collect::<Option<_>>()?,
            value,
            unit,
            source: need.source.clone(),
        })
    }
}

/// A ground that this version knows.
pub(super) fn known(number: i32) -> Option<PauseGround> {
    let ground = PauseGround::try_from(number).ok()?;
    (ground != PauseGround::Unspecified).then_some(ground)
}

/// The name of a ground in rule sets.
pub(super) fn name(ground: PauseGround) -> &'static str {
    let known = GROUNDS.iter().find(|(known, _)| *known == ground);
    known.map_or("unknown", |(_, name)| *name)
}

/// The ground of a name.
pub(super) fn from_name(name: &str) -> Option<PauseGround> {
    let known = GROUNDS.iter().find(|(_, known)| *known == name);
    known.map(|(ground, _)| *ground)
}
