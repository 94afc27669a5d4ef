//! Between rows and what they stand for.

use std::str::FromStr;

use api::routing::Explanation;
use journal::{Head, Time};
use prost::Message as _;
use sql::{Error, Kind, Row, Value};
use uuid::Uuid;

use super::StoredCase;
use crate::{
    calendar::{ClockKind, ClockRule, Clocks, Unit},
    directory::AgencyId,
    state::{Case, Clock, Duty, Matter, State},
};

/// Columns of [`stored`], from `cases` and `case_states`.
macro_rules! stored_columns {
    () => {
        concat!("id, category, urgent, cases.open_time, ", rows::standing_columns!())
    };
}
pub(super) use stored_columns;

/// Columns of [`standing`], from `case_states`.
macro_rules! standing_columns {
    () => {
        "state, owner, supporting, clock_kind, clock_generation, clock_due, clock_provisional, sequence, hash, change_time"
    };
}
pub(super) use standing_columns;

/// A case without its reports and its explanation.
pub(super) fn stored(row: &Row) -> Result<StoredCase, Error> {
    let (case, head) = standing(row, 4)?;
    Ok(StoredCase {
        id: uuid(row, 0)?,
        category: row.get(1)?,
        urgent: row.get::<i64>(2)? != 0,
        open_time: Time(row.get(3)?),
        explanation: None,
        case,
        head,
        reports: Vec::new(),
    })
}

/// A case without its reports, where the explanation is the column after [`stored_columns`].
pub(super) fn explained(row: &Row) -> Result<StoredCase, Error> {
    Ok(StoredCase {
        explanation: Some(explanation(row, 14)?),
        ..stored(row)?
    })
}

pub(super) fn explanation(row: &Row, column: usize) -> Result<Explanation, Error> {
    let bytes: Vec<u8> = row.get(column)?;
    Explanation::decode(bytes.as_slice()).map_err(|error| damaged("explanation", error))
}

/// Where a case stands, from ten columns in the order of the table.
pub(super) fn standing(row: &Row, from: usize) -> Result<(Case, Head), Error> {
    let state: String = row.get(from)?;
    let state = State::from_name(&state).ok_or_else(|| damaged("case state", state))?;
    let owner: Option<String> = row.get(from + 1)?;
    let duty = owner.map(|owner| duty(row, &owner, from + 3)).transpose()?;
    if state.is_open() != duty.is_some() {
        return Err(damaged(
            "case",
            "it is open without an owner, or has an owner though it ended",
        ));
    }
    let head = Head {
        sequence: row.count(from + 7, "sequence")?,
        hash: row.array(from + 8, "hash")?,
        time: Time(row.get(from + 9)?),
    };
    let supporting = agencies(&row.get::<String>(from + 2)?)?;
    Ok((
        Case {
            state,
            duty,
            supporting,
        },
        head,
    ))
}

fn duty(row: &Row, owner: &str, from: usize) -> Result<Duty, Error> {
    let kind: String = row.get(from)?;
    Ok(Duty {
        owner: agency(owner)?,
        clock: Clock {
            kind: ClockKind::from_name(&kind).ok_or_else(|| damaged("clock kind", kind))?,
            generation: row.count(from + 1, "clock generation")?,
            due: Time(row.get(from + 2)?),
            provisional: row.get::<i64>(from + 3)? != 0,
        },
    })
}

/// The row of a case in `case_states`.
pub(super) fn state_row(id: Uuid, case: &Case, head: &Head) -> [Value; 11] {
    let clock = case.duty.as_ref().map(|duty| &duty.clock);
    let int = |value: Option<i64>| value.map_or(Value::Null(Kind::Int), Value::Int);
    [
        id.to_string().into(),
        case.state.name().into(),
        Value::text_or_null(case.duty.as_ref().map(|duty| duty.owner.as_str())),
        agencies_text(&case.supporting).into(),
        Value::text_or_null(clock.map(|clock| clock.kind.as_str())),
        int(clock.map(|clock| clock.generation.cast_signed())),
        int(clock.map(|clock| clock.due.0)),
        int(clock.map(|clock| i64::from(clock.provisional))),
        head.sequence.cast_signed().into(),
        head.hash.into(),
        head.time.0.into(),
    ]
}

/// What never changes of a case, from four columns in the order of the table.
pub(super) fn matter(row: &Row, from: usize) -> Result<Matter, Error> {
    let excluded = agencies(&row.get::<String>(from)?)?.into_iter().collect();
    let last_resort = agencies(&row.get::<String>(from + 1)?)?;
    let acknowledge: Option<String> = row.get(from + 2)?;
    let result: Option<String> = row.get(from + 3)?;
    let clocks = match (acknowledge, result) {
        (Some(acknowledge), Some(result)) => Some(Clocks {
            acknowledge: clock_rule(ClockKind::Acknowledge, &acknowledge)?,
            result: clock_rule(ClockKind::Result, &result)?,
        }),
        _ => None,
    };
    Ok(Matter {
        excluded,
        last_resort,
        clocks,
    })
}

/// A clock's rule as `24 hours`.
pub(super) fn clock_text(rule: ClockRule) -> String {
    format!("{} {}", rule.value, rule.unit.as_str())
}

fn clock_rule(kind: ClockKind, text: &str) -> Result<ClockRule, Error> {
    text.split_once(' ')
        .and_then(|(value, unit)| {
            Some(ClockRule {
                kind,
                value: u32::from_str(value).ok()?,
                unit: Unit::from_name(unit)?,
            })
        })
        .ok_or_else(|| damaged("clock rule", text))
}

/// Ids between spaces, which none of them has.
pub(super) fn agencies_text<'a>(agencies: impl IntoIterator<Item = &'a AgencyId>) -> String {
    agencies.into_iter().map(AgencyId::as_str).collect::<Vec<_>>().join(" ")
}

fn agencies(text: &str) -> Result<Vec<AgencyId>, Error> {
    text.split(' ').filter(|id| !id.is_empty()).map(agency).collect()
}

pub(super) fn agency(text: &str) -> Result<AgencyId, Error> {
    AgencyId::new(text).map_err(|error| damaged("agency id", error))
}

pub(super) fn uuid(row: &Row, column: usize) -> Result<Uuid, Error> {
    Uuid::parse_str(&row.get::<String>(column)?).map_err(|error| damaged("id", error))
}

pub(super) fn damaged(what: &'static str, problem: impl std::fmt::Display) -> Error {
    Error::Damaged {
        what,
        problem: problem.to_string(),
    }
}
