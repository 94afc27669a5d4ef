//! Views of a case: for agencies by the contract of routing, for intake by that of intake.

mod notice;

use std::collections::BTreeSet;

use api::{
    event,
    google::r#type::LocalizedText,
    intake::{Advice, CaseChange, Outcome, PreviewedPart, PreviewedParty, Question, RoutePreview},
    routing::{self, CaseDisposition, CaseSight, CaseStep, HandOverPreview, LeadOrigin, case_sight},
};
use data_encoding::HEXLOWER;
use decision::{
    calendar::ClockKind,
    decide::{self, Decision, Destination},
    directory::{AgencyId, Directory},
    rules::Terms,
};
use journal::{Change, Head, Time};
pub use notice::{notice, refused, standing};
use prost::Message;
use uuid::Uuid;

use crate::{
    case::{self, Assignment, Case, Clock, Disposition, Matter, Party, Sight},
    store::{AgencySupervision, Links, RefusedDelivery, StoredCase, Undelivered, name, report_name},
};

/// The etag of a case, which differs after every change.
pub fn etag(head: &Head) -> String {
    format!("{}-{}", head.sequence, HEXLOWER.encode(&head.hash[..8]))
}

/// The number of changes at the time of an etag.
fn sequence(etag: &str) -> Option<usize> {
    etag.split_once('-')?.0.parse().ok()
}

/// A case with its opening, if that was read. Exclusions are shown only to parts that see them.
pub fn case(stored: &StoredCase, viewer: &Party, directory: &Directory) -> routing::Case {
    if !case::sees(&stored.case, viewer, directory, Sight::Case) {
        return overview(stored, directory);
    }
    let opening = stored.opening.as_ref();
    let reads_notes = case::sees(&stored.case, viewer, directory, Sight::Notes);
    let explanation = opening.map(|opening| opening.explanation.clone());
    routing::Case {
        explanation: match case::sees(&stored.case, viewer, directory, Sight::Exclusions) {
            true => explanation,
            false => explanation.map(decide::without_excluded),
        },
        terms: opening
            .and_then(|opening| opening.matter.terms.as_ref())
            .map(Terms::to_proto),
        history: history(stored, reads_notes),
        disposition: stored.case.disposition.as_ref().map(|decided| match reads_notes {
            true => disposition(decided),
            false => without_notes(disposition(decided)),
        }),
        question: stored.case.course.question.as_ref().map(|open| match reads_notes {
            true => question(open),
            false => without_text(question(open)),
        }),
        notices: match reads_notes {
            true => stored
                .case
                .course
                .notices
                .iter()
                .map(|notice| shown_notice(&stored.case, notice))
                .collect(),
            false => Vec::new(),
        },
        ..listed(stored, viewer, directory)
    }
}

/// Maximum bytes of notes that are shown with a case: an answer fits the usual limit of clients.
const MOST_SHOWN: usize = 2 << 20;

/// What happened to a case. Notes are for those who read them; of a long history, the newest.
fn history(stored: &StoredCase, reads_notes: bool) -> Vec<CaseStep> {
    let mut shown = 0;
    let mut steps: Vec<CaseStep> = stored.history.iter().rev().cloned().collect();
    for step in &mut steps {
        shown += step.note.as_ref().map_or(0, Message::encoded_len);
        step.note.take_if(|_| !reads_notes || shown > MOST_SHOWN);
        if !reads_notes {
            step.split_report.clear();
        }
    }
    steps.reverse();
    steps
}

/// An answer as it was given, from what is kept of it. Explanation and terms change with the
/// category only; the history is that of the time, with the notes that the viewer may read now.
pub fn with_details(kept: CaseSight, stored: &StoredCase, viewer: &Party, directory: &Directory) -> CaseSight {
    let now = case(stored, viewer, directory);
    let sight = kept.sight.map(|sight| match sight {
        case_sight::Sight::CurrentCase(then) => {
            // Its opening has no step.
            let steps = sequence(&then.etag).map_or(0, |sequence| sequence.saturating_sub(1));
            case_sight::Sight::CurrentCase(routing::Case {
                explanation: now.explanation.filter(|_| then.category == now.category),
                terms: now.terms.filter(|_| then.category == now.category),
                history: now.history.into_iter().take(steps).collect(),
                disposition: then.disposition.map(|then| noted(then, now.disposition)),
                // As they are now: what was said since is there, too.
                notices: now.notices,
                question: then.question.map(|then| asked(then, now.question)),
                ..then
            })
        }
        lost @ case_sight::Sight::LostCase(_) => lost,
    });
    CaseSight { sight }
}

/// A disposition with its notes, if it is still the same.
fn noted(then: CaseDisposition, now: Option<CaseDisposition>) -> CaseDisposition {
    match now.filter(|now| now.propose_time == then.propose_time) {
        Some(now) => CaseDisposition {
            note: now.note,
            reviewer: then.decide_time.map(|_| now.reviewer).unwrap_or_default(),
            ..then
        },
        None => then,
    }
}

/// A question with its text, if it is still the same.
fn asked(then: Question, now: Option<Question>) -> Question {
    now.filter(|now| now.question_number == then.question_number)
        .unwrap_or(then)
}

/// What is kept of an answer, for repetitions of the request: the case as in lists.
pub fn without_details(sight: CaseSight) -> CaseSight {
    let sight = sight.sight.map(|sight| match sight {
        case_sight::Sight::CurrentCase(case) => case_sight::Sight::CurrentCase(routing::Case {
            explanation: None,
            terms: None,
            history: Vec::new(),
            disposition: case.disposition.map(without_notes),
            question: case.question.map(without_text),
            notices: Vec::new(),
            ..case
        }),
        lost @ case_sight::Sight::LostCase(_) => lost,
    });
    CaseSight { sight }
}

/// A disposition with all that was written.
pub fn disposition(disposition: &Disposition) -> CaseDisposition {
    let decided = disposition.decided.as_ref();
    CaseDisposition {
        disposition: Some(disposition.what.clone()),
        agency: disposition.by.resource_name(),
        holder: disposition.holder.resource_name(),
        propose_time: Some(disposition.propose_time.to_proto()),
        decide_time: decided.map(|decided| decided.time.to_proto()),
        note: Some(disposition.note.clone()),
        reviewer: decided.and_then(|decided| decided.reviewer.clone()).unwrap_or_default(),
    }
}

fn without_notes(disposition: CaseDisposition) -> CaseDisposition {
    CaseDisposition {
        note: None,
        reviewer: String::new(),
        ..disposition
    }
}

/// A case after a change, or its name alone if the viewer no longer sees it.
pub fn sight(stored: &StoredCase, viewer: &Party, directory: &Directory) -> CaseSight {
    match case::sees(&stored.case, viewer, directory, Sight::Case) {
        true => CaseSight {
            sight: Some(case_sight::Sight::CurrentCase(case(stored, viewer, directory))),
        },
        false => lost(stored.id),
    }
}

/// The name of a case that the viewer no longer sees.
pub fn lost(case: Uuid) -> CaseSight {
    CaseSight {
        sight: Some(case_sight::Sight::LostCase(name(case))),
    }
}

/// What a superior sees of a case below it: name, category, state, owner, and until when that has
/// to act. Each field by itself, so that a new one of a case or a clock is not shown unless it is
/// added here. Whatever else a clock has (that it is paused, how long it is) tells of the report or
/// of what happened to the case; so do etag and the time of the last change.
pub fn overview(stored: &StoredCase, directory: &Directory) -> routing::Case {
    let (lead, lead_titles) = owner(&stored.case, directory);
    let duty = stored.case.duty().map(|duty| clock(&duty.clock));
    routing::Case {
        name: name(stored.id),
        state: stored.case.state().to_proto().into(),
        category: names::Collection::CATEGORIES.of(&stored.category),
        lead,
        lead_titles,
        clocks: duty
            .map(|clock| event::Clock {
                kind: clock.kind,
                owner: clock.owner,
                due_time: clock.due_time,
                ..event::Clock::default()
            })
            .into_iter()
            .collect(),
        ..routing::Case::default()
    }
}

/// A case without its opening, for lists. Without a part that sees it, its [`overview`].
pub fn outline(stored: &StoredCase, viewer: &Party, directory: &Directory) -> routing::Case {
    match case::sees(&stored.case, viewer, directory, Sight::Case) {
        true => listed(stored, viewer, directory),
        false => overview(stored, directory),
    }
}

fn listed(stored: &StoredCase, viewer: &Party, directory: &Directory) -> routing::Case {
    let (lead, lead_titles) = owner(&stored.case, directory);
    let giver = stored.case.parties().find(|(_, part)| *part == case::Part::Giving);
    let giver = giver.map(|(agency, _)| agency);
    routing::Case {
        name: name(stored.id),
        state: stored.case.state().to_proto().into(),
        reports: stored.reports.iter().copied().map(report_name).collect(),
        category: names::Collection::CATEGORIES.of(&stored.category),
        lead,
        lead_titles,
        supporting: stored.case.supporting().map(AgencyId::resource_name).collect(),
        clocks: stored.case.all_clocks().map(clock).collect(),
        explanation: None,
        open_time: Some(stored.open_time.to_proto()),
        update_time: Some(stored.head.time.to_proto()),
        etag: etag(&stored.head),
        urgent: stored.urgent,
        lead_origin: stored.case.duty().map(|duty| LeadOrigin {
            how: duty.origin.how().into(),
            former_agency: duty.origin.parts().1.map(AgencyId::resource_name).unwrap_or_default(),
        }),
        terms: None,
        history: Vec::new(),
        giver: giver.map(AgencyId::resource_name).unwrap_or_default(),
        supervisor: stored
            .case
            .supervisor
            .as_ref()
            .map(AgencyId::resource_name)
            .unwrap_or_default(),
        disposition: stored.case.disposition.as_ref().map(disposition).map(without_notes),
        claimant: stored
            .case
            .course
            .claimant
            .as_ref()
            .map(AgencyId::resource_name)
            .unwrap_or_default(),
        question: stored.case.course.question.as_ref().map(question).map(without_text),
        withdrawal_requested: stored.case.course.withdrawal_requested,
        joined_cases: Vec::new(),
        main_case: String::new(),
        prior_case: String::new(),
        notices: Vec::new(),
        // Each agency's own.
        assignment: viewer
            .agency()
            .and_then(|agency| stored.case.assignment_at(agency))
            .map(assignment),
        referral: stored.case.course.referral.as_ref().map(referral),
    }
}

/// A suspected crime that was handed over.
pub fn referral(referral: &case::Referral) -> routing::Referral {
    routing::Referral {
        agency: referral.to.resource_name(),
        refer_time: Some(referral.time.to_proto()),
        take_time: referral.taken.map(Time::to_proto),
    }
}

/// A case with its links to others, as far as its viewer sees those.
pub fn linked(case: routing::Case, links: &Links) -> routing::Case {
    let optional = |id: Option<Uuid>| id.map(name).unwrap_or_default();
    routing::Case {
        joined_cases: links.joined.iter().copied().map(name).collect(),
        main_case: optional(links.main),
        prior_case: optional(links.prior),
        ..case
    }
}

/// A notice to the affected side, as those see it who read what officers write.
fn shown_notice(case: &Case, notice: &case::Notice) -> routing::CaseNotice {
    let shown = case_notice(notice);
    match case.duty().filter(|_| notice.of_decision && case.is_current(notice)) {
        // The time for a review may have begun anew since.
        Some(duty) => routing::CaseNotice {
            respond_by_time: Some(duty.clock.due.to_proto()),
            ..shown
        },
        None => shown,
    }
}

/// A notice to the affected side, as it is stored.
pub fn case_notice(notice: &case::Notice) -> routing::CaseNotice {
    let said = notice.said.as_ref();
    routing::CaseNotice {
        notice_number: notice.number.cast_signed(),
        recipient: notice.recipient.clone(),
        of_decision: notice.of_decision,
        notify_time: Some(notice.time.to_proto()),
        respond_by_time: Some(notice.respond_by.to_proto()),
        statement: said.map_or(0, |said| said.kind.into()),
        statement_time: said.map(|said| said.time.to_proto()),
        answered: said.is_some_and(|said| said.answered),
        statement_count: notice.statements.cast_signed(),
        proposal_number: notice.proposal.cast_signed(),
        notify_count: notice.times.cast_signed(),
        agency: notice.agency.resource_name(),
        means: notice.means.into(),
    }
}

/// To whom an agency has assigned a case.
pub fn assignment(assigned: &Assignment) -> routing::CaseAssignment {
    routing::CaseAssignment {
        officer: assigned.officer.clone(),
        assigner: assigned.by.clone(),
        assign_time: Some(assigned.time.to_proto()),
        agency: assigned.agency.resource_name(),
    }
}

/// An officer who acts in another's stead.
pub(crate) fn deputy(deputy: &case::Deputy) -> routing::Deputy {
    routing::Deputy {
        name: names::DEPUTY.of(deputy.id),
        officer: deputy.officer.clone(),
        deputy: deputy.deputy.clone(),
        begin_time: Some(deputy.begin.to_proto()),
        end_time: Some(deputy.end.to_proto()),
        appointer: deputy.appointer.clone(),
        appoint_time: Some(deputy.time.to_proto()),
    }
}

/// An agency under supervision.
pub(crate) fn agency_supervision(of: &AgencySupervision) -> routing::AgencySupervision {
    let (corrected, end_note) = of.end.as_ref().map_or((false, String::new()), |(corrected, note, _)| {
        (*corrected, note.clone())
    });
    routing::AgencySupervision {
        name: names::SUPERVISION.of(of.id),
        agency: of.agency.resource_name(),
        supervisor: of.supervisor.resource_name(),
        demand: of.demand.clone(),
        correct_by_time: Some(of.correct_by.to_proto()),
        supervise_time: Some(of.time.to_proto()),
        answer: of.answer.as_ref().map(|(answer, _)| answer.clone()).unwrap_or_default(),
        answer_time: of.answer.as_ref().map(|(_, time)| time.to_proto()),
        corrected,
        end_note,
        end_time: of.end.as_ref().map(|(.., time)| time.to_proto()),
    }
}

/// What an agency has not read.
pub(crate) fn undelivered(undelivered: &Undelivered) -> routing::Undelivered {
    routing::Undelivered {
        agency: undelivered.agency.resource_name(),
        unread_case: name(undelivered.case),
        change_time: Some(undelivered.time.to_proto()),
    }
}

/// A change that another service refuses.
pub(crate) fn refused_delivery(refused: RefusedDelivery) -> routing::RefusedDelivery {
    routing::RefusedDelivery {
        consumer: refused.consumer,
        refused_case: refused.case,
        refuse_time: Some(refused.since.to_proto()),
        description: refused.reason,
    }
}

/// The open question to the reporter.
pub fn question(question: &case::Question) -> Question {
    Question {
        question_number: question.number.cast_signed(),
        text: question.text.clone(),
        ask_time: Some(question.asked.to_proto()),
        answer_by_time: Some(question.answer_by.to_proto()),
    }
}

fn without_text(mut question: Question) -> Question {
    question.text.clear();
    question
}

/// A running clock.
pub fn clock(clock: &Clock) -> event::Clock {
    event::Clock {
        kind: match clock.kind() {
            ClockKind::Acknowledge => event::ClockKind::Acknowledge,
            ClockKind::Result => event::ClockKind::Result,
            ClockKind::Designate => event::ClockKind::Designate,
            ClockKind::Assist => event::ClockKind::Assist,
            ClockKind::Review => event::ClockKind::Review,
            ClockKind::Claim => event::ClockKind::Claim,
            ClockKind::Refer => event::ClockKind::Refer,
            ClockKind::Receive => event::ClockKind::Receive,
        }
        .into(),
        generation: clock.generation.cast_signed(),
        owner: clock.owner.resource_name(),
        due_time: Some(clock.due.to_proto()),
        budget_count: i32::try_from(clock.rule.value).unwrap_or(i32::MAX),
        unit: clock.rule.unit.to_proto().into(),
        provisional: clock.provisional,
        pause_ground: clock.ledger.paused.map_or(0, |paused| paused.ground.into()),
        remind_time: clock.remind.map(Time::to_proto),
    }
}

/// A change for intake: how the case stands after it, and which agencies must not see it. Until an
/// agency leads, the case is shown with the one that must designate.
pub fn case_change(change: &Change, case: &Case, matter: &Matter, directory: &Directory) -> CaseChange {
    let (lead, lead_titles) = owner(case, directory);
    CaseChange {
        change: Some(change.without_detail()),
        lead,
        lead_titles,
        acknowledged: case.state().is_acknowledged(),
        state: case.state().to_proto().into(),
        hidden_from: hidden_from(matter, directory),
        outcome: case.disposition.as_ref().and_then(outcome),
        due_time: case.duty().map(|duty| duty.clock.due.to_proto()),
        question: case.course.question.as_ref().map(question),
        ..CaseChange::default()
    }
}

/// What the reporter may be told of a disposition, once it is decided.
fn outcome(disposition: &Disposition) -> Option<Outcome> {
    let decided = disposition.decided.as_ref()?;
    Some(Outcome {
        kind: disposition.what.kind,
        effects: disposition.what.effects.clone(),
        text: disposition.note.reporter_text.clone(),
        decide_time: Some(decided.time.to_proto()),
        agency: disposition.by.resource_name(),
        // Intake has the words.
        ..Outcome::default()
    })
}

/// Who would have which part in a case that is not opened, and see what the report says.
pub fn preview(case: &Case, advice: Option<Advice>, directory: &Directory) -> RoutePreview {
    let party = |(id, part): (&AgencyId, case::Part)| {
        let agency = directory.agency(id);
        PreviewedParty {
            agency: id.resource_name(),
            agency_titles: agency
                .map(|agency| api::bilingual(&agency.title_zh, &agency.title_en))
                .unwrap_or_default(),
            part: match part {
                case::Part::Lead => PreviewedPart::Lead,
                case::Part::Designating => PreviewedPart::Designating,
                _ => PreviewedPart::Supporting,
            }
            .into(),
            sees_content: part.sees().contains(&Sight::Content),
        }
    };
    RoutePreview {
        parties: case.parties().map(party).collect(),
        advice,
        withheld: false,
    }
}

/// What handing a case on would do.
pub fn hand_over(before: &Case, after: &Case, directory: &Directory) -> HandOverPreview {
    let (lead, lead_titles) = owner(after, directory);
    let seeing = |case: &Case, sight: Sight| -> Vec<String> {
        let seeing = case.parties().filter(|(_, part)| part.sees().contains(&sight));
        seeing.map(|(agency, _)| agency.resource_name()).collect()
    };
    let still = seeing(after, Sight::Case);
    let mut losing_sight = seeing(before, Sight::Case);
    losing_sight.retain(|agency| !still.contains(agency));
    HandOverPreview {
        lead,
        lead_titles,
        state: after.state().to_proto().into(),
        clocks: after.all_clocks().map(clock).collect(),
        losing_sight,
        seeing_content: seeing(after, Sight::Content),
        explanation: None,
    }
}

/// The advice of a decision, if it gives one.
pub fn advice(decision: &Decision) -> Option<Advice> {
    match &decision.outcome {
        Destination::Advise { zh, en } => Some(Advice {
            texts: api::bilingual(zh, en),
        }),
        _ => None,
    }
}

/// The route as logged: the digests and results to repeat the decision.
pub fn route(decision: &Decision) -> event::Route {
    let explanation = &decision.explanation;
    let lead = match &decision.outcome {
        Destination::Lead { agency, .. } => agency.resource_name(),
        _ => String::new(),
    };
    event::Route {
        facts_digest: explanation.facts_digest.clone(),
        rule_set_digest: explanation.rule_set_digest.clone(),
        directory_digest: explanation.directory_digest.clone(),
        row: explanation.row.clone(),
        factor: explanation.factor,
        lead,
        supporting: decision
            .supporting
            .iter()
            .map(|(agency, _)| agency.resource_name())
            .collect(),
    }
}

/// Resource name and titles of the owner.
fn owner(case: &Case, directory: &Directory) -> (String, Vec<LocalizedText>) {
    let Some(duty) = case.duty() else {
        return Default::default();
    };
    let agency = directory.agency(&duty.owner);
    (
        duty.owner.resource_name(),
        agency
            .map(|agency| api::bilingual(&agency.title_zh, &agency.title_en))
            .unwrap_or_default(),
    )
}

/// All excluded agencies, with the units under them.
fn hidden_from(matter: &Matter, directory: &Directory) -> Vec<String> {
    if matter.excluded.is_empty() {
        return Vec::new();
    }
    let under = directory
        .agencies()
        .map(|agency| &agency.id)
        .filter(|id| directory.is_excluded(id, &matter.excluded));
    // Including those unknown to the directory: a token may still name one.
    let all: BTreeSet<_> = matter.excluded.iter().chain(under).collect();
    all.into_iter().map(AgencyId::resource_name).collect()
}
