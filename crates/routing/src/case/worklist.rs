//! Worklists: which cases wait for an agency, for what, and which comes first.
//!
//! [`Worklist::ROWS`] says all of it, one row each. To add a worklist, add its row and its value in
//! the contract. What is stored of them (`store/lists.rs`) follows at the next start.

use api::routing::Worklist as Wire;
use decision::{calendar::ClockKind, directory::AgencyId};
use journal::Time;

use super::{Case, Part, Sight, State};

/// A worklist of an agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worklist {
    /// The agency has to act, and its clock runs.
    Due,
    /// The agency had to act, and its clock has run out.
    Overdue,
    /// With a lead that has not taken it over.
    NotAccepted,
    /// A disposition waits for a second person.
    InReview,
    /// The agency must designate a lead.
    AwaitingDesignation,
    /// The agency must answer a claim to lead.
    Claims,
    /// The agency must answer a request to assist.
    Assistance,
    /// The reporter was asked, and has not answered.
    WaitingForReporter,
    /// The agency supervises its lead.
    Supervised,
    /// The affected side stated its view, and waits for an answer.
    Statements,
    /// Somebody is to have notice of a disposition.
    ToNotify,
    /// The agency has to act, and none of its officers has it.
    Pool,
    /// One of its officers has it.
    Assigned,
    /// A suspected crime is to be handed over, or its referral answered.
    Referrals,
    /// Changed since the agency last read it.
    Unread,
}

/// The row of a worklist.
#[derive(Debug)]
pub struct Row {
    /// The worklist.
    pub worklist: Worklist,
    /// Its name in the database.
    pub name: &'static str,
    /// In the contract.
    pub wire: Wire,
    /// The parts of agencies that have it.
    pub parts: &'static [Part],
    /// The states of its cases.
    pub states: &'static [State],
    /// What puts a case on it, and where.
    pub order: Order,
}

/// What puts a case on a worklist, and its place: the earliest comes first.
#[derive(Debug)]
pub enum Order {
    /// A clock of the agency's own, of these kinds: when it ends, the earliest if there are several.
    Own(&'static [ClockKind]),
    /// A clock of the agency's own, of all kinds but these.
    OwnBut(&'static [ClockKind]),
    /// Like the worklist [`Worklist::Due`], for what none of its officers has.
    Pooled,
    /// One of its officers has it: when the agency's clock ends, or else the owner's.
    Assigned,
    /// Like the worklist [`Worklist::Due`], with what has ended by now.
    Ended,
    /// A question to the reporter is not answered: by when it is to be.
    Question,
    /// A statement of the affected side is not answered: since when.
    Statement,
    /// Notice of a disposition is to be given: since when.
    Notice,
    /// The part and the state alone: when the owner's clock ends.
    Owner,
    /// A change by another that the agency has not read: when it happened.
    Change,
}

/// Every part that is stored.
const ANY: &[Part] = &Part::STORED;

impl Worklist {
    /// The rows, in the order in which they are shown.
    pub const ROWS: &'static [Row] = &[
        Row {
            worklist: Self::Due,
            name: "due",
            wire: Wire::Due,
            parts: ANY,
            states: State::OPEN,
            // While a review may be requested, the agency has nothing to do.
            order: Order::OwnBut(&[ClockKind::Review]),
        },
        Row {
            worklist: Self::Overdue,
            name: "overdue",
            wire: Wire::Overdue,
            parts: ANY,
            states: State::OPEN,
            order: Order::Ended,
        },
        Row {
            worklist: Self::NotAccepted,
            name: "not-accepted",
            wire: Wire::NotAccepted,
            // The giver answers for it until then.
            parts: &[Part::Lead, Part::Giving],
            states: &[State::ASSIGNED],
            order: Order::Owner,
        },
        Row {
            worklist: Self::InReview,
            name: "in-review",
            wire: Wire::InReview,
            parts: &[Part::Lead],
            states: &[State::IN_REVIEW],
            order: Order::Owner,
        },
        Row {
            worklist: Self::AwaitingDesignation,
            name: "awaiting-designation",
            wire: Wire::AwaitingDesignation,
            parts: &[Part::Designating],
            states: &[State::AWAITING_DESIGNATION],
            order: Order::Owner,
        },
        Row {
            worklist: Self::Claims,
            name: "claims",
            wire: Wire::Claims,
            parts: &[Part::Lead],
            states: State::OPEN,
            order: Order::Own(&[ClockKind::Claim]),
        },
        Row {
            worklist: Self::Assistance,
            name: "assistance",
            wire: Wire::Assistance,
            parts: ANY,
            states: State::OPEN,
            order: Order::Own(&[ClockKind::Assist]),
        },
        Row {
            worklist: Self::WaitingForReporter,
            name: "waiting-for-reporter",
            wire: Wire::WaitingForReporter,
            parts: &[Part::Lead],
            states: &[State::ASSIGNED, State::IN_PROGRESS, State::IN_REVIEW],
            order: Order::Question,
        },
        Row {
            worklist: Self::Supervised,
            name: "supervised",
            wire: Wire::Supervised,
            parts: &[Part::Supervising],
            states: State::OPEN,
            order: Order::Owner,
        },
        Row {
            worklist: Self::Statements,
            name: "statements",
            wire: Wire::Statements,
            parts: &[Part::Lead],
            states: &[State::IN_REVIEW],
            order: Order::Statement,
        },
        Row {
            worklist: Self::ToNotify,
            name: "to-notify",
            wire: Wire::ToNotify,
            parts: &[Part::Lead],
            states: &[State::IN_REVIEW, State::RESOLVED],
            order: Order::Notice,
        },
        Row {
            worklist: Self::Referrals,
            name: "referrals",
            wire: Wire::Referrals,
            parts: ANY,
            states: &[State::RESOLVED],
            order: Order::Own(&[ClockKind::Refer, ClockKind::Receive]),
        },
        Row {
            worklist: Self::Pool,
            name: "pool",
            wire: Wire::Pool,
            parts: ANY,
            states: State::OPEN,
            order: Order::Pooled,
        },
        Row {
            worklist: Self::Assigned,
            name: "assigned",
            wire: Wire::Assigned,
            parts: ANY,
            states: State::OPEN,
            order: Order::Assigned,
        },
        Row {
            worklist: Self::Unread,
            name: "unread",
            wire: Wire::Unread,
            parts: ANY,
            states: &State::ALL,
            order: Order::Change,
        },
    ];

    /// Those that a superior has of the cases below it: they follow from the state and the owner's
    /// clock alone.
    pub const BELOW: [Self; 5] = [
        Self::Due,
        Self::Overdue,
        Self::NotAccepted,
        Self::InReview,
        Self::AwaitingDesignation,
    ];

    /// Its row.
    ///
    /// # Panics
    /// Never: a test looks that each has one.
    #[must_use]
    pub fn row(self) -> &'static Row {
        let row = Self::ROWS.iter().find(|row| row.worklist == self);
        row.expect("each has a row")
    }

    /// Parses a worklist of the contract; `None` if it is not set or unknown.
    #[must_use]
    pub fn from_proto(wire: Wire) -> Option<Self> {
        let row = Self::ROWS.iter().find(|row| row.wire == wire);
        row.map(|row| row.worklist)
    }

    /// The agencies on whose worklists a case is, and where. Not [`Worklist::Unread`], which
    /// depends on who changed and who read it, and no agency that does not see the case.
    pub fn of(case: &Case) -> impl Iterator<Item = (&AgencyId, &'static Row, Time)> {
        let seeing = case.parties().filter(|(_, part)| part.sees().contains(&Sight::Case));
        seeing.flat_map(move |(agency, part)| {
            let rows = Self::ROWS.iter();
            rows.filter_map(move |row| Some((agency, row, row.place(case, agency, part)?)))
        })
    }
}

impl Row {
    /// Where the case is on an agency's worklist; `None` if it is not on it.
    fn place(&self, case: &Case, agency: &AgencyId, part: Part) -> Option<Time> {
        if !self.parts.contains(&part) || !self.states.contains(&case.state()) {
            return None;
        }
        let earliest = |is_meant: &dyn Fn(ClockKind) -> bool| {
            // Nothing is to be done while a clock stands still.
            let runs = |clock: &&super::Clock| clock.ledger.paused.is_none();
            let own = case.all_clocks().filter(|clock| clock.owner == *agency).filter(runs);
            own.filter(|clock| is_meant(clock.kind())).map(|clock| clock.due).min()
        };
        match self.order {
            Order::Own(kinds) => earliest(&|kind| kinds.contains(&kind)),
            Order::OwnBut(kinds) => earliest(&|kind| !kinds.contains(&kind)),
            Order::Pooled => match case.officer_at(agency) {
                Some(_) => None,
                None => earliest(&|kind| kind != ClockKind::Review),
            },
            Order::Assigned => {
                case.officer_at(agency)?;
                earliest(&|_| true).or_else(|| case.duty().map(|duty| duty.clock.due))
            }
            Order::Question => case.course.question.as_ref().map(|question| question.answer_by),
            Order::Statement => case.unanswered_since(),
            Order::Notice => case.to_notify_since(),
            Order::Owner => case.duty().map(|duty| duty.clock.due),
            Order::Ended | Order::Change => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::case::{
        Acknowledge, Action, Assign, Assignee, Reason, RequestAssistance, Supervise, Transfer,
        tests::{act, assigned, matter},
    };

    fn of(case: &Case) -> Vec<(String, &'static str)> {
        // While nobody assigns anything, all that is due is in the pool.
        Worklist::of(case)
            .filter(|(_, row, _)| row.worklist != Worklist::Pool)
            .map(|(agency, row, _)| (agency.to_string(), row.name))
            .collect()
    }

    fn on(agency: &str, lists: &[&'static str]) -> Vec<(String, &'static str)> {
        lists.iter().map(|list| (agency.to_owned(), *list)).collect()
    }

    #[test]
    fn each_worklist_has_one_row_and_one_value_of_the_contract() {
        let names: BTreeSet<_> = Worklist::ROWS.iter().map(|row| row.name).collect();
        let kinds: BTreeSet<_> = Worklist::ROWS.iter().map(|row| row.worklist).collect();
        assert_eq!((names.len(), kinds.len()), (Worklist::ROWS.len(), Worklist::ROWS.len()));
        let wires = (1..).map_while(|number| Wire::try_from(number).ok());
        let known: Vec<_> = wires.map(|wire| Worklist::from_proto(wire).unwrap()).collect();
        assert_eq!(known.len(), Worklist::ROWS.len());
        for worklist in known {
            assert_eq!(worklist.row().worklist, worklist);
        }
        assert_eq!(Worklist::from_proto(Wire::Unspecified), None);
        // A state's list has the name of the state.
        assert!(State::ALL.iter().all(|state| !names.contains(state.name())));
    }

    #[test]
    fn what_is_handed_over_is_with_giver_and_receiver_until_it_is_taken() {
        let case = assigned("police-450100", &["police-440000"]);
        assert_eq!(of(&case), on("police-450100", &["due", "not-accepted"]));
        let acknowledge = Action::Acknowledge(Acknowledge);
        let taken = act(2, &case, &matter(&[]), "police-450100", &acknowledge).unwrap().case;
        assert_eq!(of(&taken), on("police-450100", &["due"]));
        let transfer = Action::Transfer(Transfer {
            to: AgencyId::new("police-510100").unwrap(),
            reason: Reason::Place,
            keep_supporting: false,
        });
        let given = act(3, &taken, &matter(&[]), "police-450100", &transfer).unwrap().case;
        let both = [
            on("police-510100", &["due", "not-accepted"]),
            on("police-450100", &["not-accepted"]),
        ];
        assert_eq!(of(&given), both.concat());
        let places: BTreeSet<_> = Worklist::of(&given).map(|(.., place)| place).collect();
        assert_eq!(places, BTreeSet::from([given.duty().unwrap().clock.due]));
        let taken = act(4, &given, &matter(&[]), "police-510100", &acknowledge)
            .unwrap()
            .case;
        assert_eq!(of(&taken), on("police-510100", &["due"]));
    }

    #[test]
    fn what_is_supervised_is_with_the_superior_that_does() {
        let case = assigned("police-450100", &[]);
        let acknowledge = Action::Acknowledge(Acknowledge);
        let taken = act(2, &case, &matter(&[]), "police-450100", &acknowledge).unwrap().case;
        let supervise = Action::Supervise(Supervise { term: None });
        let under = act(3, &taken, &matter(&[]), "police-450000", &supervise).unwrap().case;
        let both = [on("police-450100", &["due"]), on("police-450000", &["supervised"])];
        assert_eq!(of(&under), both.concat());
    }

    #[test]
    fn who_is_asked_to_assist_has_it_by_its_own_clock() {
        let case = assigned("police-450100", &[]);
        let acknowledge = Action::Acknowledge(Acknowledge);
        let taken = act(2, &case, &matter(&[]), "police-450100", &acknowledge).unwrap().case;
        let ask = Action::RequestAssistance(RequestAssistance {
            of: AgencyId::new("police-440000").unwrap(),
        });
        let asked = act(3, &taken, &matter(&[]), "police-450100", &ask).unwrap().case;
        let both = [
            on("police-450100", &["due"]),
            on("police-440000", &["due", "assistance"]),
        ];
        assert_eq!(of(&asked), both.concat());
        for (agency, _, place) in Worklist::of(&asked) {
            let own = asked.all_clocks().find(|clock| clock.owner == *agency);
            assert_eq!(place, own.unwrap().due);
        }
    }

    #[test]
    fn the_pool_has_what_is_due_and_nobody_has() {
        let case = assigned("police-450100", &["police-440000"]);
        let lists = |case: &Case, agency: &str| {
            let of = Worklist::of(case).filter(|(of, ..)| of.as_str() == agency);
            of.map(|(_, row, place)| (row.name, place)).collect::<Vec<_>>()
        };
        let due = case.duty().unwrap().clock.due;
        let [lead, supporting] = ["police-450100", "police-440000"];
        assert_eq!(lists(&case, lead), [("due", due), ("not-accepted", due), ("pool", due)]);
        let give = |case: &Case, by: &str| {
            let assign = Action::Assign(Assign {
                to: Assignee::Acting,
                former: None,
                by: "o-1".to_owned(),
                commitment: Vec::new(),
            });
            act(2, case, &matter(&[]), by, &assign).unwrap().case
        };
        let with_one = give(&case, lead);
        assert_eq!(
            lists(&with_one, lead),
            [("due", due), ("not-accepted", due), ("assigned", due)]
        );
        assert_eq!(lists(&with_one, supporting), []);
        // Without a clock of its own, by the lead's.
        assert_eq!(lists(&give(&with_one, supporting), supporting), [("assigned", due)]);
    }
}
