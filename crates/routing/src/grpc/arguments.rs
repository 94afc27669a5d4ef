//! What the fields of requests mean, or their violations.

use api::{
    event::{AssistanceAnswer, Disposition, DispositionEffect, DispositionKind, HandOverReason},
    routing::{CaseNote, ClockNeed, assign_case_request::Assignee as WireAssignee},
};
use decision::{
    directory::AgencyId,
    rules::{self, Span},
};
use journal::Time;
use rpc::{Officer, Violation};
use uuid::Uuid;

use crate::case::{Answer, Assignee, Reason};

/// Maximum characters of what an officer writes.
pub(crate) const LONGEST_NOTE: usize = 2_000;

/// Maximum characters of a legal basis.
const LONGEST_BASIS: usize = 200;

/// Maximum number of effects.
const MOST_EFFECTS: usize = 16;
/// A choice that is set. Its name in the error is one of those that the server knows.
pub(super) fn known<E>(
    field: &'static str,
    choice: E,
    unset: E,
    name: fn(&E) -> &'static str,
) -> Result<E, Vec<Violation>>
where
    E: TryFrom<i32> + PartialEq + Copy,
{
    if choice != unset {
        return Ok(choice);
    }
    let known: Vec<_> = (1..=2)
        .filter_map(|number| E::try_from(number).ok())
        .map(|known| name(&known))
        .collect();
    let description = format!(
        "must be set to one that this server knows, such as {}",
        known.join(" or ")
    );
    Err(vec![Violation::new(field, description)])
}

/// The number of a notice.
pub(super) fn notice(field: &'static str, number: i64) -> Result<u64, Vec<Violation>> {
    let positive = u64::try_from(number).ok().filter(|number| *number != 0);
    positive.ok_or_else(|| {
        let description = "must be the number of a notice, from 1, as the case shows it";
        vec![Violation::new(field, description)]
    })
}

/// A time that was read, if there is one.
pub(super) fn until(field: &'static str, time: Option<Option<Time>>) -> Result<Option<Time>, Vec<Violation>> {
    let out_of_range = || vec![Violation::new(field, "is not a time between the years 1 and 9999")];
    time.map(|time| time.ok_or_else(out_of_range)).transpose()
}

/// A length of time, if there is one.
pub(super) fn term(field: &'static str, term: Option<&ClockNeed>) -> Result<Option<Span>, Vec<Violation>> {
    let Some(term) = term else { return Ok(None) };
    match rules::span(term) {
        Some(span) => Ok(Some(span)),
        None => {
            let description = "must have a unit that this server knows, and a value from 1 to a year in hours";
            Err(vec![Violation::new(field, description)])
        }
    }
}

/// What an officer wrote in these fields of a request, each with its name.
pub(super) fn noted(written: &[(&'static str, &str)], officer: Option<&Officer>) -> Result<CaseNote, Vec<Violation>> {
    let too_long = |(field, text): &(&'static str, &str)| within(field, text, LONGEST_NOTE).err();
    let violations: Vec<_> = written.iter().filter_map(too_long).collect();
    if !violations.is_empty() {
        return Err(violations);
    }
    let mut note = CaseNote::default();
    for (field, text) in written {
        let place = match *field {
            "reporter_text" | "question" => &mut note.reporter_text,
            "subject_text" => &mut note.subject_text,
            _ => &mut note.text,
        };
        (*text).clone_into(place);
    }
    if note != CaseNote::default() {
        note.officer = officer.map(|officer| officer.as_str().to_owned()).unwrap_or_default();
    }
    Ok(note)
}

/// Checks that an officer wrote something.
pub(crate) fn written(field: &'static str, text: &str) -> Result<(), Vec<Violation>> {
    match names::text::visible(text).trim().is_empty() {
        true => Err(vec![Violation::new(field, "is required")]),
        false => Ok(()),
    }
}

/// Checks a text's length.
pub(crate) fn within(field: &'static str, text: &str, longest: usize) -> Result<(), Violation> {
    match text.chars().count() {
        length if length > longest => {
            let description = format!("has {length} characters, more than {longest}");
            Err(Violation::new(field, description))
        }
        _ => Ok(()),
    }
}

/// The name of the officer who acts.
pub(super) fn acting(officer: Option<&Officer>) -> Result<String, Vec<Violation>> {
    let name = officer.map(|officer| officer.as_str().to_owned());
    name.ok_or_else(|| {
        let description = "is required: an officer answers for a disposition; send the name or pseudonym as metadata";
        vec![Violation::new("remit-officer-bin", description)]
    })
}

/// The name of the officer who assigns a case.
pub(crate) fn assigning(officer: Option<&Officer>) -> Result<String, Vec<Violation>> {
    let name = officer.map(|officer| officer.as_str().to_owned());
    name.ok_or_else(|| {
        let description = "is required: a person assigns a case, and takes it; send the name or pseudonym as metadata";
        vec![Violation::new("remit-officer-bin", description)]
    })
}

/// An officer who is named in a field, in canonical form.
pub(crate) fn named(field: &'static str, name: &str) -> Result<String, Vec<Violation>> {
    match Officer::new(name) {
        Ok(officer) => Ok(officer.as_str().to_owned()),
        Err(invalid) => Err(vec![Violation::new(field, invalid.to_string())]),
    }
}

/// Who is to have a case.
pub(super) fn assignee(assignee: Option<&WireAssignee>) -> Result<Assignee, Vec<Violation>> {
    match assignee {
        Some(WireAssignee::Officer(name)) => named("officer", name).map(Assignee::Officer),
        Some(WireAssignee::ActingOfficer(true)) => Ok(Assignee::Acting),
        Some(WireAssignee::Pool(true)) => Ok(Assignee::Pool),
        Some(WireAssignee::ActingOfficer(false) | WireAssignee::Pool(false)) | None => {
            let description = "is required: set `officer`, or set `acting_officer` or `pool` to true";
            Err(vec![Violation::new("assignee", description)])
        }
    }
}

/// A disposition that is complete, or its violations.
pub(super) fn disposition(what: Option<&Disposition>) -> Result<Disposition, Vec<Violation>> {
    let what = what.cloned().unwrap_or_default();
    let kind = known(
        "disposition.kind",
        what.kind(),
        DispositionKind::Unspecified,
        DispositionKind::as_str_name,
    );
    let mut violations = kind.err().unwrap_or_default();
    if what.effects.is_empty() {
        let description = "is required; `DISPOSITION_EFFECT_NONE` if nothing changes";
        violations.push(Violation::new("disposition.effects", description));
    }
    if what.effects.len() > MOST_EFFECTS {
        let description = format!("has {} effects, more than {MOST_EFFECTS}", what.effects.len());
        violations.push(Violation::new("disposition.effects", description));
    }
    for (index, effect) in what.effects.iter().enumerate().take(MOST_EFFECTS) {
        if DispositionEffect::try_from(*effect).is_ok_and(|effect| effect != DispositionEffect::Unspecified) {
            continue;
        }
        let field = format!("disposition.effects[{index}]");
        violations.push(Violation::new(field, "is not one that this server knows"));
    }
    violations.extend(
        written("disposition.legal_basis", &what.legal_basis)
            .err()
            .unwrap_or_default(),
    );
    violations.extend(within("disposition.legal_basis", &what.legal_basis, LONGEST_BASIS).err());
    match violations.is_empty() {
        true => Ok(what),
        false => Err(violations),
    }
}

pub(super) fn agency(field: &'static str, name: &str) -> Result<AgencyId, Vec<Violation>> {
    AgencyId::from_resource_name(name).map_err(|_| {
        let description = "must be the name of an agency, such as `agencies/{id}`";
        vec![Violation::new(field, description)]
    })
}

pub(super) fn category(field: &'static str, name: &str) -> Result<String, Vec<Violation>> {
    let id = names::Collection::CATEGORIES.id(name);
    id.map(ToOwned::to_owned).ok_or_else(|| {
        let description = "must be the name of a category, such as `categories/{id}`";
        vec![Violation::new(field, description)]
    })
}

pub(super) fn report(field: &'static str, name: &str) -> Result<Uuid, Vec<Violation>> {
    names::REPORT.id(name).ok_or_else(|| {
        let description = "must be the name of a report, such as `reports/{id}`";
        vec![Violation::new(field, description)]
    })
}

pub(super) fn reason(reason: HandOverReason) -> Result<Reason, Vec<Violation>> {
    Reason::from_proto(reason).ok_or_else(|| {
        let known: Vec<_> = Reason::ALL.iter().map(|known| known.to_proto().as_str_name()).collect();
        let description = format!("must be one that this server knows: {}", known.join(", "));
        vec![Violation::new("reason", description)]
    })
}

/// The agency that is to lead, and why, or both violations.
pub(super) fn receiver(name: &str, why: HandOverReason) -> Result<(AgencyId, Reason), Vec<Violation>> {
    both(agency("agency", name), reason(why))
}

/// Two arguments, or the violations of both.
pub(super) fn both<A, B>(
    first: Result<A, Vec<Violation>>,
    second: Result<B, Vec<Violation>>,
) -> Result<(A, B), Vec<Violation>> {
    match (first, second) {
        (Ok(first), Ok(second)) => Ok((first, second)),
        (first, second) => Err([first.err(), second.err()].into_iter().flatten().flatten().collect()),
    }
}

pub(super) fn answer(field: &'static str, answer: AssistanceAnswer) -> Result<Answer, Vec<Violation>> {
    match answer {
        AssistanceAnswer::Provided => Ok(Answer::Provided),
        AssistanceAnswer::Unable => Ok(Answer::Unable),
        AssistanceAnswer::Unspecified => {
            let description = "must be one that this server knows: PROVIDED or UNABLE";
            Err(vec![Violation::new(field, description)])
        }
    }
}
