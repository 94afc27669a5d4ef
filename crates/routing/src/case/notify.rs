//! `NotifySubject`: notice to the side that a disposition affects, before it is decided and after.
//!
//! A penalty is decided only after a notice of it (行政处罚法 44), and after the affected side had
//! its say, or its time for it (行政处罚法 45, 64). [`Rules::heard`] checks that, where a case
//! becomes resolved.

use api::event::{DispositionEffect, DispositionKind, NoticeMeans, StatementKind};
use decision::{
    calendar::{self, ClockKind, ClockRule, Unit},
    directory::AgencyId,
};
use journal::Time;

use super::{
    Before, Case, Disposition, Duty, Effect, Event, Part, Refusal, Rule, Rules, Stage, Standing, State, Transition,
    disposition::REVIEW,
    hand_on::{barred, unfit},
    instant,
};

/// Kinds of which the affected side has notice before they are decided (行政处罚法 44,
/// 治安管理处罚法 94 of 2012). What is handed over as a suspected crime is not announced.
const HEARD: &[DispositionKind] = &[DispositionKind::Penalty];

/// Effects that burden somebody, who has notice of the decision.
const BURDENS: &[DispositionEffect] = &[
    DispositionEffect::Removed,
    DispositionEffect::Unavailable,
    DispositionEffect::Corrected,
    DispositionEffect::MoneyStopped,
    DispositionEffect::Sanctioned,
];

/// Working days in which the affected side may state its view, or ask to be heard (行政处罚法 64,
/// 85).
const STATEMENT: u32 = 5;

/// Days after which what was announced to the public counts as served (民事诉讼法 95).
const ANNOUNCED: u32 = 30;

/// Maximum number of sides with notice in a case.
const MOST: usize = 20;

/// How often a side may have notice of one proposal or decision.
const MOST_TIMES: u64 = 5;

/// Maximum characters of the name of who has notice.
const LONGEST_RECIPIENT: usize = 200;

/// A notice to one of those whom a disposition affects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its number among those of the case, from 1.
    pub number: u64,
    /// Whom it was given to, in the officer's words.
    pub recipient: String,
    /// Whether it told of a decision last, and not of a proposed disposition.
    pub of_decision: bool,
    /// The number of that proposal among those of the case ([`Course::proposals`](super::Course)).
    pub proposal: u64,
    /// How often it told of that.
    pub times: u64,
    /// The agency that gave it last, which answers for it.
    pub agency: AgencyId,
    /// How it was served last.
    pub means: NoticeMeans,
    /// When it was given last.
    pub time: Time,
    /// Until when the affected side may state its view, or ask for a review.
    pub respond_by: Time,
    /// What it said last of what it had notice of last.
    pub said: Option<Statement>,
    /// How many statements came since it had notice of that.
    pub statements: u64,
}

/// What the affected side said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is: that it asks to be heard, if any that waits for an answer does.
    pub kind: StatementKind,
    /// When the first came that waits for an answer.
    pub time: Time,
    /// Whether it was answered.
    pub answered: bool,
}

impl Notice {
    /// The statement that waits for an answer.
    #[must_use]
    pub fn unanswered(&self) -> Option<&Statement> {
        let said = self.said.as_ref();
        said.filter(|said| !said.answered && said.kind != StatementKind::Waived)
    }
}

/// Which receipt the affected side has after a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The one that it has.
    Kept,
    /// Its first, or another in its place.
    New,
}

/// The lead gives notice to the affected side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySubject {
    /// The number of an earlier notice, to the same side; `None` for another side.
    pub again: Option<u64>,
    /// Whom it is for; may be empty for the side of an earlier notice.
    pub recipient: String,
    /// How it is served.
    pub means: NoticeMeans,
    /// Whether the side of an earlier notice gets a new receipt.
    pub new_receipt: bool,
    /// Whether it tells of a decision, as the officer has it before the eyes.
    pub of_decision: bool,
}

impl NotifySubject {
    pub(super) const RULE: &Rule = &Rule {
        name: "notify",
        doing: "give notice to the affected side",
        may: &[(Part::Lead, &[State::IN_REVIEW, State::RESOLVED])],
        // The time for a review begins when the affected side knows; it never ends earlier for that.
        clocks: &[(&[State::RESOLVED], ClockKind::Review, Effect::Start)],
    };

    pub(super) fn apply(&self, rules: &Rules<'_>, before: Before<'_>) -> Result<Transition, Refusal> {
        let case = before.case;
        let (Standing::Open(stage, duty), Some(disposition)) = (&case.standing, &case.disposition) else {
            return Err(Refusal::Unseen);
        };
        if *stage == Stage::Resolved && duty.clock.due <= rules.now {
            return barred(case, "the time for a review has ended");
        }
        let of_decision = *stage == Stage::Resolved;
        if of_decision != self.of_decision {
            return match of_decision {
                true => unfit("of_decision", "must be set: the disposition is decided"),
                false => unfit("of_decision", "must not be set: the disposition is only proposed"),
            };
        }
        let mut after = case.clone();
        let number = self.place(&mut after, &duty.owner)?;
        let had = case.notice(number).is_some_and(|notice| case.is_current(notice));
        // Who knows of the decision already has its time.
        let duty = match of_decision && !had {
            true => rules.review_again(case, duty, self.means),
            false => duty.clone(),
        };
        let respond_by = match of_decision {
            true => duty.clock.due,
            false => rules.statement_by(&duty.owner, self.means, rules.now),
        };
        after.generation = after.generation.max(duty.clock.generation);
        let agency = duty.owner.clone();
        after.standing = Standing::Open(*stage, duty);
        let proposal = case.course.proposals;
        let notice = after.course.notices.iter_mut().find(|notice| notice.number == number);
        let notice = notice.ok_or(Refusal::Unseen)?;
        if !had {
            notice.times = 0;
            notice.said = None;
            notice.statements = 0;
            notice.respond_by = Time(0);
        }
        if notice.times >= MOST_TIMES {
            let description = format!("is {number}, which had notice of this {MOST_TIMES} times");
            return unfit("notice_number", description);
        }
        notice.times += 1;
        notice.of_decision = of_decision;
        notice.proposal = proposal;
        notice.agency = agency;
        notice.means = self.means;
        notice.time = rules.now;
        notice.respond_by = notice.respond_by.max(respond_by);
        if !self.recipient.is_empty() {
            notice.recipient.clone_from(&self.recipient);
        }
        Ok(Transition {
            event: Event::SubjectNotified {
                number,
                means: self.means,
                of_decision,
                what: disposition.what.clone(),
                receipt: match self.again.is_none() || self.new_receipt {
                    true => Receipt::New,
                    false => Receipt::Kept,
                },
            },
            case: after,
        })
    }

    /// The number of the notice, which the case has from now on.
    fn place(&self, after: &mut Case, agency: &AgencyId) -> Result<u64, Refusal> {
        let length = self.recipient.chars().count();
        if length > LONGEST_RECIPIENT {
            return unfit(
                "recipient",
                format_args!("has {length} characters, more than {LONGEST_RECIPIENT}"),
            );
        }
        let is_blank = names::text::visible(&self.recipient).trim().is_empty();
        if is_blank && (self.again.is_none() || !self.recipient.is_empty()) {
            return unfit(
                "recipient",
                "is required for another side: who it is, such as `holder of the account`",
            );
        }
        let notices = &mut after.course.notices;
        let Some(number) = self.again else {
            if self.new_receipt {
                return unfit(
                    "new_receipt",
                    "is for the side of an earlier notice: another side gets one anyway",
                );
            }
            if notices.len() >= MOST {
                return unfit(
                    "notice_number",
                    format_args!("is required: {MOST} notices were given, and no more can be"),
                );
            }
            let number = notices.last().map_or(1, |last| last.number + 1);
            notices.push(Notice {
                number,
                recipient: String::new(),
                of_decision: false,
                proposal: 0,
                times: 0,
                agency: agency.clone(),
                means: self.means,
                time: Time(0),
                respond_by: Time(0),
                said: None,
                statements: 0,
            });
            return Ok(number);
        };
        match notices.iter().any(|notice| notice.number == number) {
            true => Ok(number),
            false => unfit(
                "notice_number",
                format_args!("is {number}, and the case has no such notice"),
            ),
        }
    }
}

impl Rules<'_> {
    /// Until when the affected side may state its view, by the calendar of the agency that asks it.
    fn statement_by(&self, owner: &AgencyId, means: NoticeMeans, given: Time) -> Time {
        let after = |since: Time, value: u32, unit: Unit| {
            // Of the rule, only the length counts.
            let rule = ClockRule {
                kind: ClockKind::Review,
                value,
                unit,
            };
            let due = calendar::due(instant(since), rule, self.worktime(owner));
            Time(due.at.as_microsecond())
        };
        let served = match means {
            NoticeMeans::Announcement => after(given, ANNOUNCED, Unit::CalendarDays),
            _ => given,
        };
        after(served, STATEMENT, Unit::WorkingDays)
    }

    /// The duty with the time for a review from now on; nobody who has notice already has less of it.
    fn review_again(&self, case: &Case, duty: &Duty, means: NoticeMeans) -> Duty {
        let days = match means {
            NoticeMeans::Announcement => REVIEW.value + ANNOUNCED,
            _ => REVIEW.value,
        };
        let rule = ClockRule { value: days, ..REVIEW };
        let again = self.clock(&duty.owner, rule, case.generation + 1);
        match again.due >= duty.clock.due {
            true => Duty {
                clock: again,
                ..duty.clone()
            },
            false => duty.clone(),
        }
    }

    /// Refuses to decide what the affected side has had no say in.
    pub(super) fn heard(&self, case: &Case, proposed: &Disposition) -> Result<(), Refusal> {
        let mut had_notice = false;
        let notices = case.course.notices.iter();
        for notice in notices.filter(|notice| !notice.of_decision && case.is_current(notice)) {
            had_notice = true;
            if notice.unanswered().is_some() {
                let description = format!(
                    "the statement on notice {} is not answered: answer it first",
                    notice.number
                );
                return barred(case, description);
            }
            // Holidays may have been published since it was told until when.
            let until = self
                .statement_by(&notice.agency, notice.means, notice.time)
                .max(notice.respond_by);
            if notice.said.is_none() && self.now < until {
                let description = format!(
                    "whoever had notice {} may state its view until {until}: wait for that",
                    notice.number
                );
                return barred(case, description);
            }
        }
        match had_notice || !HEARD.contains(&proposed.what.kind()) {
            true => Ok(()),
            false => barred(
                case,
                "whoever a penalty burdens has notice of it before it is decided, and a say: give notice first",
            ),
        }
    }
}

impl Case {
    /// A notice.
    #[must_use]
    pub fn notice(&self, number: u64) -> Option<&Notice> {
        self.course.notices.iter().find(|notice| notice.number == number)
    }

    /// Whether a notice told of the disposition as it stands: of the proposal that is in review, or
    /// of the decision.
    #[must_use]
    pub fn is_current(&self, notice: &Notice) -> bool {
        let decided = self
            .disposition
            .as_ref()
            .map(|disposition| disposition.decided.is_some());
        notice.proposal == self.course.proposals && decided == Some(notice.of_decision)
    }

    /// Since when the oldest statement waits for an answer, before which nothing is decided.
    pub(super) fn unanswered_since(&self) -> Option<Time> {
        let notices = self.course.notices.iter().filter(|notice| self.is_current(notice));
        notices.filter_map(|notice| Some(notice.unanswered()?.time)).min()
    }

    /// Since when somebody is to have notice of a disposition and has none.
    pub(super) fn to_notify_since(&self) -> Option<Time> {
        let disposition = self.disposition.as_ref()?;
        let kind = disposition.what.kind();
        let nobody_knows = !self.course.notices.iter().any(|notice| self.is_current(notice));
        match &disposition.decided {
            None => (HEARD.contains(&kind) && nobody_knows).then_some(disposition.propose_time),
            Some(decided) => {
                let burdens = disposition.what.effects().any(|effect| BURDENS.contains(&effect));
                let is_told = burdens && nobody_knows && kind != DispositionKind::SuspectedCrime;
                (is_told || self.leaves_untold()).then_some(decided.time)
            }
        }
    }

    /// Whether it is decided, and a side that had notice of what was intended has none of the
    /// decision.
    pub(super) fn leaves_untold(&self) -> bool {
        let Some(disposition) = self
            .disposition
            .as_ref()
            .filter(|disposition| disposition.decided.is_some())
        else {
            return false;
        };
        let is_secret = disposition.what.kind() == DispositionKind::SuspectedCrime;
        !is_secret && self.course.notices.iter().any(|notice| !self.is_current(notice))
    }
}
