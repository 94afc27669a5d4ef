//! Who may do what in which state, and what it does to the clocks: one row per verb.
//!
//! A row stands in the file of its verb. `docs/casework.md` prints them all as two tables.

use super::{Action, Part, Sight, State, hand_up, open, succeed};
use decision::calendar::ClockKind;

/// What a verb does to a clock that it does not leave alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sets it, in place of one of its kind and owner that runs.
    Start,
    /// Ends it.
    Stop,
    /// Pauses it, for a bounded time.
    Pause,
}

/// The row of a verb: of what is done with a case.
#[derive(Debug)]
pub struct Rule {
    /// What it is called in the command line and in the papers.
    pub name: &'static str,
    /// What is done, for messages: "the lead may …".
    pub doing: &'static str,
    /// Which parts may do it, each in which states.
    pub may: &'static [(Part, &'static [State])],
    /// What it does to clocks, by state. Clocks that are not named are kept.
    pub clocks: &'static [(&'static [State], ClockKind, Effect)],
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller sees no such case.
    Unseen,
    /// The caller's part does not allow it in any state, or another's does in this one.
    NotYours {
        /// Who may do it, and what the caller may do instead.
        description: String,
    },
    /// The state does not allow it.
    WrongState {
        /// The state.
        state: State,
        /// When it is possible, and what is possible now.
        description: String,
    },
    /// An argument does not fit the case.
    Argument {
        /// Path of the field in the request.
        field: &'static str,
        /// What is wrong, and what to do.
        description: String,
    },
}

impl Rule {
    /// All rows: of callers' verbs, then of what Remit does by itself.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        let own = [
            open::RULE,
            hand_up::RULE,
            hand_up::REPEAT,
            hand_up::PASS_ON,
            succeed::RULE,
        ];
        Action::RULES.iter().copied().chain(own)
    }

    /// Whether a part may do it in a state.
    #[must_use]
    pub fn allows(&self, part: Part, state: State) -> bool {
        self.may
            .iter()
            .any(|(may, states)| *may == part && states.contains(&state))
    }

    /// What it does to a clock, in a state; `None` to keep it.
    #[must_use]
    pub fn effect(&self, state: State, kind: ClockKind) -> Option<Effect> {
        let row = self
            .clocks
            .iter()
            .find(|(states, clock, _)| *clock == kind && states.contains(&state));
        row.map(|(.., effect)| *effect)
    }

    /// The clock of the duty that it sets in a state; `None` to keep the one that runs.
    #[must_use]
    pub fn starts(&self, state: State) -> Option<ClockKind> {
        let duty = ClockKind::ALL.into_iter().filter(|kind| kind.is_of_the_duty());
        duty.into_iter()
            .find(|kind| self.effect(state, *kind) == Some(Effect::Start))
    }

    /// Checks a caller with these parts.
    pub(super) fn check(&self, parts: &[Part], state: State) -> Result<(), Refusal> {
        if parts.iter().any(|part| self.allows(*part, state)) {
            return Ok(());
        }
        if !parts.iter().any(|part| part.sees().contains(&Sight::Case)) {
            return Err(Refusal::Unseen);
        }
        let now = possible(parts, state);
        let ours: Vec<&[State]> = self
            .may
            .iter()
            .filter(|(part, _)| parts.contains(part))
            .map(|(_, states)| *states)
            .collect();
        if ours.is_empty() {
            let who: Vec<_> = self.may.iter().map(|(part, _)| part.name()).collect();
            return Err(Refusal::NotYours {
                description: format!("only the {} may {}; {now}", who.join(" or the "), self.doing),
            });
        }
        let states: Vec<_> = ours.concat().into_iter().map(State::name).collect();
        Err(Refusal::WrongState {
            state,
            description: format!(
                "the case is {}; to {} it must be {}; {now}",
                state.name(),
                self.doing,
                states.join(" or ")
            ),
        })
    }
}

/// What a caller with these parts can do in a state.
fn possible(parts: &[Part], state: State) -> String {
    let possible: Vec<_> = Action::RULES
        .iter()
        .filter(|rule| parts.iter().any(|part| rule.allows(*part, state)))
        .map(|rule| rule.doing)
        .collect();
    match possible.is_empty() {
        true => "there is nothing for you to do on it now".to_owned(),
        false => format!("now you can {}", possible.join(", or ")),
    }
}
