//! Conversion from and to rows.

use api::event::{PauseGround, StatementKind};
use api::routing::Referral as StoredReferral;
use api::routing::case_course::Given as CourseGiven;
use api::routing::{
    CaseAssignment, CaseAssignmentCount, CaseCourse, CaseDisposition, CaseMatter, CaseNotice, ClockPause, ClockPauses,
    Explanation,
};
use decision::{
    calendar::{ClockKind, ClockRule, Unit},
    directory::AgencyId,
    rules::Terms,
};
use journal::{Head, Time};
use prost::Message as _;
use sql::{Error, Kind, Row, Value};
use uuid::Uuid;

use super::Opening;
use crate::case::{
    Assigned, Assignment, Case, Clock, Course, Decided, Disposition, Duty, Given, Ledger, Matter, Notice, Origin, Part,
    Pause, Paused, Question, Referral, Stage, Standing, State, Statement, Supporter,
};

/// Columns of [`stored`], from `cases` and `case_states`.
macro_rules! stored_columns {
    () => {
        concat!(
            "id, category, urgent, cases.open_time AS open_time, ",
            rows::state_columns!()
        )
    };
}
pub(super) use stored_columns;

/// Columns of [`state`], from `case_states`.
macro_rules! state_columns {
    () => {
        "state, origin, former_owner, course, disposition, generation, sequence, hash, change_time"
    };
}
pub(super) use state_columns;

/// A row of `case_states`.
pub(super) struct StateRow {
    pub(super) state: State,
    pub(super) origin: Option<Origin>,
    pub(super) course: Course,
    pub(super) disposition: Option<Disposition>,
    pub(super) generation: u64,
    pub(super) head: Head,
}

/// A row of [`stored_columns`]: a case without the parts that have tables of their own.
pub(super) struct CaseRow {
    pub(super) id: Uuid,
    pub(super) category: String,
    pub(super) urgent: bool,
    pub(super) open_time: Time,
    pub(super) state: StateRow,
    pub(super) opening: Option<Opening>,
}

/// A case without its opening, for lists.
pub(super) fn stored(row: &Row) -> Result<CaseRow, Error> {
    Ok(CaseRow {
        id: uuid(row, "id")?,
        category: row.get("category")?,
        urgent: row.get::<i64>("urgent")? != 0,
        open_time: Time(row.get("open_time")?),
        state: state(row)?,
        opening: None,
    })
}

/// A case with its opening: from [`stored_columns`], `explanation` and `matter`.
pub(super) fn stored_with_opening(row: &Row) -> Result<CaseRow, Error> {
    let stored = stored(row)?;
    let mut opening = opening(row)?;
    opening.matter.category.clone_from(&stored.category);
    Ok(CaseRow {
        opening: Some(opening),
        ..stored
    })
}

/// From the columns `explanation` and `matter`.
pub(super) fn opening(row: &Row) -> Result<Opening, Error> {
    let explanation: Vec<u8> = row.get("explanation")?;
    Ok(Opening {
        explanation: Explanation::decode(explanation.as_slice()).map_err(|error| damaged("explanation", error))?,
        matter: matter(row)?,
    })
}

/// From the column `matter`.
pub(super) fn matter(row: &Row) -> Result<Matter, Error> {
    let matter: Vec<u8> = row.get("matter")?;
    matter_from(&matter)
}

/// From [`state_columns`].
pub(super) fn state(row: &Row) -> Result<StateRow, Error> {
    let state: String = row.get("state")?;
    let origin: Option<String> = row.get("origin")?;
    let former: Option<String> = row.get("former_owner")?;
    let former = former.as_deref().map(agency).transpose()?;
    let origin = origin
        .map(|name| Origin::from_parts(&name, former).ok_or_else(|| damaged("origin of a lead", name)))
        .transpose()?;
    Ok(StateRow {
        state: State::from_name(&state).ok_or_else(|| damaged("case state", state))?,
        origin,
        course: course(row)?,
        disposition: disposition(row)?,
        generation: row.count("generation", "generation")?,
        head: head(row)?,
    })
}

/// From the columns `sequence`, `hash` and `change_time`.
pub(super) fn head(row: &Row) -> Result<Head, Error> {
    Ok(Head {
        sequence: row.count("sequence", "sequence")?,
        hash: row.array("hash", "hash")?,
        time: Time(row.get("change_time")?),
    })
}

impl StateRow {
    /// The case with these parties and clocks.
    pub(super) fn with(self, parties: Vec<PartyRow>, mut clocks: Vec<Clock>) -> Result<Case, Error> {
        let (mut owner, mut giver, mut supervisor) = (None, None, None);
        let mut supporting = Vec::with_capacity(parties.len());
        for party in parties {
            match party.part {
                Part::Supporting | Part::Informed => supporting.push(party.supporter),
                Part::Giving => giver = Some(party.supporter.agency),
                Part::Supervising => {
                    supporting.extend(party.supports.then(|| party.supporter.clone()));
                    supervisor = Some(party.supporter.agency);
                }
                // Known by the disposition.
                Part::Deciding => {}
                _ => owner = Some((party.supporter.agency, party.part)),
            }
        }
        let standing = match (self.state, owner, self.origin) {
            (State::Ended(end), None, None) => Standing::Ended(end),
            (State::Open(stage), Some((owner, part)), Some(origin))
                if (stage == Stage::AwaitingDesignation) == (part == Part::Designating) =>
            {
                let duty = clocks.iter().position(|clock| clock.kind().is_of_the_duty());
                let duty = duty.ok_or_else(|| damaged("case", "it is open, but its owner has no clock"))?;
                let clock = clocks.remove(duty);
                Standing::Open(stage, Duty { owner, origin, clock })
            }
            _ => return Err(damaged("case", "its state contradicts its parties")),
        };
        Ok(Case {
            standing,
            supporting,
            clocks,
            giver,
            supervisor,
            course: self.course,
            disposition: self.disposition,
            generation: self.generation,
        })
    }
}

/// The row of a case in `case_states`.
pub(super) fn state_row(id: Uuid, case: &Case, head: &Head) -> [Value; 10] {
    let origin = case.duty().map(|duty| duty.origin.parts());
    [
        id.into(),
        Value::Word(case.state().name()),
        origin.map_or(Value::Null(Kind::Text), |(name, _)| Value::Word(name)),
        Value::text_or_null(origin.and_then(|(_, former)| former).map(AgencyId::as_str)),
        course_bytes(&case.course).into(),
        case.disposition
            .as_ref()
            .map_or(Value::Null(Kind::Bytes), |disposition| {
                disposition_bytes(disposition).into()
            }),
        case.generation.cast_signed().into(),
        head.sequence.cast_signed().into(),
        head.hash.into(),
        head.time.0.into(),
    ]
}

/// A row of `case_parties`.
#[derive(Clone, Debug)]
pub(super) struct PartyRow {
    pub(super) part: Part,
    /// Whether it also supports, beside a part that says more.
    pub(super) supports: bool,
    /// The agency, as a supporting one if it is.
    pub(super) supporter: Supporter,
}

/// The rows of a case in `case_parties`.
pub(super) fn party_rows(id: Uuid, case: &Case, open_time: Time) -> impl Iterator<Item = [Value; 7]> {
    let id = Value::from(id);
    let by_request = |agency: &AgencyId| case.supporting.iter().any(|of| of.agency == *agency && of.by_request);
    (0_i64..).zip(case.parties()).map(move |(place, (agency, part))| {
        [
            id.clone(),
            agency.as_str().into(),
            Value::Word(part.name()),
            by_request(agency).into(),
            case.is_supported_by(agency).into(),
            place.into(),
            open_time.0.into(),
        ]
    })
}

/// The row of a clock in `case_clocks`.
pub(super) fn clock_row(id: Uuid, clock: &Clock) -> [Value; 17] {
    let Ledger {
        used,
        since,
        paused,
        pauses,
    } = &clock.ledger;
    let pauses = ClockPauses {
        pauses: pauses
            .iter()
            .map(|pause| ClockPause {
                start_time: Some(pause.start.to_proto()),
                end_time: Some(pause.end.to_proto()),
                ground: pause.ground.into(),
            })
            .collect(),
    };
    [
        id.into(),
        Value::Word(clock.kind().as_str()),
        clock.owner.as_str().into(),
        clock.generation.cast_signed().into(),
        Value::Word(clock.rule.unit.as_str()),
        i64::from(clock.rule.value).into(),
        (*used).into(),
        since.0.into(),
        paused.map_or(Value::Null(Kind::Int), |paused| Value::Int(paused.until.0)),
        paused.map_or(Value::Null(Kind::Int), |paused| {
            i64::from(i32::from(paused.ground)).into()
        }),
        pauses.encode_to_vec().into(),
        clock.due.0.into(),
        clock.provisional.into(),
        clock.is_term.into(),
        clock.reminded.into(),
        clock
            .remind
            .map_or(Value::Null(Kind::Int), |remind| Value::Int(remind.0)),
        clock.next().0.into(),
    ]
}

/// A clock, from the columns of `case_clocks`.
pub(super) fn clock(row: &Row) -> Result<Clock, Error> {
    let kind: String = row.get("kind")?;
    let unit: String = row.get("unit")?;
    let value: i64 = row.get("budget")?;
    let pauses: Vec<u8> = row.get("pauses")?;
    let pauses = ClockPauses::decode(pauses.as_slice()).map_err(|error| damaged("pauses of a clock", error))?;
    let time = |time: Option<Time>| time.ok_or_else(|| damaged("pause of a clock", "a time is missing"));
    Ok(Clock {
        rule: ClockRule {
            kind: ClockKind::from_name(&kind).ok_or_else(|| damaged("clock kind", kind))?,
            value: u32::try_from(value).map_err(|error| damaged("budget of a clock", error))?,
            unit: Unit::from_name(&unit).ok_or_else(|| damaged("unit of a clock", unit))?,
        },
        owner: agency(&row.get::<String>("owner")?)?,
        generation: row.count("generation", "clock generation")?,
        ledger: Ledger {
            used: row.get("used")?,
            since: Time(row.get("since")?),
            paused: match row.get::<Option<i64>>("paused_until")? {
                Some(until) => Some(Paused {
                    ground: ground(row.get::<Option<i64>>("pause_ground")?)?,
                    until: Time(until),
                }),
                None => None,
            },
            pauses: pauses
                .pauses
                .into_iter()
                .map(|pause| {
                    Ok(Pause {
                        start: time(pause.start_time.as_ref().and_then(Time::from_proto))?,
                        end: time(pause.end_time.as_ref().and_then(Time::from_proto))?,
                        ground: ground(Some(pause.ground.into()))?,
                    })
                })
                .collect::<Result<_, Error>>()?,
        },
        due: Time(row.get("due")?),
        provisional: row.get::<i64>("provisional")? != 0,
        is_term: row.get::<i64>("is_term")? != 0,
        reminded: row.get::<i64>("reminded")? != 0,
        remind: row.get::<Option<i64>>("remind")?.map(Time),
    })
}

/// A ground as stored: its number in the contract.
fn ground(number: Option<i64>) -> Result<PauseGround, Error> {
    let known = number.and_then(|number| i32::try_from(number).ok()?.try_into().ok());
    known
        .filter(|ground| *ground != PauseGround::Unspecified)
        .ok_or_else(|| damaged("ground of a pause", format_args!("{number:?}")))
}

/// The matter of a case, as stored. It changes only with the category that the case is filed under.
pub(super) fn matter_bytes(matter: &Matter) -> Vec<u8> {
    let names = |agencies: &mut dyn Iterator<Item = &AgencyId>| agencies.map(AgencyId::resource_name).collect();
    CaseMatter {
        terms: matter.terms.as_ref().map(Terms::to_proto),
        excluded: names(&mut matter.excluded.iter()),
        last_resort: names(&mut matter.last_resort.iter()),
    }
    .encode_to_vec()
}

fn matter_from(bytes: &[u8]) -> Result<Matter, Error> {
    let matter = CaseMatter::decode(bytes).map_err(|error| damaged("matter of a case", error))?;
    Ok(Matter {
        excluded: agencies(&matter.excluded)?.into_iter().collect(),
        last_resort: agencies(&matter.last_resort)?,
        terms: matter
            .terms
            .map(|terms| Terms::from_proto(&terms).ok_or_else(|| damaged("terms of a case", "one is missing")))
            .transpose()?,
        // In a column of its own.
        category: String::new(),
    })
}

/// The way of a case, as stored.
fn course_bytes(course: &Course) -> Vec<u8> {
    let names = |agencies: &[AgencyId]| agencies.iter().map(AgencyId::resource_name).collect();
    let optional = |agency: Option<&AgencyId>| agency.map(AgencyId::resource_name).unwrap_or_default();
    CaseCourse {
        led: names(&course.led),
        designated: names(&course.designated),
        final_lead: optional(course.final_lead.as_ref()),
        given: course.given.as_ref().map(|given| match given {
            Given::ByPeer(peer) => CourseGiven::ByPeer(peer.resource_name()),
            Given::BySuperior => CourseGiven::BySuperior(true),
            Given::ByClaim => CourseGiven::ByClaim(true),
        }),
        result_used_count: course.result_used,
        reviewed: names(&course.reviewed),
        claimant: optional(course.claimant.as_ref()),
        question: course.question.as_ref().map(crate::view::question),
        question_count: course.questions.cast_signed(),
        withdrawal_requested: course.withdrawal_requested,
        proposal_count: course.proposals.cast_signed(),
        notices: course.notices.iter().map(crate::view::case_notice).collect(),
        referral: course.referral.as_ref().map(crate::view::referral),
        former_categories: course
            .former_categories
            .iter()
            .map(|id| names::Collection::CATEGORIES.of(id))
            .collect(),
        assignments: course.assignments.iter().map(crate::view::assignment).collect(),
        assignment_counts: course
            .assigned
            .iter()
            .map(|counted| CaseAssignmentCount {
                agency: counted.agency.resource_name(),
                since_time: Some(counted.since.to_proto()),
                assign_count: counted.count.cast_signed(),
            })
            .collect(),
    }
    .encode_to_vec()
}

/// From the column `course`.
fn course(row: &Row) -> Result<Course, Error> {
    let bytes: Vec<u8> = row.get("course")?;
    let course = CaseCourse::decode(bytes.as_slice()).map_err(|error| damaged("course of a case", error))?;
    Ok(Course {
        led: agencies(&course.led)?,
        designated: agencies(&course.designated)?,
        final_lead: optional_agency(&course.final_lead)?,
        given: match &course.given {
            None => None,
            Some(CourseGiven::ByPeer(peer)) => Some(Given::ByPeer(named_agency(peer)?)),
            Some(CourseGiven::BySuperior(_)) => Some(Given::BySuperior),
            Some(CourseGiven::ByClaim(_)) => Some(Given::ByClaim),
        },
        result_used: course.result_used_count,
        reviewed: agencies(&course.reviewed)?,
        claimant: optional_agency(&course.claimant)?,
        question: course.question.map(question).transpose()?,
        questions: u64::try_from(course.question_count).map_err(|error| damaged("number of questions", error))?,
        withdrawal_requested: course.withdrawal_requested,
        proposals: u64::try_from(course.proposal_count).map_err(|error| damaged("number of proposals", error))?,
        notices: course.notices.into_iter().map(notice).collect::<Result<_, _>>()?,
        referral: course.referral.as_ref().map(referral).transpose()?,
        former_categories: course
            .former_categories
            .iter()
            .map(category)
            .collect::<Result<_, _>>()?,
        assignments: course
            .assignments
            .into_iter()
            .map(assignment)
            .collect::<Result<_, _>>()?,
        assigned: course
            .assignment_counts
            .iter()
            .map(assigned)
            .collect::<Result<_, _>>()?,
    })
}

fn assigned(stored: &CaseAssignmentCount) -> Result<Assigned, Error> {
    let since = stored.since_time.as_ref().and_then(Time::from_proto);
    Ok(Assigned {
        agency: named_agency(&stored.agency)?,
        since: since.ok_or_else(|| damaged("number of assignments", "its time is missing"))?,
        count: u64::try_from(stored.assign_count).map_err(|error| damaged("number of assignments", error))?,
    })
}

fn referral(stored: &StoredReferral) -> Result<Referral, Error> {
    let time = stored.refer_time.as_ref().and_then(Time::from_proto);
    Ok(Referral {
        to: named_agency(&stored.agency)?,
        time: time.ok_or_else(|| damaged("referral", "its time is missing"))?,
        taken: stored.take_time.as_ref().and_then(Time::from_proto),
    })
}

fn category(name: &String) -> Result<String, Error> {
    let id = names::Collection::CATEGORIES.id(name);
    id.map(ToOwned::to_owned).ok_or_else(|| damaged("category", name))
}

/// A notice to the affected side, as stored.
fn notice(stored: CaseNotice) -> Result<Notice, Error> {
    let number = |number: i64| u64::try_from(number).map_err(|error| damaged("notice to the affected side", error));
    let time = |time: Option<Time>| time.ok_or_else(|| damaged("notice to the affected side", "a time is missing"));
    let said = match stored.statement() {
        StatementKind::Unspecified => None,
        kind => Some(Statement {
            kind,
            time: time(stored.statement_time.as_ref().and_then(Time::from_proto))?,
            answered: stored.answered,
        }),
    };
    Ok(Notice {
        number: number(stored.notice_number)?,
        of_decision: stored.of_decision,
        time: time(stored.notify_time.as_ref().and_then(Time::from_proto))?,
        respond_by: time(stored.respond_by_time.as_ref().and_then(Time::from_proto))?,
        said,
        statements: number(stored.statement_count)?,
        proposal: number(stored.proposal_number)?,
        times: number(stored.notify_count)?,
        agency: named_agency(&stored.agency)?,
        means: stored.means(),
        recipient: stored.recipient,
    })
}

/// To whom an agency has assigned a case, as stored.
fn assignment(stored: CaseAssignment) -> Result<Assignment, Error> {
    let time = stored.assign_time.as_ref().and_then(Time::from_proto);
    Ok(Assignment {
        agency: named_agency(&stored.agency)?,
        time: time.ok_or_else(|| damaged("assignment of a case", "its time is missing"))?,
        officer: stored.officer,
        by: stored.assigner,
    })
}

/// The open question, as stored.
fn question(stored: api::intake::Question) -> Result<Question, Error> {
    let time = |time: Option<Time>| time.ok_or_else(|| damaged("question to a reporter", "a time is missing"));
    Ok(Question {
        number: u64::try_from(stored.question_number).map_err(|error| damaged("number of a question", error))?,
        text: stored.text,
        asked: time(stored.ask_time.as_ref().and_then(Time::from_proto))?,
        answer_by: time(stored.answer_by_time.as_ref().and_then(Time::from_proto))?,
    })
}

/// A disposition, as stored.
fn disposition_bytes(disposition: &Disposition) -> Vec<u8> {
    crate::view::disposition(disposition).encode_to_vec()
}

/// From the column `disposition`.
fn disposition(row: &Row) -> Result<Option<Disposition>, Error> {
    let Some(bytes) = row.get::<Option<Vec<u8>>>("disposition")? else {
        return Ok(None);
    };
    let stored = CaseDisposition::decode(bytes.as_slice()).map_err(|error| damaged("disposition of a case", error))?;
    let missing = || damaged("disposition of a case", "a part of it is missing");
    let decided = stored.decide_time.as_ref().map(|time| {
        Ok::<_, Error>(Decided {
            time: Time::from_proto(time).ok_or_else(missing)?,
            reviewer: Some(stored.reviewer.clone()).filter(|reviewer| !reviewer.is_empty()),
        })
    });
    let propose_time = stored.propose_time.as_ref().and_then(Time::from_proto);
    Ok(Some(Disposition {
        what: stored.disposition.ok_or_else(missing)?,
        by: named_agency(&stored.agency)?,
        holder: named_agency(&stored.holder)?,
        note: stored.note.unwrap_or_default(),
        propose_time: propose_time.ok_or_else(missing)?,
        decided: decided.transpose()?,
    }))
}

/// The id in a resource name; `None` if that is empty.
fn optional_agency(name: &str) -> Result<Option<AgencyId>, Error> {
    (!name.is_empty()).then(|| named_agency(name)).transpose()
}

/// The ids in resource names.
fn agencies(names: &[String]) -> Result<Vec<AgencyId>, Error> {
    names.iter().map(|name| named_agency(name)).collect()
}

/// The id in a resource name.
fn named_agency(name: &str) -> Result<AgencyId, Error> {
    AgencyId::from_resource_name(name).map_err(|error| damaged("agency", error))
}

pub(super) fn agency(text: &str) -> Result<AgencyId, Error> {
    AgencyId::new(text).map_err(|error| damaged("agency id", error))
}

pub(super) fn uuid(row: &Row, column: &str) -> Result<Uuid, Error> {
    Uuid::parse_str(&row.get::<String>(column)?).map_err(|error| damaged("id", error))
}

pub(super) fn damaged(what: &'static str, problem: impl std::fmt::Display) -> Error {
    Error::Damaged {
        what,
        problem: problem.to_string(),
    }
}
