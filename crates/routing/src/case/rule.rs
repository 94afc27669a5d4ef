//! Who may use which verb in which state, and its effect on the clocks: one row per verb.
//!
//! The row is in the verb's file. `docs/casework.md` shows all rows as two tables.

use super::{
    Action, Assign, Part, State, ask_reporter, claim, close, hand_up, join, open, pause, reclassify, refer, settle,
    succeed, supervise, withdraw,
};
use decision::calendar::ClockKind;

/// The effect of a verb on a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Starts it; it replaces a running one of the same kind and owner.
    Start,
    /// Ends it.
    Stop,
    /// Pauses it for a bounded time.
    Pause,
    /// Lets it run again with the rest of its budget.
    Resume,
}

/// The row of a verb.
#[derive(Debug)]
pub struct Rule {
    /// Its name in the command line and the docs.
    pub name: &'static str,
    /// Its verb phrase in messages: "the lead may …".
    pub doing: &'static str,
    /// The parts that may use it, each with the states.
    pub may: &'static [(Part, &'static [State])],
    /// Its effects on clocks, by state. Other clocks keep running.
    pub clocks: &'static [(&'static [State], ClockKind, Effect)],
}

/// Why an action is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller does not see the case.
    Unseen,
    /// None of the caller's parts allows it in any state.
    NotYours {
        /// The parts that may, and what the caller may do instead.
        description: String,
    },
    /// The state does not allow it.
    WrongState {
        /// The state.
        state: State,
        /// The states that allow it, and what the caller may do now.
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
    /// All rows: the callers' verbs, then Remit's own.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        let own = [
            open::RULE,
            supervise::REMIND,
            supervise::LATE,
            supervise::END,
            pause::END,
            hand_up::RULE,
            hand_up::REPEAT,
            hand_up::PASS_ON,
            claim::DISPUTE,
            reclassify::KEEP,
            reclassify::UPWARD,
            refer::START,
            refer::LATE,
            ask_reporter::ADD_INFORMATION,
            ask_reporter::ANSWER_QUESTION,
            withdraw::WITHDRAW,
            withdraw::REQUEST_WITHDRAWAL,
            close::RULE,
            settle::RULE,
            succeed::RULE,
            join::FOLLOW,
        ];
        Action::RULES.iter().copied().chain(own)
    }

    /// Whether a part may use it in a state.
    #[must_use]
    pub fn allows(&self, part: Part, state: State) -> bool {
        self.may
            .iter()
            .any(|(may, states)| *may == part && states.contains(&state))
    }

    /// Its effect on a clock in a state; `None` if the clock keeps running.
    #[must_use]
    pub fn effect(&self, state: State, kind: ClockKind) -> Option<Effect> {
        let row = self
            .clocks
            .iter()
            .find(|(states, clock, _)| *clock == kind && states.contains(&state));
        row.map(|(.., effect)| *effect)
    }

    /// The duty's clock that it starts in a state; `None` if the running one is kept.
    #[must_use]
    pub fn starts(&self, state: State) -> Option<ClockKind> {
        let duty = ClockKind::ALL.into_iter().filter(|kind| kind.is_of_the_duty());
        duty.into_iter()
            .find(|kind| self.effect(state, *kind) == Some(Effect::Start))
    }

    /// Checks whether a caller with these parts may use it.
    pub(super) fn check(&self, parts: &[Part], state: State) -> Result<(), Refusal> {
        if parts.iter().any(|part| self.allows(*part, state)) {
            return Ok(());
        }
        if !parts.iter().any(|part| part.knows()) {
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
            let who: Vec<_> = self.may.iter().map(|(part, _)| part.noun()).collect();
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

/// What a caller with these parts may do in a state, in words. Who works on it inside an agency
/// moves no case.
fn possible(parts: &[Part], state: State) -> String {
    let possible: Vec<_> = Action::RULES
        .iter()
        .filter(|rule| rule.name != Assign::RULE.name)
        .filter(|rule| parts.iter().any(|part| rule.allows(*part, state)))
        .map(|rule| rule.doing)
        .collect();
    match possible.is_empty() {
        true => "there is nothing for you to do on it now".to_owned(),
        false => format!("now you can {}", possible.join(", or ")),
    }
}
