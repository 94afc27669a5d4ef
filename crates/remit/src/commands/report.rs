//! `remit report`: submit, read and follow reports.

mod feed;
mod import;
mod print;

use std::path::PathBuf;

use api::intake::{
    AddInformationRequest, AnswerQuestionRequest, CheckReceiptRequest, GetReportRequest, ListReportsRequest,
    ListReportsResponse, LogReference, ReadPurpose, ReportState, RequestReviewRequest, RevealPurpose,
    RevealReporterRequest, SubmitReportRequest, WithdrawReportRequest, add_information_request::Target as Whose,
    intake_service_client::IntakeServiceClient,
};
use clap::{Args, Subcommand, ValueEnum};
use host::{config::Service, input};
use prost::{Message, Name};
use rpc::json::JsonError;
use tonic::{Response, Status};
use witness::foreign;

use super::proof::{self, Logged};
use crate::{
    client::{Access, Failed, IntakeServer, Target, pages},
    output::{self, Paint as _, bad, dim, field, good, line, tell, tr},
    precedence::{OneThing, Settled, Way},
};

/// Submit reports and follow them
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: IntakeServer,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Submit a report
    ///
    /// FILE contains remit.intake.v1.SubmitReportRequest in protobuf JSON: {"report": {…},
    /// "requestId": "…"}. Repeating a request id within 24 hours returns the same report and
    /// receipt.
    #[command(after_help = "\
Examples:
  remit report submit deploy/examples/04-gambling.json --as police-440000
  remit report submit --validate-only - < report.json")]
    Submit {
        /// The file; `-` for standard input
        file: PathBuf,
        /// Request id, a UUID, instead of the file's
        #[arg(long, value_name = "UUID")]
        request_id: Option<String>,
        /// Only validate: nothing is recorded
        #[arg(long)]
        validate_only: bool,
    },
    /// Submit the reports of a file, as many as it has
    ///
    /// A report without `externalId` and `requestId` gets an external id, made of what it says and
    /// of how often the file has said that before: neither the file nor a corrected one brings a
    /// report in twice. Interrupted, the same command goes on where it was: FILE.import says how
    /// far that is, and is refused for another file or caller. What is refused is listed in
    /// FILE.rejects.ndjson with its line and every violation, and keeps nothing else from being
    /// submitted; the exit code is 1 then. No file that is there already is written over. An error
    /// that is about the caller or the server stops the import, and no report is refused for it.
    ///
    /// A table's mapping: `columns` has the field of each column, such as `Link:
    /// report.subjects[0].value`; `constants` has fields that are the same in each row; `values`
    /// has, of a column, what stands there and what is meant; `delimiter` is a comma unless it says
    /// another. An empty cell is nothing.
    ///
    /// Of XARF, version 4, messages are taken whose type is an act here, with the files in them;
    /// `reporter` is the reporter, and its domain with `report_id` the external id.
    #[command(after_help = "\
Examples:
  remit report import reports.ndjson --dry-run --as police-440000
  remit report import reports.csv --mapping mapping.yaml --receipts receipts.ndjson --as police-440000
  remit report import messages.json --format xarf --as hotline")]
    Import(import::Import),
    /// Show a report with its content
    ///
    /// Visible to its sender and to the lead agency of its case; for others the report does not
    /// exist. Each reading is itself recorded with its purpose before anything is shown: `remit log
    /// show` tells auditors who read what.
    #[command(after_help = "Example:\n  remit report show reports/0d9f… --purpose handle-case --as police-510100")]
    Show {
        /// Its name, `reports/{id}`
        name: String,
        /// Purpose of the reading
        #[arg(long, value_enum)]
        purpose: Reading,
    },
    /// List the reports that the caller sent, newest first
    #[command(after_help = "\
Examples:
  remit report list --as police-440000
  remit report list --state accepted --since 2026-11-01T00:00:00+08:00 --as police-440000
  remit report list --external-id desk-2026-0417 --as police-440000")]
    List {
        /// Only reports in this state, as the caller sees it
        #[arg(long)]
        state: Option<State>,
        /// Only reports recorded at this time or later, with time zone (RFC 3339)
        #[arg(long, value_name = "TIME")]
        since: Option<jiff::Timestamp>,
        /// Only reports recorded before this time, with time zone (RFC 3339)
        #[arg(long, value_name = "TIME")]
        until: Option<jiff::Timestamp>,
        /// Only the report with this id of the sender's own, `externalId` of the submitted report
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        external_id: String,
        /// Maximum number of reports
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    #[command(flatten)]
    Feed(feed::Feed),
    /// Show who reported: name and contact
    ///
    /// For the lead agency of the report's case (the role desk). The request is itself recorded
    /// as a change of the report, with its purpose, before anything is shown, and the reporter sees
    /// it with the receipt.
    #[command(after_help = "\
Example:
  remit report reveal reports/0d9f… --purpose contact-reporter --because 'the invoice is missing' --as police-510100")]
    Reveal {
        /// Its name, `reports/{id}`
        name: String,
        /// Purpose of the request
        #[arg(long, value_enum)]
        purpose: Purpose,
        /// Justification in words, 10 to 500 characters; kept by intake, never in the log
        #[arg(long, value_name = "TEXT")]
        because: String,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Add information to a report, by its receipt or as its sender
    ///
    /// Nothing of the report is changed: what is added is a version of its own. The agency that has
    /// the case is told, or of a closed one that which decided; it decides whether to open it again.
    /// Evidence is uploaded before, with `remit evidence upload`.
    #[command(after_help = "\
Examples:
  remit report add --receipt 7Q2M-… --text 'He called again on Monday.' --as hotline
  remit report add --name reports/0d9f… --evidence evidence/0d9f… --as police-440000")]
    Add {
        /// The receipt code of the report
        #[arg(long, value_name = "CODE", required_unless_present = "name", conflicts_with = "name")]
        receipt: Option<String>,
        /// The name of a report that the caller sent, `reports/{id}`
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        said: Said,
    },
    /// Withdraw a report, by its receipt
    ///
    /// Before an agency has taken it over, its case ends, unless the category is urgent or the report
    /// is kept from somebody; then, and later, the agency is told of the wish and decides.
    #[command(after_help = "Example:\n  remit report withdraw 7Q2M-…")]
    Withdraw {
        /// The receipt code of the report
        code: String,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Ask for a review of what was decided, by the receipt
    ///
    /// The superior of the agency that decided decides anew, as long as `remit report receipt` shows
    /// that a review can be asked for.
    #[command(after_help = "Example:\n  remit report request-review 7Q2M-… --text 'The shop is still open.'")]
    RequestReview {
        /// The receipt code of the report
        code: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Answer the question that the agency asked the reporter, by the receipt
    ///
    /// `remit report receipt` shows the question and its number while it is open.
    #[command(after_help = "Example:\n  remit report answer 7Q2M-… 1 --text 'On Monday.'")]
    Answer {
        /// The receipt code of the report
        code: String,
        /// The question's number
        question: i64,
        #[command(flatten)]
        said: Said,
    },
    /// Show the state of a report, and verify that the log contains its changes
    ///
    /// Looks up each change of the report in the log and verifies its proof with the log's key.
    /// Exits with 5 if a proof is invalid.
    #[command(after_help = "Example:\n  remit report receipt 7Q2M-…")]
    Receipt {
        /// The receipt code returned at submission
        code: String,
        #[command(flatten)]
        key: Settled<LogKey>,
        /// Address of audit, such as http://127.0.0.1:7303
        #[arg(long, env = "REMIT_AUDIT", value_name = "URL", help_heading = "Connection")]
        audit: Option<String>,
    },
}

/// What is added to a report.
#[derive(Args, Clone, Debug)]
struct Said {
    /// What is added, in the reporter's words
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    text: String,
    /// Evidence uploaded by the caller, `evidence/{id}`; may be given several times
    #[arg(long = "evidence", value_name = "NAME")]
    evidence: Vec<String>,
    /// Request id, a UUID: repeated within 24 hours it has the first answer
    #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// The log's key, given or in a file.
#[derive(Args, Clone, Debug)]
struct LogKey {
    /// The log's verifier key [default: log.vkey of the data directory]
    #[arg(id = "log_key", long = "key", env = "REMIT_LOG_KEY", value_name = "KEY")]
    key: Option<String>,
    /// File with the log's verifier keys, such as its log.vkey
    #[arg(id = "log_key_file", long = "key-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl OneThing for LogKey {
    const THINGS: &'static [&'static [Way]] = &[&[
        Way {
            id: "log_key",
            flag: "--key",
            variable: Some("REMIT_LOG_KEY"),
        },
        Way {
            id: "log_key_file",
            flag: "--key-file",
            variable: None,
        },
    ]];
}

/// Purpose of reading a report.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reading {
    /// To handle its case: the lead agency's everyday work
    HandleCase,
    /// To check the submission, as its sender
    CheckSubmission,
    /// To answer the reporter
    AnswerReporter,
    /// A court, prosecutor or other authority requests it by law
    LegalRequest,
    /// To review how a report was handled
    ReviewHandling,
}

impl From<Reading> for ReadPurpose {
    fn from(reading: Reading) -> Self {
        match reading {
            Reading::HandleCase => Self::HandleCase,
            Reading::CheckSubmission => Self::CheckSubmission,
            Reading::AnswerReporter => Self::AnswerReporter,
            Reading::LegalRequest => Self::LegalRequest,
            Reading::ReviewHandling => Self::ReviewHandling,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Accepted,
    Routed,
    Closed,
    Advised,
    Withdrawn,
}

impl From<State> for ReportState {
    fn from(state: State) -> Self {
        match state {
            State::Accepted => Self::Accepted,
            State::Routed => Self::Routed,
            State::Closed => Self::Closed,
            State::Advised => Self::Advised,
            State::Withdrawn => Self::Withdrawn,
        }
    }
}

/// Purpose of revealing a reporter.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Purpose {
    /// To ask or answer the reporter
    ContactReporter,
    /// To verify that the report is the reporter's, or genuine
    VerifyReport,
    /// To protect the reporter
    ProtectReporter,
    /// A court, prosecutor or other authority requests it by law
    LegalRequest,
    /// To review how a report was handled
    ReviewHandling,
}

impl From<Purpose> for RevealPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::ContactReporter => Self::ContactReporter,
            Purpose::VerifyReport => Self::VerifyReport,
            Purpose::ProtectReporter => Self::ProtectReporter,
            Purpose::LegalRequest => Self::LegalRequest,
            Purpose::ReviewHandling => Self::ReviewHandling,
        }
    }
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let (access, json) = (&self.access, self.access.json);
        let intake = access.target(Service::Intake, self.server.address());
        match self.action {
            Action::Submit {
                file,
                request_id,
                validate_only,
            } => {
                // Report problems with the file first: that needs no server.
                let mut request = read_request(&file)?;
                request.validate_only |= validate_only;
                if let Some(request_id) = request_id {
                    request.request_id = request_id;
                }
                let (intake, validate_only) = (intake?, request.validate_only);
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .submit_report(request)
                    .await;
                shown(&intake, json, answer, |response| {
                    print::submitted(response, validate_only)
                })
            }
            Action::Import(import) => {
                let stream = || {
                    let intake = access.stream(Service::Intake, self.server.address())?;
                    Ok((intake, access.caller()?))
                };
                import.run(stream, json).await
            }
            Action::Show { name, purpose } => {
                let intake = intake?;
                let request = GetReportRequest {
                    name,
                    purpose: ReadPurpose::from(purpose).into(),
                };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .get_report(request)
                    .await;
                shown(&intake, json, answer, print::report)
            }
            Action::List {
                state,
                since,
                until,
                external_id,
                limit,
            } => {
                let at = |time: jiff::Timestamp| journal::Time(time.as_microsecond()).to_proto();
                let request = ListReportsRequest {
                    state: state.map(ReportState::from).unwrap_or_default().into(),
                    start_time: since.map(at),
                    end_time: until.map(at),
                    external_id,
                    ..ListReportsRequest::default()
                };
                list(&intake?, request, limit, json).await
            }
            Action::Feed(feed) => {
                let stream = || access.stream(Service::Intake, self.server.address());
                feed.run(|| intake, stream, json).await
            }
            Action::Reveal {
                name,
                purpose,
                because,
                request_id,
            } => {
                let intake = intake?;
                let request = RevealReporterRequest {
                    name,
                    purpose: RevealPurpose::from(purpose).into(),
                    justification: because,
                    request_id,
                };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .reveal_reporter(request)
                    .await;
                shown(&intake, json, answer, print::reporter)
            }
            Action::Add { receipt, name, said } => {
                let intake = intake?;
                let request = AddInformationRequest {
                    target: receipt.map(Whose::Receipt).or(name.map(Whose::Name)),
                    text: said.text,
                    evidence: said.evidence,
                    request_id: said.request_id,
                };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .add_information(request)
                    .await;
                shown(&intake, json, answer, |response| {
                    print::added(response.add_time.as_ref(), &response.notices)
                })
            }
            Action::Withdraw { code, request_id } => {
                let intake = intake?;
                let request = WithdrawReportRequest {
                    receipt: code,
                    request_id,
                };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .withdraw_report(request)
                    .await;
                shown(&intake, json, answer, |response| {
                    print::added(response.request_time.as_ref(), &response.notices)
                })
            }
            Action::RequestReview { code, text, request_id } => {
                let intake = intake?;
                let request = RequestReviewRequest {
                    receipt: code,
                    text,
                    request_id,
                };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .request_review(request)
                    .await;
                shown(&intake, json, answer, |response| {
                    print::added(response.request_time.as_ref(), &response.notices)
                })
            }
            Action::Answer { code, question, said } => {
                let intake = intake?;
                let request = AnswerQuestionRequest {
                    receipt: code,
                    question_number: question,
                    text: said.text,
                    evidence: said.evidence,
                    request_id: said.request_id,
                };
                let answer = IntakeServiceClient::new(intake.channel.clone())
                    .answer_question(request)
                    .await;
                shown(&intake, json, answer, |response| {
                    print::added(response.add_time.as_ref(), &response.notices)
                })
            }
            Action::Receipt {
                code,
                key: Settled(key),
                audit,
            } => {
                let key = match key.file {
                    Some(file) => Some(
                        foreign::read_text(&file, foreign::SMALL)
                            .map_err(|error| Failed::Usage(format!("{}: {error}", file.display())))?,
                    ),
                    None => key.key,
                };
                let intake = intake?;
                let response = IntakeServiceClient::new(intake.channel)
                    .check_receipt(CheckReceiptRequest { receipt: code })
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    output::json(&response)?;
                } else {
                    print::receipt(&response)?;
                }
                check_changes(access, audit.as_deref(), key.as_deref(), &response.changes, json).await
            }
        }
    }
}

/// Shows an answer, in words or as JSON.
fn shown<A: Message + Name>(
    intake: &Target,
    json: bool,
    answer: Result<Response<A>, Status>,
    print: impl FnOnce(&A) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let answer = answer.map_err(Failed::call(&intake.address))?.into_inner();
    match json {
        true => output::json(&answer),
        false => print(&answer),
    }
}

/// Maximum size of a request in JSON: more than a server takes as a message.
const REQUEST: u64 = 16 << 20;

fn read_request(file: &std::path::Path) -> anyhow::Result<SubmitReportRequest> {
    let text = input::text(file, REQUEST).map_err(|error| Failed::Usage(format!("cannot read {error:#}")))?;
    parse_request(&input::name(file), &text)
}

/// Parses a request. The error names file, line, column and field.
pub fn parse_request(file: &str, text: &str) -> anyhow::Result<SubmitReportRequest> {
    rpc::json::parse(text).map_err(|error| match error {
        JsonError::Malformed { message, field, source } => {
            let (line, column) = (source.line(), source.column());
            let problem = source.to_string();
            let problem = problem
                .strip_suffix(&format!(" at line {line} column {column}"))
                .unwrap_or(&problem);
            let field = if field.is_empty() { field } else { format!("{field}: ") };
            Failed::Usage(format!(
                "{file}:{line}:{column}: {field}{problem}\n  expected the JSON form of {message}"
            ))
            .into()
        }
        error => anyhow::Error::new(error).context(file.to_owned()),
    })
}

async fn list(intake: &Target, filter: ListReportsRequest, limit: usize, json: bool) -> anyhow::Result<()> {
    let (reports, next_page_token) = pages(limit, async |page_size, page_token| {
        let request = ListReportsRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        let page = IntakeServiceClient::new(intake.channel.clone())
            .list_reports(request)
            .await
            .map_err(Failed::call(&intake.address))?
            .into_inner();
        Ok((page.reports, page.next_page_token))
    })
    .await?;
    let all = ListReportsResponse {
        reports,
        next_page_token,
    };
    if json {
        return output::json(&all);
    }
    if all.reports.is_empty() {
        line(tr("no reports"))?;
    }
    for report in &all.reports {
        let accepted = output::time(report.accept_time.as_ref());
        let own = match report.external_id.as_str() {
            "" => String::new(),
            id => format!("  {}", id.style(dim())),
        };
        line(format_args!(
            "{}  {}  {}{own}",
            report.name,
            accepted.style(dim()),
            output::report_state(report.state())
        ))?;
    }
    if !all.next_page_token.is_empty() {
        line(tr("more reports exist: raise --limit").style(dim()))?;
    }
    Ok(())
}

/// Prints each change with the log's answer. Fails if a proof is invalid.
async fn check_changes(
    access: &Access,
    audit: Option<&str>,
    key: Option<&str>,
    changes: &[LogReference],
    json: bool,
) -> anyhow::Result<()> {
    let mut problem = None;
    let ready = match (access.target(Service::Audit, audit), access.vkey(key)?) {
        (Ok(audit), Some(key)) => Some((audit, key)),
        (Ok(_), None) => {
            problem = Some("not checked: no log key; set it with --key or REMIT_LOG_KEY".to_owned());
            None
        }
        (Err(error), _) => {
            problem = Some(format!("not checked: {error}"));
            None
        }
    };
    // Needs no server and no key.
    if let Err(fault) = proof::chained(changes) {
        return Err(Failed::Unverified(format!("the changes of the report: {fault}")).into());
    }
    let mut wrong = 0;
    for change in changes {
        let logged = match &ready {
            Some((audit, key)) => match proof::check(audit, key, change).await {
                Ok(logged) => Some(logged),
                Err(error) => {
                    problem.get_or_insert(format!("not checked: {error}"));
                    None
                }
            },
            None => None,
        };
        let found = match &logged {
            Some(Logged::Proven(proven)) => tell(
                "in the log at index {0}, proof verified (checkpoint of {1} entries)",
                &[&proven.index, &proven.size],
            )
            .style(good())
            .to_string(),
            Some(Logged::NotYet) => tr("not yet in the log").style(dim()).to_string(),
            Some(Logged::Wrong(fault)) => {
                wrong += 1;
                tell("PROOF FAILED: {0}", &[fault]).style(bad()).to_string()
            }
            None => tr("not checked").style(dim()).to_string(),
        };
        if !json {
            let time = output::time(change.change_time.as_ref());
            field("change", format_args!("{} {time}: {found}", change.kind))?;
        }
    }
    if let Some(problem) = problem.filter(|_| !json) {
        line(problem.style(dim()))?;
    }
    if wrong > 0 {
        let message = format!("{wrong} of {} changes are not proven to be in the log", changes.len());
        return Err(Failed::Unverified(message).into());
    }
    Ok(())
}
