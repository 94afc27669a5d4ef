//! `ReferCrime`: the agency that decided so hands a suspected crime over to a body that takes
//! crimes. `AnswerReferral`: that body takes it, or refuses it with reasons, and the case is open
//! again.
//!
//! An agency that takes crimes itself hands nothing over. Neither clock lets go: a case in which
//! one runs does not close. An agency that does not hand it over has to let its superior do it.

use api::event::{DispositionKind, ReferralAnswer};
use decision::{
    calendar::{ClockKind, ClockRule, Unit},
    directory::AgencyId,
};
use journal::Time;

use super::{
    Before, Case, Clock, Disposition, Duty, Effect, Event, Matter, Origin, Part, Refusal, Rule, Rules, Stage, Standing,
    State, Supporter, Transition,
    hand_on::{barred, unfit},
};

/// Time to hand a crime over after the decision: 24 hours (行政执法机关移送涉嫌犯罪案件的规定 5).
pub const REFER: ClockRule = ClockRule {
    kind: ClockKind::Refer,
    value: 24,
    unit: Unit::Hours,
};

/// Time for the answer of the body that it is handed to: 3 days (公安机关办理刑事案件程序规定 180;
/// 行政执法机关移送涉嫌犯罪案件的规定 8).
pub const RECEIVE: ClockRule = ClockRule {
    kind: ClockKind::Receive,
    value: 3,
    unit: Unit::CalendarDays,
};

/// Time of the last superior, each time that it is late. Ours: nobody is above it.
const REPEATED: ClockRule = ClockRule {
    value: 7,
    unit: Unit::CalendarDays,
    ..REFER
};

/// Functions of the bodies that take crimes: the police, and for those in office the inspection
/// (行政执法机关移送涉嫌犯罪案件的规定 3, 18).
const TAKES_CRIMES: &[&str] = &["police", "inspection"];

const FROM: &[State] = &[State::RESOLVED];
/// A joined case is decided with its main case, out of the hands of its lead.
const UNDECIDED: &[State] = &[State::IN_PROGRESS, State::IN_REVIEW];

/// A crime that was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// The body: the one that it was handed to, or who answers in its place.
    pub to: AgencyId,
    /// When.
    pub time: Time,
    /// When the body took it; `None` while it has not answered.
    pub taken: Option<Time>,
}

/// The agency that decided hands the crime over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferCrime {
    /// The body that is to take it.
    pub to: AgencyId,
}

/// It was decided that it is a crime, by an agency that takes none.
pub(super) const START: &Rule = &Rule {
    name: "start-referral",
    doing: "have a crime handed over that was decided to be one",
    may: &[(Part::Remit, UNDECIDED)],
    clocks: &[(UNDECIDED, ClockKind::Refer, Effect::Start)],
};

/// Whoever owed one of these is late, or ended.
pub(super) const LATE: &Rule = &Rule {
    name: "repeat-referral",
    doing: "have a late referral answered",
    may: &[(Part::Remit, FROM)],
    clocks: &[
        (FROM, ClockKind::Refer, Effect::Start),
        (FROM, ClockKind::Receive, Effect::Start),
    ],
};

impl ReferCrime {
    pub(super) const RULE: &Rule = &Rule {
        name: "refer",
        doing: "hand a suspected crime over",
        may: &[(Part::Lead, FROM), (Part::Referring, FROM)],
        clocks: &[
            (FROM, ClockKind::Refer, Effect::Stop),
            (FROM, ClockKind::Receive, Effect::Start),
        ],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, .. } = before;
        let decided = case.disposition.as_ref().ok_or(Refusal::Unseen)?;
        if decided.what.kind() != DispositionKind::SuspectedCrime {
            return barred(
                case,
                "its disposition hands no crime over: open it again, and propose one that does",
            );
        }
        if let Some(referral) = &case.course.referral {
            let to = referral.to.resource_name();
            return barred(case, format_args!("it is handed over already, to {to}"));
        }
        if rules.takes_crimes(&decided.holder) {
            return barred(case, "its agency takes crimes itself: it hands none over");
        }
        let to = &self.to;
        rules.may_see("agency", to, matter)?;
        if !rules.takes_crimes(to) {
            let functions = TAKES_CRIMES.join("` or `");
            return unfit(
                "agency",
                format_args!("takes no crimes: name one with the function `{functions}`"),
            );
        }
        let mut after = case.clone();
        after.end_late(ClockKind::Refer);
        after.course.referral = Some(Referral {
            to: to.clone(),
            time: rules.now,
            taken: None,
        });
        rules.ask_to_receive(&mut after, to);
        Ok(Transition {
            event: Event::CrimeReferred { to: to.clone() },
            case: after,
        })
    }
}

/// The body that a crime was handed to answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerReferral {
    /// Whether it takes the crime. Otherwise the agency that decided has the case again.
    pub taken: bool,
}

impl AnswerReferral {
    pub(super) const RULE: &Rule = &Rule {
        name: "answer-referral",
        doing: "answer to a suspected crime that was handed to it",
        may: &[(Part::Receiving, FROM)],
        // When it is refused, the case is as if opened again.
        clocks: &[
            (FROM, ClockKind::Receive, Effect::Stop),
            (FROM, ClockKind::Review, Effect::Stop),
            (FROM, ClockKind::Acknowledge, Effect::Start),
        ],
    };

    pub(super) fn apply(self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let Before { case, matter, by } = before;
        let by = by.ok_or(Refusal::Unseen)?;
        let (Some(disposition), Some(referral), Some(terms)) =
            (&case.disposition, &case.course.referral, &matter.terms)
        else {
            return Err(Refusal::Unseen);
        };
        if referral.taken.is_some() {
            return barred(case, "your agency has taken it already");
        }
        let event = Event::ReferralAnswered {
            by: by.clone(),
            answer: match self.taken {
                true => ReferralAnswer::Taken,
                false => ReferralAnswer::Refused,
            },
        };
        let mut after = case.clone();
        if self.taken {
            after.clocks.retain(|clock| clock.kind() != ClockKind::Receive);
            after.course.referral = Some(Referral {
                to: by.clone(),
                taken: Some(rules.now),
                ..referral.clone()
            });
            let supporters = after.supporting.iter_mut();
            supporters
                .filter(|supporter| supporter.agency == *by)
                .for_each(|supporter| supporter.by_request = false);
            return Ok(Transition { event, case: after });
        }
        after.drop_referral();
        after.generation += 1;
        let owner = &disposition.holder;
        after.standing = Standing::Open(
            Stage::Assigned,
            Duty {
                clock: rules.clock(owner, terms.clocks.acknowledge, after.generation),
                owner: owner.clone(),
                origin: Origin::Refused(by.clone()),
            },
        );
        after.disposition = None;
        after.course.result_used = 0;
        Ok(Transition { event, case: after })
    }
}

impl Rules<'_> {
    /// Whether an agency takes crimes.
    fn takes_crimes(&self, agency: &AgencyId) -> bool {
        let functions = self.directory.agency(agency).map(|agency| &agency.functions);
        functions.is_some_and(|functions| {
            let mut functions = functions.iter();
            functions.any(|function| TAKES_CRIMES.contains(&function.as_str()))
        })
    }

    /// Starts the time to hand a crime over, if it was decided that it is one, and its agency takes
    /// none itself.
    pub(super) fn start_referral(&self, case: &mut Case, decided: &Disposition) {
        let is_crime = decided.what.kind() == DispositionKind::SuspectedCrime;
        if !is_crime || self.takes_crimes(&decided.holder) || case.course.referral.is_some() {
            return;
        }
        case.generation += 1;
        case.clocks.push(self.clock(&decided.holder, REFER, case.generation));
    }

    /// Starts the time of a body to answer; it reads what the reports say.
    fn ask_to_receive(&self, case: &mut Case, body: &AgencyId) {
        case.generation += 1;
        case.clocks.push(self.clock(body, RECEIVE, case.generation));
        if let Some(referral) = &mut case.course.referral {
            referral.to = body.clone();
        }
        match case.supporting.iter_mut().find(|supporter| supporter.agency == *body) {
            Some(supporter) => supporter.informed = true,
            None => case.supporting.push(Supporter {
                informed: true,
                ..Supporter::asked(body.clone())
            }),
        }
    }

    /// A crime was not handed over, or its referral not answered, in time: a superior has to, and
    /// who was late has no part by that any more. Without a superior, its time begins anew.
    pub(super) fn referral_late(&self, case: &Case, matter: &Matter, late: &Clock, event: Event) -> Transition {
        let mut after = case.clone();
        after.end_late(late.kind());
        match late.kind() {
            ClockKind::Receive => {
                let superior = self.receiver_above(case, matter, &late.owner);
                self.ask_to_receive(&mut after, superior.unwrap_or(&late.owner));
            }
            _ => {
                let superior = self.above_in(&late.owner, case, matter);
                let (owes, rule) = superior.map_or((&late.owner, REPEATED), |superior| (superior, REFER));
                after.generation += 1;
                after.clocks.push(self.clock(owes, rule, after.generation));
                if case.owner() != Some(owes) && !after.is_supported_by(owes) {
                    after.supporting.push(Supporter::asked(owes.clone()));
                }
            }
        }
        Transition { event, case: after }
    }

    /// Who continues the places in a referral, after agencies ended.
    pub(super) fn referral_succeeded(&self, case: &mut Case, matter: &Matter) {
        let owner = case.owner().cloned();
        if owner.as_ref().is_some_and(|owner| self.takes_crimes(owner)) {
            case.clocks.retain(|clock| clock.kind() != ClockKind::Refer);
        }
        let Some(referral) = &mut case.course.referral else {
            return;
        };
        if referral.taken.is_some() {
            if let Some(heir) = self.stands_in(&referral.to, matter) {
                referral.to = heir.clone();
            }
            return;
        }
        let receives = |clock: &&Clock| clock.kind() == ClockKind::Receive;
        match case.clocks.iter().find(receives) {
            Some(clock) => referral.to = clock.owner.clone(),
            // The body has become the agency that decided.
            None => {
                case.drop_referral();
                if let Some(decided) = case.disposition.clone() {
                    self.start_referral(case, &decided);
                }
            }
        }
    }

    /// Nobody continues the body that a crime was handed to: its superior has to answer, or else
    /// the agency that decided names another body.
    pub(super) fn referral_passed_on(&self, case: &Case, matter: &Matter, request: &Clock, event: Event) -> Transition {
        let mut after = case.clone();
        match self.receiver_above(case, matter, &request.owner) {
            Some(superior) => {
                after.end_late(request.kind());
                self.ask_to_receive(&mut after, superior);
            }
            None => {
                after.drop_referral();
                if let Some(decided) = case.disposition.as_ref() {
                    self.start_referral(&mut after, decided);
                }
            }
        }
        Transition { event, case: after }
    }

    /// The superior of a body, if it takes crimes and has not the case itself.
    fn receiver_above<'b>(&'b self, case: &Case, matter: &'b Matter, body: &AgencyId) -> Option<&'b AgencyId> {
        let superior = self.above(body, matter)?;
        (self.takes_crimes(superior) && case.owner() != Some(superior)).then_some(superior)
    }
}

impl Case {
    /// Whether a crime is to be handed over, or its referral to be answered.
    pub(super) fn is_referring(&self) -> bool {
        let kinds = [ClockKind::Refer, ClockKind::Receive];
        self.clocks.iter().any(|clock| kinds.contains(&clock.kind()))
    }

    /// The body that has taken its crime.
    pub(super) fn taker(&self) -> Option<&AgencyId> {
        let referral = self.course.referral.as_ref();
        let taken = referral.filter(|referral| referral.taken.is_some());
        taken.map(|referral| &referral.to)
    }

    /// Ends a clock of a referral, and the part that its owner has by that alone.
    fn end_late(&mut self, kind: ClockKind) {
        let Some(at) = self.clocks.iter().position(|clock| clock.kind() == kind) else {
            return;
        };
        let owner = self.clocks.remove(at).owner;
        let owes_more = self.clocks.iter().any(|clock| clock.owner == owner);
        self.supporting
            .retain(|supporter| supporter.agency != owner || !supporter.by_request || owes_more);
        if kind == ClockKind::Receive {
            let supporters = self.supporting.iter_mut();
            supporters
                .filter(|supporter| supporter.agency == owner)
                .for_each(|supporter| supporter.informed = false);
        }
    }

    /// Ends a referral that was not taken: what was decided is decided no longer. One that was
    /// taken stays.
    pub(super) fn drop_referral(&mut self) {
        self.end_late(ClockKind::Refer);
        self.end_late(ClockKind::Receive);
        let referral = &mut self.course.referral;
        referral.take_if(|referral| referral.taken.is_none());
    }
}
