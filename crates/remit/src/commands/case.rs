//! `remit case`: list, show and watch cases, take them over, and hand them on.

use std::collections::BTreeMap;

use api::event::{AssistanceAnswer, CaseState, Clock, HandOverReason};
use api::routing::{
    AcknowledgeCaseRequest, AnswerAssistanceRequest, Case, CaseStep, CaseTerms, DeclineCaseRequest,
    DesignateAgencyRequest, DispatchCaseRequest, EscalateCaseRequest, Explanation, FactorTried, GetAgencyRequest,
    GetCaseRequest, HandOverPreview, LeadOrigin, LeadOriginHow, ListCasesRequest, ListCasesResponse, OperatorAnswer,
    RequestAssistanceRequest, ReviewNeed, TransferCaseRequest, WatchCasesRequest, WatchCasesResponse,
    case_service_client::CaseServiceClient, case_sight::Sight, directory_service_client::DirectoryServiceClient,
    operator_match,
};
use clap::{Args, Subcommand, ValueEnum};
use futures::future::join_all;
use host::config::Service;
use journal::{Clock as _, Kind, SystemClock};

use crate::{
    client::{Access, Failed, RoutingServer, Target, pages},
    output::{self, Language, Paint as _, bad, dim, field, id, line, padded, strong, tell, tr},
};

/// List, show and watch cases, take them over, and hand them on
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: RoutingServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// List the cases that an agency leads or supports, newest first; all of them for an operator
    #[command(after_help = "Examples:\n  remit case list\n  remit case list --state assigned --as police-510100")]
    List {
        /// Only cases in this state
        #[arg(long)]
        state: Option<State>,
        /// Maximum number of cases
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Show a case, and why it was routed as it was
    #[command(after_help = "Example:\n  remit case show cases/0d9f… --as police-510100")]
    Show {
        /// Its name, `cases/{id}`
        name: String,
    },
    /// Watch an agency's cases: each change once, as it happens
    #[command(after_help = "\
Examples:
  remit case watch --as police-510100
  remit case watch --as police-510100 --json --limit 10
  remit case watch --as police-510100 --resume TOKEN")]
    Watch {
        /// Resume after the message that came with this token
        #[arg(long, value_name = "TOKEN")]
        resume: Option<String>,
        /// Stop after this many messages
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
    },
    /// Acknowledge a case, as its lead agency
    #[command(after_help = "Example:\n  remit case acknowledge cases/0d9f… --as police-510100")]
    Acknowledge {
        #[command(flatten)]
        change: Change,
    },
    /// Decline a case, as its lead agency: a superior designates another
    #[command(after_help = "\
Examples:
  remit case decline cases/0d9f… --reason place --as police-450100
  remit case decline cases/0d9f… --reason place --better police-450200 --preview --as police-450100")]
    Decline {
        #[command(flatten)]
        change: Change,
        /// Why
        #[arg(long)]
        reason: Reason,
        /// The agency that should lead it, if you know
        #[arg(long, value_name = "AGENCY")]
        better: Option<String>,
        #[command(flatten)]
        preview: Preview,
    },
    /// Transfer a case to another agency with the same function, as its lead agency
    #[command(after_help = "\
Examples:
  remit case transfer cases/0d9f… police-510100 --reason place --preview --as police-450100
  remit case transfer cases/0d9f… police-510100 --reason better-placed --keep-supporting --as police-450100")]
    Transfer {
        #[command(flatten)]
        change: Change,
        /// The agency that is to lead it
        agency: String,
        /// Why
        #[arg(long)]
        reason: Reason,
        /// Stay, as a supporting agency
        #[arg(long)]
        keep_supporting: bool,
        #[command(flatten)]
        preview: Preview,
    },
    /// Hand a case up to your superior, as its lead agency
    #[command(after_help = "Example:\n  remit case escalate cases/0d9f… --reason level --as police-450100")]
    Escalate {
        #[command(flatten)]
        change: Change,
        /// Why
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        preview: Preview,
    },
    /// Hand a case down to a unit under your agency, as its lead agency
    #[command(
        after_help = "Example:\n  remit case dispatch cases/0d9f… police-450200 --reason level --as police-450000"
    )]
    Dispatch {
        #[command(flatten)]
        change: Change,
        /// The unit that is to lead it
        agency: String,
        /// Why
        #[arg(long)]
        reason: Reason,
        #[command(flatten)]
        preview: Preview,
    },
    /// Designate the lead of a case, as the superior that must
    #[command(after_help = "Example:\n  remit case designate cases/0d9f… police-450200 --as police-450000")]
    Designate {
        #[command(flatten)]
        change: Change,
        /// The agency that is to lead it
        agency: String,
        #[command(flatten)]
        preview: Preview,
    },
    /// Ask another agency to assist; only the lead may
    #[command(after_help = "Example:\n  remit case request-assistance cases/0d9f… police-450200 --as police-450100")]
    RequestAssistance {
        #[command(flatten)]
        change: Change,
        /// The agency to ask
        agency: String,
    },
    /// Answer a request to assist; only the agency that was asked may
    #[command(after_help = "Example:\n  remit case answer-assistance cases/0d9f… provided --as police-450200")]
    AnswerAssistance {
        #[command(flatten)]
        change: Change,
        /// The answer
        answer: Answer,
    },
}

/// What every change of a case is told.
#[derive(Args, Clone, Debug)]
struct Change {
    /// The case's name, `cases/{id}`
    name: String,
    /// Only if the case is still as it was shown with this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Request id, a UUID: repeated within 24 hours it has the first answer
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// Whether a change is only to be shown.
#[derive(Args, Clone, Copy, Debug)]
struct Preview {
    /// Only show who would get it, under which clocks, and who would no longer see it
    #[arg(long)]
    preview: bool,
}

/// Why a case is handed on.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Reason {
    /// The place that the rules go by is in another agency's territory
    Place,
    /// The matter is another function's
    Matter,
    /// The matter is for a higher or a lower level
    Level,
    /// Another agency handles the same matter already
    HandledElsewhere,
    /// The agency is in a conflict of interest
    ConflictOfInterest,
    /// Persons, evidence or effects are where another agency can act better
    BetterPlaced,
}

impl From<Reason> for HandOverReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Place => Self::Place,
            Reason::Matter => Self::Matter,
            Reason::Level => Self::Level,
            Reason::HandledElsewhere => Self::HandledElsewhere,
            Reason::ConflictOfInterest => Self::ConflictOfInterest,
            Reason::BetterPlaced => Self::BetterPlaced,
        }
    }
}

/// An answer to a request to assist.
#[derive(ValueEnum, Clone, Copy, Debug)]
enum Answer {
    /// It assisted
    Provided,
    /// It cannot
    Unable,
}

impl From<Answer> for AssistanceAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Provided => Self::Provided,
            Answer::Unable => Self::Unable,
        }
    }
}

/// Sends a change of a case, with the fields that every one of them has, and shows the answer.
macro_rules! change {
    ($client:ident.$method:ident, $failed:ident, $json:ident, $change:ident, $request:ident { $($field:ident: $value:expr),* }) => {{
        let Change { name, etag, request_id } = $change;
        let request = $request { name, etag, request_id, $($field: $value),* };
        let response = $client.$method(request).await.map_err($failed)?.into_inner();
        if $json {
            return output::json(&response);
        }
        response
    }};
}

/// Sends a change that hands a case on, or asks what it would do. Ends here with what it would do.
macro_rules! hand_on {
    ($client:ident.$method:ident, $failed:ident, $json:ident, $change:ident, $preview:ident, $request:ident { $($field:ident: $value:expr),* }) => {{
        let answered = change!($client.$method, $failed, $json, $change, $request {
            validate_only: $preview.preview $(, $field: $value)*
        });
        if let Some(preview) = &answered.preview {
            return print_preview(preview);
        }
        answered.sight.and_then(|sight| sight.sight)
    }};
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum State {
    AwaitingDesignation,
    Assigned,
    InProgress,
    InReview,
    Resolved,
    Closed,
    Advised,
}

impl From<State> for CaseState {
    fn from(state: State) -> Self {
        match state {
            State::AwaitingDesignation => Self::AwaitingDesignation,
            State::Assigned => Self::Assigned,
            State::InProgress => Self::InProgress,
            State::InReview => Self::InReview,
            State::Resolved => Self::Resolved,
            State::Closed => Self::Closed,
            State::Advised => Self::Advised,
        }
    }
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let (access, json) = (&self.access, self.access.json);
        let server = self.server.address();
        if let Action::Watch { resume, limit } = self.action {
            let routing = access.stream(Service::Routing, server)?;
            return watch(&routing, resume.unwrap_or_default(), limit, json).await;
        }
        let routing = access.target(Service::Routing, server)?;
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let failed = Failed::call(&routing.address);
        let (done, sight) = match self.action {
            Action::List { state, limit } => return list(&routing, state, limit, json).await,
            Action::Show { name } => {
                let response = client
                    .get_case(GetCaseRequest { name })
                    .await
                    .map_err(failed)?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                let case = response.current_case.unwrap_or_default();
                return print_case(&case, &titles(&routing, &case).await);
            }
            Action::Acknowledge { change } => {
                let answered = change!(client.acknowledge_case, failed, json, change, AcknowledgeCaseRequest {});
                (tr("taken over"), answered.current_case.map(Sight::CurrentCase))
            }
            Action::Decline {
                change,
                reason,
                better,
                preview,
            } => {
                let better = better.map(|agency| agency_name(&agency)).unwrap_or_default();
                let reason = HandOverReason::from(reason).into();
                let sight = hand_on!(
                    client.decline_case,
                    failed,
                    json,
                    change,
                    preview,
                    DeclineCaseRequest {
                        reason: reason,
                        better_agency: better
                    }
                );
                (tr("declined"), sight)
            }
            Action::Transfer {
                change,
                agency,
                reason,
                keep_supporting,
                preview,
            } => {
                let (agency, reason) = (agency_name(&agency), HandOverReason::from(reason).into());
                let sight = hand_on!(
                    client.transfer_case,
                    failed,
                    json,
                    change,
                    preview,
                    TransferCaseRequest {
                        agency: agency,
                        reason: reason,
                        keep_supporting: keep_supporting
                    }
                );
                (tr("transferred"), sight)
            }
            Action::Escalate {
                change,
                reason,
                preview,
            } => {
                let reason = HandOverReason::from(reason).into();
                let sight = hand_on!(
                    client.escalate_case,
                    failed,
                    json,
                    change,
                    preview,
                    EscalateCaseRequest { reason: reason }
                );
                (tr("handed up"), sight)
            }
            Action::Dispatch {
                change,
                agency,
                reason,
                preview,
            } => {
                let (agency, reason) = (agency_name(&agency), HandOverReason::from(reason).into());
                let sight = hand_on!(
                    client.dispatch_case,
                    failed,
                    json,
                    change,
                    preview,
                    DispatchCaseRequest {
                        agency: agency,
                        reason: reason
                    }
                );
                (tr("handed down"), sight)
            }
            Action::Designate {
                change,
                agency,
                preview,
            } => {
                let agency = agency_name(&agency);
                let sight = hand_on!(
                    client.designate_agency,
                    failed,
                    json,
                    change,
                    preview,
                    DesignateAgencyRequest { agency: agency }
                );
                (tr("designated"), sight)
            }
            Action::RequestAssistance { change, agency } => {
                let agency = agency_name(&agency);
                let answered = change!(
                    client.request_assistance,
                    failed,
                    json,
                    change,
                    RequestAssistanceRequest { agency: agency }
                );
                (tr("asked to assist"), answered.current_case.map(Sight::CurrentCase))
            }
            Action::AnswerAssistance { change, answer } => {
                let answer = AssistanceAnswer::from(answer).into();
                let answered = change!(
                    client.answer_assistance,
                    failed,
                    json,
                    change,
                    AnswerAssistanceRequest { answer: answer }
                );
                (tr("answered"), answered.sight.and_then(|sight| sight.sight))
            }
            // Handled above: it has no deadline.
            Action::Watch { .. } => return Ok(()),
        };
        line(done)?;
        line("")?;
        match sight {
            Some(Sight::CurrentCase(case)) => print_case(&case, &titles(&routing, &case).await),
            Some(Sight::LostCase(name)) => Ok(line(tell("{0} is no longer yours to see", &[&name]))?),
            None => Ok(()),
        }
    }
}

/// The resource name of an agency given by name or id.
fn agency_name(agency: &str) -> String {
    format!("agencies/{}", id(agency))
}

/// What handing a case on would do.
fn print_preview(preview: &HandOverPreview) -> anyhow::Result<()> {
    line(tr("nothing is changed: it would become"))?;
    line("")?;
    field("state", output::case_state(preview.state()).style(strong()))?;
    let title = output::text(&preview.lead_titles);
    field("lead", format_args!("{} {}", id(&preview.lead), title.style(dim())))?;
    for clock in &preview.clocks {
        print_clock(clock)?;
    }
    for agency in &preview.seeing_content {
        field("content", tell("{0} sees what its reports say", &[&id(agency)]))?;
    }
    for agency in &preview.losing_sight {
        field("loses sight", id(agency))?;
    }
    Ok(())
}

/// One running clock.
fn print_clock(clock: &Clock) -> std::io::Result<()> {
    let due = clock.due_time.as_ref();
    field(
        "clock",
        tell(
            "{0} must {1} by {2} ({3}{4})",
            &[
                &id(&clock.owner),
                &output::duty(clock.kind()),
                &output::time(due),
                &output::distance(due, SystemClock.now()),
                &provisional(clock),
            ],
        ),
    )
}

async fn list(routing: &Target, state: Option<State>, limit: usize, json: bool) -> anyhow::Result<()> {
    let (cases, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListCasesRequest {
            page_size,
            page_token,
            state: state.map(CaseState::from).unwrap_or_default().into(),
        };
        let page = CaseServiceClient::new(routing.channel.clone())
            .list_cases(request)
            .await
            .map_err(Failed::call(&routing.address))?
            .into_inner();
        Ok((page.cases, page.next_page_token))
    })
    .await?;
    let all = ListCasesResponse { cases, next_page_token };
    if json {
        return output::json(&all);
    }
    if all.cases.is_empty() {
        line(tr("no cases"))?;
    }
    let now = SystemClock.now();
    let width = |text: fn(&Case) -> String| {
        let widths = all.cases.iter().map(|case| output::columns(&text(case)));
        widths.max().unwrap_or(0)
    };
    let (categories, leads) = (width(|case| output::category(&case.category)), width(lead));
    for case in &all.cases {
        let clock = case.clocks.first().map(|clock| {
            format!(
                "{} {}",
                output::duty(clock.kind()),
                output::distance(clock.due_time.as_ref(), now)
            )
        });
        let urgent = if case.urgent { tr("urgent") } else { "" };
        line(format_args!(
            "{}  {}  {}  {}  {}  {}",
            case.name,
            padded(output::case_state(case.state()), 20),
            padded(urgent, 6).style(bad()),
            padded(&output::category(&case.category), categories),
            padded(&lead(case), leads),
            clock.unwrap_or_default().style(dim()),
        ))?;
    }
    if !all.next_page_token.is_empty() {
        line(tr("more cases exist: raise --limit").style(dim()))?;
    }
    Ok(())
}

/// The lead with its name.
fn lead(case: &Case) -> String {
    format!("{} {}", id(&case.lead), output::text(&case.lead_titles))
        .trim_end()
        .to_owned()
}

async fn watch(routing: &Target, resume_token: String, limit: Option<u64>, json: bool) -> anyhow::Result<()> {
    let failed = Failed::call(&routing.address);
    let mut last = resume_token.clone();
    let mut messages = CaseServiceClient::new(routing.channel.clone())
        .watch_cases(WatchCasesRequest { resume_token })
        .await
        .map_err(&failed)?
        .into_inner();
    let mut seen = 0;
    let mut ended = false;
    while limit.is_none_or(|limit| seen < limit) {
        let message = tokio::select! {
            message = messages.message() => match message {
                Ok(message) => message,
                Err(status) => {
                    say_resume(&last);
                    return Err(failed(status).into());
                }
            },
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(message) = message else {
            ended = true;
            break;
        };
        seen += 1;
        last.clone_from(&message.resume_token);
        if json {
            output::json_line(&message)?;
        } else {
            print_message(&message)?;
        }
    }
    say_resume(&last);
    if ended {
        let message = format!("the server at {} ended the stream; it is stopping", routing.address);
        let help = "resume after the last message with --resume".to_owned();
        return Err(Failed::Unreachable { message, help }.into());
    }
    Ok(())
}

/// Tells how to go on after the last message, however the watch ended. In JSON every message has
/// its token; so this is no part of the output.
fn say_resume(last: &str) {
    if !last.is_empty() {
        output::aside(format_args!("resume with: remit case watch --resume {last}"));
    }
}

fn print_message(message: &WatchCasesResponse) -> std::io::Result<()> {
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
    let time = output::time(time);
    line(format_args!(
        "{time}  {:20}  {}  now {}, {}, led by {}",
        message.kind,
        case.name,
        output::case_state(case.state()),
        id(&case.category),
        id(&case.lead)
    ))
}

/// The names of the agencies that support a case, by resource name, as the directory has them. A
/// case is shown without those that cannot be had.
async fn titles(routing: &Target, case: &Case) -> BTreeMap<String, String> {
    let asked = case.supporting.iter().map(async |agency| {
        let mut client = DirectoryServiceClient::new(routing.channel.clone());
        let request = GetAgencyRequest { name: agency.clone() };
        let answer = client.get_agency(request).await.ok()?.into_inner();
        let title = output::text(&answer.agency?.titles).to_owned();
        Some((agency.clone(), title))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

fn print_case(case: &Case, titles: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let urgent = match case.urgent {
        true => format!(", {}", tr("urgent")),
        false => String::new(),
    };
    line(case.name.style(strong()))?;
    field("state", output::case_state(case.state()).style(strong()))?;
    field(
        "category",
        format_args!("{}{}", output::category(&case.category), urgent.style(bad())),
    )?;
    print_lead(case)?;
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
    for clock in &case.clocks {
        print_clock(clock)?;
    }
    for report in &case.reports {
        field("report", report)?;
    }
    field("opened", output::time(case.open_time.as_ref()))?;
    field("changed", output::time(case.update_time.as_ref()))?;
    field("etag", &case.etag)?;
    print_way(case)
}

/// Prints how a case was routed, and why its owner has it now.
pub(crate) fn print_route(case: &Case) -> anyhow::Result<()> {
    line(case.name.style(strong()))?;
    print_lead(case)?;
    print_way(case)
}

fn print_lead(case: &Case) -> std::io::Result<()> {
    if !case.lead.is_empty() {
        let title = output::text(&case.lead_titles);
        field("lead", format_args!("{} {}", id(&case.lead), title.style(dim())))?;
    }
    match &case.lead_origin {
        Some(origin) => field("came by", came_by(origin)),
        None => Ok(()),
    }
}

/// What its row lays down, what happened since, and how it was routed.
fn print_way(case: &Case) -> anyhow::Result<()> {
    print_terms(case.terms.as_ref())?;
    print_history(case)?;
    match &case.explanation {
        Some(explanation) => {
            print_needs(explanation)?;
            print_explanation(explanation)
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
fn print_terms(terms: Option<&CaseTerms>) -> std::io::Result<()> {
    let Some(terms) = terms else { return Ok(()) };
    for (name, clock) in [("takes over", &terms.acknowledge), ("result", &terms.result)] {
        if let Some(clock) = clock {
            field(name, tell("within {0}", &[&output::clock(clock)]))?;
        }
    }
    if !terms.supporting_functions.is_empty() {
        field("needs", terms.supporting_functions.join(", "))?;
    }
    Ok(())
}

/// What happened since the opening, and with it why the present owner has the case.
fn print_history(case: &Case) -> anyhow::Result<()> {
    if case.history.is_empty() {
        return Ok(());
    }
    line("")?;
    line(tr("What happened since").style(strong()))?;
    for step in &case.history {
        let time = output::time(step.time.as_ref());
        line(format_args!("{}  {}", time.style(dim()), happened(step)))?;
    }
    Ok(())
}

/// One step, in words.
fn happened(step: &CaseStep) -> String {
    let words = match Kind::from_name(&step.kind) {
        Some(kind) => match output::language() {
            Language::Zh => kind.zh().to_owned(),
            Language::En => kind.en().to_owned(),
        },
        None => step.kind.clone(),
    };
    let mut said = words;
    if let Some(missed) = &step.missed_clock {
        let (owner, duty) = (id(&missed.owner), output::duty(missed.kind()));
        let due = output::time(missed.due_time.as_ref());
        said = tell("{0}: {1} had to {2} by {3}", &[&said, &owner, &duty, &due]);
    }
    if !step.assistant.is_empty() {
        said = format!("{said}: {}", id(&step.assistant));
    }
    if step.reason != 0 {
        said = tell("{0} ({1})", &[&said, &output::reason(step.reason())]);
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
        LeadOriginHow::Unspecified => tr("a way that this version does not know").to_owned(),
    }
}

/// What the operator register answered, as far as it is told.
fn print_register(answer: &OperatorAnswer) -> std::io::Result<()> {
    for matched in &answer.matches {
        let name = matched
            .registered_operator
            .strip_prefix("operators/")
            .unwrap_or(&matched.registered_operator);
        let place = match &matched.location {
            Some(operator_match::Location::Territory(name)) => output::territory(id(name)),
            Some(operator_match::Location::RegionCode(code)) => code.clone(),
            None => "-".to_owned(),
        };
        let version = tell("operator register, version {0}", &[&answer.version]);
        field(
            "operator",
            format_args!("{} → {place} {}", name.replacen('~', " ", 1), version.style(dim())),
        )?;
    }
    Ok(())
}

/// The decision's further needs: payment holds and a review.
pub(crate) fn print_needs(explanation: &Explanation) -> std::io::Result<()> {
    for hold in &explanation.holds {
        let asked = if hold.agency.is_empty() {
            tr("no agency")
        } else {
            id(&hold.agency)
        };
        let within = hold.clock.as_ref().map(output::clock).unwrap_or_default();
        field(
            "stop payment",
            tell("{0} is asked, within {1} ({2})", &[&asked, &within, &hold.reason]),
        )?;
    }
    if explanation.review() == ReviewNeed::SecondPerson {
        field("review", tr("a second person must review the result"))?;
    }
    Ok(())
}

/// Prints a decision for clerks: the result, the rule, the attempts, and all assumptions.
pub(crate) fn print_explanation(explanation: &Explanation) -> anyhow::Result<()> {
    line("")?;
    line(tr("How it was routed").style(strong()))?;
    // In English only, and what it says is said again below.
    if output::language() == Language::En {
        field("in short", &explanation.summary)?;
    }
    field(
        "rule",
        tell(
            "row {0} of the rule set {1}",
            &[&explanation.row, &explanation.table_id],
        ),
    )?;
    field("source", &explanation.source)?;
    for (i, tried) in explanation.factors.iter().enumerate() {
        let name = if i == 0 { "tried" } else { "" };
        field(name, step(tried, tried.factor == explanation.factor))?;
    }
    if let Some(answer) = &explanation.register_answer {
        print_register(answer)?;
    }
    for support in &explanation.supporting {
        field("support", format_args!("{}: {}", id(&support.agency), support.reason))?;
    }
    for agency in &explanation.excluded {
        field("kept out", tell("{0} and all units under it", &[&id(agency)]))?;
    }
    for words in &explanation.exclusions {
        field("exclusion", words)?;
    }
    for (i, fallback) in explanation.fallbacks.iter().enumerate() {
        field(if i == 0 { "note" } else { "" }, fallback)?;
    }
    let hex = |digest: &[u8]| data_encoding::HEXLOWER.encode(digest);
    for (name, digest) in [
        ("facts", &explanation.facts_digest),
        ("rules", &explanation.rule_set_digest),
        ("directory", &explanation.directory_digest),
    ] {
        // Only the case's owner gets the digest of the facts, because they contain the exclusions.
        if !digest.is_empty() {
            field(name, format_args!("{}", format!("sha256:{}", hex(digest)).style(dim())))?;
        }
    }
    Ok(())
}

fn step(tried: &FactorTried, gave_lead: bool) -> String {
    let place = match output::place(tried) {
        "" => String::new(),
        place => format!(" {}", output::climb(place, &tried.climb)),
    };
    let mark = if gave_lead { tr(" ← this gave the lead") } else { "" };
    let passed = match tried.passed.as_slice() {
        [] => String::new(),
        passed => {
            let passed: Vec<_> = passed.iter().map(|agency| id(agency)).collect();
            tell(" (passed over: {0})", &[&passed.join(", ")])
        }
    };
    // The server's words are English; where what it found says the same, it is said in the language
    // of the output.
    let outcome = match tried.agency.as_str() {
        agency if !agency.is_empty() && output::language() != Language::En => tell("leads to {0}", &[&id(agency)]),
        _ => tr(&tried.outcome).to_owned(),
    };
    format!("{}{place}: {outcome}{passed}{mark}", output::factor(tried.factor()))
}
