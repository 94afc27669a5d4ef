//! A case in words: as it is, what happened to it, and what a change would make of it.

pub(super) mod decision;

use std::collections::BTreeMap;

use api::{
    event::{Clock, PauseGround},
    routing::{
        Case, CaseStep, CaseTerms, CountWorklistsResponse, HandOverPreview, LeadOrigin, LeadOriginHow,
        ListCasesResponse, ListUndeliveredResponse, WatchCasesResponse, Worklist, case_sight::Sight,
    },
};
use journal::{Clock as _, Kind, SystemClock};

use super::{
    Language, Paint as _, bad, case_state, category, columns, dim, distance, duty, explanation, field, function, id,
    language, line, notice, padded, reason, strong, tell, text, time, tr,
};

/// A case, and why it was routed as it was. `titles` has the names of its supporting agencies, by
/// resource name.
pub fn whole(case: &Case, titles: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let urgent = match case.urgent {
        true => format!(", {}", tr("urgent")),
        false => String::new(),
    };
    line(case.name.style(strong()))?;
    field("state", case_state(case.state()).style(strong()))?;
    field(
        "category",
        format_args!("{}{}", category(&case.category), urgent.style(bad())),
    )?;
    lead(case)?;
    if !case.giver.is_empty() {
        field(
            "given by",
            tell("{0}, who answers until it is taken over", &[&id(&case.giver)]),
        )?;
    }
    for agency in &case.supporting {
        let title = titles.get(agency).map(String::as_str).unwrap_or_default();
        field("supporting", format_args!("{} {}", id(agency), title.style(dim())))?;
    }
    if case.withdrawal_requested {
        field("reporter", tr("asked to withdraw the report"))?;
    }
    if let Some(question) = &case.question {
        let by = time(question.answer_by_time.as_ref());
        field(
            "asked",
            tell("question {0}, to be answered by {1}", &[&question.question_number, &by]),
        )?;
        if !question.text.is_empty() {
            field("", &question.text)?;
        }
    }
    if !case.supervisor.is_empty() {
        field("supervised by", id(&case.supervisor))?;
    }
    if let Some(assigned) = &case.assignment {
        let since = time(assigned.assign_time.as_ref());
        let said = match assigned.assigner == assigned.officer {
            true => tell("{0}, who took it {1}", &[&assigned.officer, &since]),
            false => tell("{0}, by {1} {2}", &[&assigned.officer, &assigned.assigner, &since]),
        };
        field("assigned to", said)?;
    }
    if !case.claimant.is_empty() {
        field("claimed by", id(&case.claimant))?;
    }
    for clock in &case.clocks {
        running(clock)?;
    }
    if let Some(disposition) = &case.disposition {
        decision::print(disposition)?;
    }
    for given in &case.notices {
        notice::in_case(given)?;
    }
    for report in &case.reports {
        field("report", report)?;
    }
    if !case.main_case.is_empty() {
        field("joined to", &case.main_case)?;
    }
    for joined in &case.joined_cases {
        field("joined by", joined)?;
    }
    if !case.prior_case.is_empty() {
        field("follows", &case.prior_case)?;
    }
    // A superior is not told when what is below it was opened or changed.
    if case.open_time.is_some() {
        field("opened", time(case.open_time.as_ref()))?;
    }
    if case.update_time.is_some() {
        field("changed", time(case.update_time.as_ref()))?;
    }
    if !case.etag.is_empty() {
        field("etag", &case.etag)?;
    }
    way(case)
}

/// Prints how a case was routed, and why its owner has it now.
pub fn route(case: &Case) -> anyhow::Result<()> {
    line(case.name.style(strong()))?;
    lead(case)?;
    way(case)
}

fn lead(case: &Case) -> std::io::Result<()> {
    if !case.lead.is_empty() {
        let title = text(&case.lead_titles);
        field("lead", format_args!("{} {}", id(&case.lead), title.style(dim())))?;
    }
    match &case.lead_origin {
        Some(origin) => field("came by", came_by(origin)),
        None => Ok(()),
    }
}

/// What its row lays down, what happened since, and how it was routed.
fn way(case: &Case) -> anyhow::Result<()> {
    terms(case.terms.as_ref())?;
    history(case)?;
    match &case.explanation {
        Some(explanation) => {
            explanation::needs(explanation)?;
            explanation::explanation(explanation)
        }
        None => Ok(()),
    }
}

/// Said of a deadline that may still move.
fn provisional(clock: &Clock) -> &'static str {
    match clock.provisional {
        true => tr("; provisional, until that year's holidays are published"),
        false => "",
    }
}

/// What the row that routed the case lays down for its lead.
fn terms(terms: Option<&CaseTerms>) -> std::io::Result<()> {
    let Some(terms) = terms else { return Ok(()) };
    for (name, clock) in [("takes over", &terms.acknowledge), ("result", &terms.result)] {
        if let Some(clock) = clock {
            field(name, tell("within {0}", &[&super::clock(clock)]))?;
        }
    }
    for pause in &terms.pauses {
        let longest = pause.at_most.as_ref().map(super::clock).unwrap_or_default();
        let said = tell("for {0}, at most {1} in all", &[&ground(pause.ground()), &longest]);
        field("may pause", said)?;
    }
    if let Some(term) = &terms.supervision {
        let said = tell("{0} more under the superior's supervision", &[&super::clock(term)]);
        field("if late", said)?;
    }
    let functions: Vec<_> = terms.supporting_functions.iter().map(|id| function(id)).collect();
    if !functions.is_empty() {
        field("needs", functions.join(", "))?;
    }
    Ok(())
}

/// What happened since the opening, and with it why the present owner has the case.
fn history(case: &Case) -> anyhow::Result<()> {
    if case.history.is_empty() {
        return Ok(());
    }
    line("")?;
    line(tr("What happened since").style(strong()))?;
    for step in &case.history {
        let time = time(step.time.as_ref());
        line(format_args!("{}  {}", time.style(dim()), happened(step)))?;
        if let Some(note) = &step.note {
            decision::note(note)?;
        }
    }
    Ok(())
}

/// One step, in words.
fn happened(step: &CaseStep) -> String {
    let words = match Kind::from_name(&step.kind) {
        Some(kind) => match language() {
            Language::Zh => kind.zh().to_owned(),
            Language::En => kind.en().to_owned(),
        },
        None => step.kind.clone(),
    };
    let mut said = words;
    if let Some(missed) = &step.missed_clock {
        let (owner, duty) = (id(&missed.owner), duty(missed.kind()));
        let due = time(missed.due_time.as_ref());
        said = tell("{0}: {1} had to {2} by {3}", &[&said, &owner, &duty, &due]);
    }
    if let Some(clock) = &step.reminded_clock {
        let (owner, duty) = (id(&clock.owner), duty(clock.kind()));
        let due = time(clock.due_time.as_ref());
        said = tell("{0}: {1} has to {2} by {3}", &[&said, &owner, &duty, &due]);
    }
    if !step.shared_with.is_empty() {
        said = format!("{said}: {}", id(&step.shared_with));
    }
    if !step.split_report.is_empty() {
        said = tell("{0}: {1} is joined no longer", &[&said, &step.split_report]);
    }
    if !step.supervisor.is_empty() {
        said = format!("{said}: {}", id(&step.supervisor));
    }
    if step.pause_ground != 0 {
        said = tell("{0} ({1})", &[&said, &ground(step.pause_ground())]);
    }
    if !step.assistant.is_empty() {
        said = format!("{said}: {}", id(&step.assistant));
    }
    if !step.claimant.is_empty() {
        said = format!("{said}: {}", id(&step.claimant));
    }
    if let Some(disposition) = &step.disposition {
        said = format!("{said}: {}", decision::kind(disposition.kind()));
    }
    if step.review_requester != 0 {
        said = tell("{0} ({1})", &[&said, &decision::requester(step.review_requester())]);
    }
    if step.reopen_reason != 0 {
        said = tell("{0} ({1})", &[&said, &decision::reopened(step.reopen_reason())]);
    }
    if step.question_number != 0 {
        said = tell("{0} (question {1})", &[&said, &step.question_number]);
    }
    if step.notice_number != 0 {
        said = tell("{0} (notice {1})", &[&said, &step.notice_number]);
    }
    for more in [
        (step.notice_means != 0).then(|| notice::means(step.notice_means())),
        (step.statement != 0).then(|| notice::statement(step.statement())),
        (step.statement_answer != 0).then(|| notice::answer(step.statement_answer())),
    ]
    .into_iter()
    .flatten()
    {
        said = format!("{said}: {more}");
    }
    if !step.told_by.is_empty() {
        said = format!("{said}: {}", step.told_by);
    }
    if !step.receiving_agency.is_empty() {
        said = format!("{said}: {}", id(&step.receiving_agency));
    }
    if !step.category.is_empty() {
        said = format!("{said}: {}", id(&step.category));
    }
    if !step.recused_agency.is_empty() {
        said = format!("{said}: {}", id(&step.recused_agency));
    }
    if step.urgent_measure != 0 {
        said = tell("{0} ({1})", &[&said, &decision::measure(step.urgent_measure())]);
    }
    if step.reason != 0 {
        said = tell("{0} ({1})", &[&said, &reason(step.reason())]);
    }
    if !step.better_agency.is_empty() {
        said = tell("{0}; it proposed {1}", &[&said, &id(&step.better_agency)]);
    }
    if !step.former_owner.is_empty() {
        said = tell(
            "{0}; from {1} to {2}",
            &[&said, &id(&step.former_owner), &id(&step.owner)],
        );
    }
    said
}

/// How the lead came to the case.
fn came_by(origin: &LeadOrigin) -> String {
    let former = id(&origin.former_agency);
    match origin.how() {
        LeadOriginHow::Routed => tr("the route").to_owned(),
        LeadOriginHow::Escalated => tell("being handed up: {0} missed its deadline", &[&former]),
        LeadOriginHow::Succeeded => tell("succession: {0} ended", &[&former]),
        LeadOriginHow::Transferred => tell("transfer from {0}", &[&former]),
        LeadOriginHow::Declined => tell("being declined by {0}: it must designate a lead", &[&former]),
        LeadOriginHow::Designated => tell("designation by {0}", &[&former]),
        LeadOriginHow::HandedUp => tell("being handed up by {0}", &[&former]),
        LeadOriginHow::Dispatched => tell("being handed down by {0}", &[&former]),
        LeadOriginHow::Claimed => tell("a claim that {0} agreed to", &[&former]),
        LeadOriginHow::Disputed => tell("a claim that {0} disputed: it must designate a lead", &[&former]),
        LeadOriginHow::Review => tell("a review of what {0} decided", &[&former]),
        LeadOriginHow::Reopened => tr("being opened again").to_owned(),
        LeadOriginHow::Recused => tell("{0} stepping aside: it must designate a lead", &[&former]),
        LeadOriginHow::Reclassified => tell("another category, under which {0} filed it", &[&former]),
        LeadOriginHow::Refused => tell("{0} refusing the crime that it handed over", &[&former]),
        LeadOriginHow::Unspecified => tr("a way that this version does not know").to_owned(),
    }
}

/// Why the time for a result stands still.
pub(super) fn ground(ground: PauseGround) -> &'static str {
    match ground {
        PauseGround::WaitingForReporter => tr("waiting for the reporter"),
        PauseGround::Hearing => tr("a hearing"),
        PauseGround::ExpertOpinion => tr("an expert opinion or a test"),
        PauseGround::Announcement => tr("service by public announcement"),
        PauseGround::OtherProceeding => tr("another proceeding that has not ended"),
        PauseGround::Unspecified => tr("a ground that this version does not know"),
    }
}

/// One running clock.
fn running(clock: &Clock) -> std::io::Result<()> {
    let due = clock.due_time.as_ref();
    if clock.pause_ground != 0 {
        let until = time(due);
        let why = ground(clock.pause_ground());
        let said = tell(
            "paused for {0} until {1} at the latest: {2}",
            &[&id(&clock.owner), &until, &why],
        );
        return field("clock", said);
    }
    field(
        "clock",
        tell(
            "{0} must {1} by {2} ({3}{4})",
            &[
                &id(&clock.owner),
                &duty(clock.kind()),
                &time(due),
                &distance(due, SystemClock.now()),
                &provisional(clock),
            ],
        ),
    )
}

/// What handing a case on would do.
pub fn preview(preview: &HandOverPreview) -> anyhow::Result<()> {
    line(tr("nothing is changed: it would become"))?;
    line("")?;
    field("state", case_state(preview.state()).style(strong()))?;
    let title = text(&preview.lead_titles);
    field("lead", format_args!("{} {}", id(&preview.lead), title.style(dim())))?;
    for clock in &preview.clocks {
        running(clock)?;
    }
    for agency in &preview.seeing_content {
        field("content", tell("{0} sees what its reports say", &[&id(agency)]))?;
    }
    for agency in &preview.losing_sight {
        field("loses sight", id(agency))?;
    }
    if let Some(explanation) = &preview.explanation {
        explanation::explanation(explanation)?;
    }
    Ok(())
}

/// The lead with its name.
fn lead_of(case: &Case) -> String {
    format!("{} {}", id(&case.lead), text(&case.lead_titles))
        .trim_end()
        .to_owned()
}

/// One message of a watch.
pub fn message(message: &WatchCasesResponse) -> std::io::Result<()> {
    let case = match message.sight.clone().and_then(|sight| sight.sight) {
        Some(Sight::CurrentCase(case)) => case,
        lost => {
            let name = match lost {
                Some(Sight::LostCase(name)) => name,
                _ => String::new(),
            };
            // When it was lost is not told: the time of the case is no longer the caller's to see.
            return line(format_args!(
                "{:20}  {:20}  {name}  no longer yours to see",
                "", message.kind
            ));
        }
    };
    // For older messages, the case's state is the current one and may have changed since.
    let time = match message.kind.as_str() {
        "case.opened" => case.open_time.as_ref(),
        _ => case.update_time.as_ref(),
    };
    let time = super::time(time);
    line(format_args!(
        "{time}  {:20}  {}  now {}, {}, led by {}",
        message.kind,
        case.name,
        case_state(case.state()),
        id(&case.category),
        id(&case.lead)
    ))
}

/// The worklists with their counts.
pub fn worklists(answer: &CountWorklistsResponse) -> anyhow::Result<()> {
    for count in &answer.counts {
        let more = if count.more { "+" } else { "" };
        let number = format!("{}{more}", count.case_count);
        line(format_args!("{number:>7}  {}", worklist(count.worklist())))?;
    }
    Ok(())
}

/// Who has not got what, one a line.
pub fn undelivered(answer: &ListUndeliveredResponse) -> anyhow::Result<()> {
    for refused in &answer.refused {
        let since = time(refused.refuse_time.as_ref());
        let said = tell(
            "{0}: {1} does not take it since {2}: {3}",
            &[&refused.refused_case, &refused.consumer, &since, &refused.description],
        );
        line(said.style(bad()))?;
    }
    for of in &answer.undelivered {
        let changed = time(of.change_time.as_ref());
        line(tell(
            "{0}  not read by {1}, changed {2}",
            &[&of.unread_case, &id(&of.agency), &changed],
        ))?;
    }
    if answer.refused.is_empty() && answer.undelivered.is_empty() {
        line(tr("everybody has read everything"))?;
    }
    if !answer.next_page_token.is_empty() {
        line(tr("more exist: raise --limit").style(dim()))?;
    }
    Ok(())
}

/// What a worklist is called.
pub fn worklist(worklist: Worklist) -> &'static str {
    match worklist {
        Worklist::Due => tr("due next"),
        Worklist::Overdue => tr("overdue"),
        Worklist::NotAccepted => tr("not taken over"),
        Worklist::InReview => tr("in review"),
        Worklist::AwaitingDesignation => tr("to designate"),
        Worklist::Claims => tr("claims to answer"),
        Worklist::Assistance => tr("assistance to answer"),
        Worklist::WaitingForReporter => tr("reporter asked"),
        Worklist::Supervised => tr("supervised"),
        Worklist::Statements => tr("statements to answer"),
        Worklist::ToNotify => tr("notice to give"),
        Worklist::Pool => tr("in the pool"),
        Worklist::Assigned => tr("assigned to officers"),
        Worklist::Referrals => tr("suspected crimes to hand over or to answer"),
        Worklist::Unread => tr("not read"),
        Worklist::Unspecified => tr("unknown"),
    }
}

/// A list of cases, one a line.
pub fn list(answer: &ListCasesResponse) -> anyhow::Result<()> {
    if answer.cases.is_empty() {
        line(tr("no cases"))?;
    }
    let now = SystemClock.now();
    let width = |text: fn(&Case) -> String| {
        let widths = answer.cases.iter().map(|case| columns(&text(case)));
        widths.max().unwrap_or(0)
    };
    let (categories, leads) = (width(|case| category(&case.category)), width(lead_of));
    for case in &answer.cases {
        let clock = case
            .clocks
            .first()
            .map(|clock| format!("{} {}", duty(clock.kind()), distance(clock.due_time.as_ref(), now)));
        let urgent = if case.urgent { tr("urgent") } else { "" };
        line(format_args!(
            "{}  {}  {}  {}  {}  {}",
            case.name,
            padded(case_state(case.state()), 20),
            padded(urgent, 6).style(bad()),
            padded(&category(&case.category), categories),
            padded(&lead_of(case), leads),
            clock.unwrap_or_default().style(dim()),
        ))?;
    }
    if !answer.next_page_token.is_empty() {
        line(tr("more cases exist: raise --limit").style(dim()))?;
    }
    Ok(())
}
