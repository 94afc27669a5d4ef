//! The detail of a change, as auditors and agencies read it in the log.
//!
//! Every field of the contract's message is named below, so that a new one cannot be left out: it
//! does not compile.

use api::event::{
    Actor, AssistanceAnswer, Clock, Deputyship, Detail, Disposition, Incident, OperatorRegister, Reading,
    ReferralAnswer, Route, VersionDifference,
};
use data_encoding::HEXLOWER;

use super::{
    case::{self, decision},
    duty, factor_in_words, id, indented_field, notice, reason, tell, time, tr,
};

/// Columns before a field, and of its name.
const INDENT: usize = 6;
const LABEL: usize = 12;

/// A field; nothing for an empty value.
pub fn field(name: &str, value: &str) -> std::io::Result<()> {
    match value.is_empty() {
        true => Ok(()),
        false => indented_field(INDENT, LABEL, name, value),
    }
}

/// Everything that a change says, a line each.
pub fn detail(detail: &Detail) -> std::io::Result<()> {
    let Detail {
        from_state,
        to_state,
        actor,
        purpose,
        content_commitment,
        route,
        clocks,
        version_digest,
        operator_register,
        missed_clock,
        assistant,
        assistance_answer: _,
        reason: _,
        better_agency,
        disposition,
        reopen_reason: _,
        review_requester: _,
        claimant,
        urgent_measure: _,
        incident,
        reading,
        read_record,
        caused_by,
        recused_agency,
        told_by,
        question_number,
        pause_ground: _,
        supervisor,
        reminded_clock,
        shared_with,
        link_commitment,
        notice_number,
        notice_means: _,
        statement: _,
        statement_answer: _,
        from_category,
        to_category,
        assigned_case,
        assignee_commitment,
        receiving_agency,
        referral_answer: _,
        deputyship,
        supervised_agency,
        correct_by_time,
        version_difference,
    } = detail;
    match (from_state.as_str(), to_state.as_str()) {
        ("", to) => field("state", to)?,
        (from, to) => field("state", &format!("{from} → {to}"))?,
    }
    by(actor.as_ref())?;
    field("purpose", purpose)?;
    routed(route.as_ref())?;
    if let Some(Disposition {
        kind: _,
        effects: _,
        legal_basis,
    }) = disposition
    {
        let disposition = disposition.clone().unwrap_or_default();
        let effects: Vec<_> = disposition.effects().map(decision::effect).collect();
        field("outcome", decision::kind(disposition.kind()))?;
        field("effect", &effects.join("; "))?;
        field("legal basis", legal_basis)?;
    }
    field("assistant", id(assistant))?;
    field("proposed", id(better_agency))?;
    field("claimant", id(claimant))?;
    field("steps aside", id(recused_agency))?;
    field("supervisor", id(supervisor))?;
    field("shared with", id(shared_with))?;
    field("receiver", id(receiving_agency))?;
    field("supervises", id(supervised_agency))?;
    if correct_by_time.is_some() {
        field("correct by", &time(correct_by_time.as_ref()))?;
    }
    deputised(deputyship.as_ref())?;
    differs(version_difference.as_ref())?;
    field("filed under", id(from_category))?;
    field("now under", id(to_category))?;
    enumerated(detail)?;
    field("question", &number(*question_number))?;
    field("notice", &number(*notice_number))?;
    if let Some(clock) = missed_clock {
        let said = tell(
            "{0} had to {1} by {2}",
            &[&id(&clock.owner), &duty(clock.kind()), &due(clock)],
        );
        field("missed", &said)?;
    }
    if let Some(clock) = reminded_clock {
        let said = tell(
            "{0} has to {1} by {2}",
            &[&id(&clock.owner), &duty(clock.kind()), &due(clock)],
        );
        field("reminded", &said)?;
    }
    for clock in clocks {
        let said = tell(
            "{0} must {1} by {2}",
            &[&id(&clock.owner), &duty(clock.kind()), &due(clock)],
        );
        field("clock", &said)?;
    }
    register(operator_register.as_ref())?;
    field("told by", told_by)?;
    field("case", assigned_case)?;
    field("read", read_record)?;
    read(reading.as_ref())?;
    happened(incident.as_ref())?;
    field("content", &HEXLOWER.encode(content_commitment))?;
    field("version", &HEXLOWER.encode(version_digest))?;
    field("link", &HEXLOWER.encode(link_commitment))?;
    field("assignee", &HEXLOWER.encode(assignee_commitment))?;
    match caused_by.is_empty() {
        true => Ok(()),
        false => field("caused by", &tell("event {0}", &[caused_by])),
    }
}

fn by(actor: Option<&Actor>) -> std::io::Result<()> {
    let Some(Actor {
        agency,
        system,
        officer_commitment,
    }) = actor
    else {
        return Ok(());
    };
    field("by", [id(agency), system].join(" ").trim())?;
    field("officer", &HEXLOWER.encode(officer_commitment))
}

fn routed(route: Option<&Route>) -> std::io::Result<()> {
    let Some(route) = route else { return Ok(()) };
    let Route {
        facts_digest,
        rule_set_digest,
        directory_digest,
        row,
        factor: _,
        lead,
        supporting,
    } = route;
    field("lead", id(lead))?;
    let supporting: Vec<_> = supporting.iter().map(|agency| id(agency)).collect();
    field("support", &supporting.join(", "))?;
    let because = match (row.as_str(), factor_in_words(route.factor())) {
        ("", _) => String::new(),
        (row, "") => tell("row {0} of the rule set", &[&row]),
        (row, factor) => tell("row {0} of the rule set, by the {1}", &[&row, &factor]),
    };
    field("because", &because)?;
    field("facts", &HEXLOWER.encode(facts_digest))?;
    field("rules", &HEXLOWER.encode(rule_set_digest))?;
    field("directory", &HEXLOWER.encode(directory_digest))
}

/// What stands for one of a closed list.
fn enumerated(detail: &Detail) -> std::io::Result<()> {
    if detail.reason != 0 {
        field("reason", reason(detail.reason()))?;
    }
    if detail.reopen_reason != 0 {
        field("reason", decision::reopened(detail.reopen_reason()))?;
    }
    if detail.review_requester != 0 {
        field("asked by", decision::requester(detail.review_requester()))?;
    }
    if detail.urgent_measure != 0 {
        field("measure", decision::measure(detail.urgent_measure()))?;
    }
    if detail.pause_ground != 0 {
        field("paused for", case::ground(detail.pause_ground()))?;
    }
    if detail.notice_means != 0 {
        field("means", notice::means(detail.notice_means()))?;
    }
    if detail.statement != 0 {
        field("statement", notice::statement(detail.statement()))?;
    }
    if detail.statement_answer != 0 {
        field("answer", notice::answer(detail.statement_answer()))?;
    }
    match detail.assistance_answer() {
        AssistanceAnswer::Unspecified => {}
        AssistanceAnswer::Provided => field("answer", tr("assisted"))?,
        AssistanceAnswer::Unable => field("answer", tr("cannot assist"))?,
    }
    match detail.referral_answer() {
        ReferralAnswer::Unspecified => Ok(()),
        ReferralAnswer::Taken => field("answer", tr("took the crime")),
        ReferralAnswer::Refused => field("answer", tr("refused the crime")),
    }
}

/// When a clock is due; why it stands still, if it does.
fn due(clock: &Clock) -> String {
    let due = time(clock.due_time.as_ref());
    match clock.pause_ground {
        0 => due,
        _ => tell("{0} ({1})", &[&due, &case::ground(clock.pause_ground())]),
    }
}

fn number(number: i64) -> String {
    match number {
        0 => String::new(),
        number => number.to_string(),
    }
}

fn register(register: Option<&OperatorRegister>) -> std::io::Result<()> {
    let Some(OperatorRegister {
        version,
        replaced,
        entry_count,
        added_count,
        changed_count,
        removed_count,
    }) = register
    else {
        return Ok(());
    };
    field("register", &tell("version {0}, {1} entries", &[version, entry_count]))?;
    let difference = tell(
        "{0} added, {1} changed, {2} removed",
        &[added_count, changed_count, removed_count],
    );
    field("difference", &difference)?;
    match replaced {
        true => field("", tr("the file was the whole register")),
        false => Ok(()),
    }
}

fn deputised(deputyship: Option<&Deputyship>) -> std::io::Result<()> {
    let Some(Deputyship {
        officer_commitment,
        deputy_commitment,
        begin_time,
        end_time,
    }) = deputyship
    else {
        return Ok(());
    };
    field("for officer", &HEXLOWER.encode(officer_commitment))?;
    field("deputy", &HEXLOWER.encode(deputy_commitment))?;
    if begin_time.is_some() {
        field("from", &time(begin_time.as_ref()))?;
    }
    match end_time {
        None => Ok(()),
        Some(_) => field("until", &time(end_time.as_ref())),
    }
}

fn differs(difference: Option<&VersionDifference>) -> std::io::Result<()> {
    let Some(VersionDifference {
        difference_count,
        lines,
    }) = difference
    else {
        return Ok(());
    };
    field("differences", &difference_count.to_string())?;
    lines.iter().try_for_each(|line| field("", line))
}

/// What of the log was read.
fn read(reading: Option<&Reading>) -> std::io::Result<()> {
    let Some(Reading {
        first_index,
        end_index,
        record,
        kind,
        agency,
        actor,
        start_time,
        end_time,
    }) = reading
    else {
        return Ok(());
    };
    let range = match end_index {
        Some(end) => tell("{0} to {1}", &[first_index, &end.saturating_sub(1)]),
        None => tell("from {0} on, as they arrived", &[first_index]),
    };
    field("entries", &range)?;
    field("record", record)?;
    field("kind", kind)?;
    field("agency", id(agency))?;
    field("system", actor)?;
    if start_time.is_some() {
        field("from", &time(start_time.as_ref()))?;
    }
    match end_time {
        None => Ok(()),
        Some(_) => field("until", &time(end_time.as_ref())),
    }
}

fn happened(incident: Option<&Incident>) -> std::io::Result<()> {
    let Some(Incident {
        producer,
        event_id,
        record,
        sequence,
        entry_hash,
        held_count,
        committed_count,
    }) = incident
    else {
        return Ok(());
    };
    field("producer", id(producer))?;
    field("record", record)?;
    field("event", event_id)?;
    field("entry", &HEXLOWER.encode(entry_hash))?;
    field("sequence", &number(*sequence))?;
    field("held", &number(*held_count))?;
    field("committed", &number(*committed_count))
}
