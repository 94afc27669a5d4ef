//! `remit case`: list, show and watch cases, take them over, and hand them on.
//!
//! `case/hand_on.rs`, `case/work.rs` and `case/outcome.rs` have the changes of a case,
//! `case/officers.rs` what is an agency's own affair, `case/oversight.rs` supervision of agencies,
//! `case/subject.rs` those for the affected side, `case/change.rs` what they share, and
//! `case/batch.rs` those of many at once. `case/queue.rs` is the screen of a clerk;
//! `output/case.rs` prints.

mod batch;
mod change;
mod hand_on;
mod officers;
mod outcome;
mod oversight;
mod queue;
mod subject;
mod work;

use std::collections::BTreeMap;

use api::event::CaseState;
use api::routing::{
    Case, CountWorklistsRequest, GetAgencyRequest, GetCaseRequest, ListCasesRequest, ListCasesResponse,
    ListUndeliveredRequest, ListUndeliveredResponse, WatchCasesRequest, WatchCasesResponse, Worklist,
    case_service_client::CaseServiceClient, directory_service_client::DirectoryServiceClient,
};
use clap::{Args, Subcommand, ValueEnum};
use futures::future::join_all;
use host::config::Service;

pub(super) use self::change::choice;
use self::{hand_on::HandOn, officers::Officers, outcome::Outcome, oversight::Oversight, subject::Subject, work::Work};
use super::watching::{self, Resumable};
use crate::{
    client::{Access, Failed, RoutingServer, Target, pages},
    output,
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
    #[command(after_help = "\
Examples:
  remit case list
  remit case list --state assigned --as police-510100
  remit case list --worklist due --as police-510100
  remit case list --of o-1 --as police-510100
  remit case list --below --worklist overdue --as police-450000
  remit case list --below --lead police-450100 --as police-450000")]
    List {
        /// Only cases in this state
        #[arg(long)]
        state: Option<State>,
        /// Only cases on this worklist of the agency, in its order
        #[arg(long, conflicts_with = "state", value_parser = choice(Worklist::as_str_name))]
        worklist: Option<Worklist>,
        /// Only cases that this officer of the agency has
        #[arg(
            long = "of",
            value_name = "OFFICER",
            default_value = "",
            hide_default_value = true,
            conflicts_with = "below"
        )]
        of: String,
        #[command(flatten)]
        below: Below,
        /// Maximum number of cases
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Count the cases on each worklist of an agency
    #[command(after_help = "\
Examples:
  remit case worklists --as police-510100
  remit case worklists --of o-1 --as police-510100
  remit case worklists --below --as police-450000")]
    Worklists {
        /// Only cases that this officer of the agency has
        #[arg(
            long = "of",
            value_name = "OFFICER",
            default_value = "",
            hide_default_value = true,
            conflicts_with = "below"
        )]
        of: String,
        #[command(flatten)]
        below: Below,
    },
    /// Show an agency's worklists on one screen, and work through them with one key for each step
    #[command(after_help = "\
Where there is no terminal, it prints the worklists once. With --officer, you can take cases from the pool and look at
your own.

Examples:
  remit case queue --as police-510100 --officer o-1
  remit case queue --below --as police-450000")]
    Queue {
        #[command(flatten)]
        below: Below,
    },
    /// List which agencies have not read the last change of which case, and what a service refuses
    #[command(after_help = "\
Examples:
  remit case undelivered
  remit case undelivered --agency police-510100
  remit case undelivered --as police-510100")]
    Undelivered {
        /// Only what this agency has not read; for operators
        #[arg(long, value_name = "AGENCY")]
        agency: Option<String>,
        /// Maximum number of lines
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
    #[command(flatten)]
    HandOn(HandOn),
    #[command(flatten)]
    Work(Work),
    #[command(flatten)]
    Officers(Officers),
    #[command(flatten)]
    Oversight(Oversight),
    #[command(flatten)]
    Outcome(Outcome),
    #[command(flatten)]
    Subject(Subject),
}

/// Cases of the agencies below.
#[derive(Args, Clone, Debug, Default)]
struct Below {
    /// Open cases of the agencies below, by remaining time
    #[arg(long)]
    below: bool,
    /// Only cases that this agency below leads, or must designate a lead for
    #[arg(long, requires = "below", value_name = "AGENCY")]
    lead: Option<String>,
}

impl Below {
    /// Whether it is those below, and of which of them.
    fn wire(self) -> (bool, String) {
        let lead = self.lead.as_deref().map(change::agency_name);
        (self.below, lead.unwrap_or_default())
    }
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
            // It has no deadline.
            let routing = access.stream(Service::Routing, server)?;
            return watch(&routing, resume.unwrap_or_default(), limit, json).await;
        }
        let routing = access.target(Service::Routing, server)?;
        match self.action {
            Action::List {
                state,
                worklist,
                of,
                below,
                limit,
            } => {
                let (below, lead) = below.wire();
                let which = ListCasesRequest {
                    state: state.map(CaseState::from).unwrap_or_default().into(),
                    worklist: worklist.unwrap_or_default().into(),
                    officer: of,
                    below,
                    lead,
                    ..ListCasesRequest::default()
                };
                list(&routing, which, limit, json).await
            }
            Action::Queue { below } => {
                let officer = access.officer.as_ref().map(|officer| officer.as_str().to_owned());
                queue::run(&routing, officer, below.wire(), json).await
            }
            Action::Worklists { of, below } => {
                let (below, lead) = below.wire();
                let officer = of;
                worklists(&routing, CountWorklistsRequest { officer, below, lead }, json).await
            }
            Action::Undelivered { agency, limit } => undelivered(&routing, agency, limit, json).await,
            Action::Show { name } => show(&routing, name, json).await,
            Action::HandOn(change) => change.run(&routing, json).await,
            Action::Work(change) => change.run(&routing, json).await,
            Action::Officers(officers) => officers.run(&routing, json).await,
            Action::Oversight(oversight) => oversight.run(&routing, json).await,
            Action::Outcome(change) => change.run(&routing, json).await,
            Action::Subject(change) => change.run(&routing, json).await,
            // Handled above.
            Action::Watch { .. } => Ok(()),
        }
    }
}

async fn show(routing: &Target, name: String, json: bool) -> anyhow::Result<()> {
    let answer = CaseServiceClient::new(routing.channel.clone())
        .get_case(GetCaseRequest { name })
        .await
        .map_err(Failed::call(&routing.address))?
        .into_inner();
    if json {
        return output::json(&answer);
    }
    print(routing, &answer.current_case.unwrap_or_default()).await
}

/// Prints a case, with the names of its supporting agencies.
async fn print(routing: &Target, case: &Case) -> anyhow::Result<()> {
    output::case::whole(case, &titles(routing, case).await)
}

async fn worklists(routing: &Target, which: CountWorklistsRequest, json: bool) -> anyhow::Result<()> {
    let answer = CaseServiceClient::new(routing.channel.clone())
        .count_worklists(which)
        .await
        .map_err(Failed::call(&routing.address))?
        .into_inner();
    if json {
        return output::json(&answer);
    }
    output::case::worklists(&answer)
}

/// The pages of a list, with the filters of `which`.
async fn list(routing: &Target, which: ListCasesRequest, limit: usize, json: bool) -> anyhow::Result<()> {
    let (cases, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListCasesRequest {
            page_size,
            page_token,
            ..which.clone()
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
    output::case::list(&all)
}

async fn undelivered(routing: &Target, agency: Option<String>, limit: usize, json: bool) -> anyhow::Result<()> {
    let agency = agency.map(|agency| format!("agencies/{}", output::id(&agency)));
    let mut refused = Vec::new();
    let (undelivered, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListUndeliveredRequest {
            page_size,
            page_token,
            agency: agency.clone().unwrap_or_default(),
        };
        let page = CaseServiceClient::new(routing.channel.clone())
            .list_undelivered(request)
            .await
            .map_err(Failed::call(&routing.address))?
            .into_inner();
        refused.extend(page.refused);
        Ok((page.undelivered, page.next_page_token))
    })
    .await?;
    let all = ListUndeliveredResponse {
        undelivered,
        next_page_token,
        refused,
    };
    if json {
        return output::json(&all);
    }
    output::case::undelivered(&all)
}

impl Resumable for WatchCasesResponse {
    fn resume_token(&self) -> &str {
        &self.resume_token
    }

    fn has_news(&self) -> bool {
        true
    }
}

async fn watch(routing: &Target, resume_token: String, limit: Option<u64>, json: bool) -> anyhow::Result<()> {
    let request = WatchCasesRequest {
        resume_token: resume_token.clone(),
    };
    let opened = CaseServiceClient::new(routing.channel.clone())
        .watch_cases(request)
        .await;
    watching::watch(
        routing,
        opened,
        resume_token,
        limit,
        "case watch",
        async |message| match json {
            true => output::json_line(message),
            false => Ok(output::case::message(message)?),
        },
    )
    .await
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
