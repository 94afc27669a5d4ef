//! `remit report`: submit, read and follow reports.

use std::path::PathBuf;

use api::google::r#type::LocalizedText;
use api::intake::{
    AddInformationRequest, AnswerQuestionRequest, CheckReceiptRequest, CheckReceiptResponse, GetReportRequest,
    GetReportResponse, ListReportsRequest, ListReportsResponse, LogReference, Loss, PreviewedPart, ReadPurpose,
    ReceiptStep, Report, ReportState, RevealPurpose, RevealReporterRequest, RevealReporterResponse, RoutePreview,
    SubjectKind, SubmitReportRequest, SubmitReportResponse, Supplement, WithdrawReportRequest,
    add_information_request::Target as Whose, intake_service_client::IntakeServiceClient,
};
use api::text_in;
use clap::{Args, Subcommand, ValueEnum};
use host::{config::Service, input};
use iso_currency::Currency;
use rpc::json::JsonError;
use witness::foreign;

use super::proof::{self, Logged};
use crate::{
    client::{Access, Failed, IntakeServer, Target, pages},
    output::{self, Paint as _, bad, dim, field, good, id, line, strong, tell, tr},
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
  remit report list --state accepted --since 2026-11-01T00:00:00+08:00 --as police-440000")]
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
        /// Maximum number of reports
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Show who reported: name and contact
    ///
    /// For the lead agency of the report's case, and for operators. The request is itself recorded
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
                let response = IntakeServiceClient::new(intake.channel)
                    .submit_report(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print_submitted(&response, validate_only)
            }
            Action::Show { name, purpose } => {
                let intake = intake?;
                let request = GetReportRequest {
                    name,
                    purpose: ReadPurpose::from(purpose).into(),
                };
                let response = IntakeServiceClient::new(intake.channel)
                    .get_report(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print_report(&response)
            }
            Action::List {
                state,
                since,
                until,
                limit,
            } => {
                let at = |time: jiff::Timestamp| journal::Time(time.as_microsecond()).to_proto();
                let request = ListReportsRequest {
                    state: state.map(ReportState::from).unwrap_or_default().into(),
                    start_time: since.map(at),
                    end_time: until.map(at),
                    ..ListReportsRequest::default()
                };
                list(&intake?, request, limit, json).await
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
                let response = IntakeServiceClient::new(intake.channel)
                    .reveal_reporter(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print_reporter(&response)
            }
            Action::Add { receipt, name, said } => {
                let intake = intake?;
                let request = AddInformationRequest {
                    target: receipt.map(Whose::Receipt).or(name.map(Whose::Name)),
                    text: said.text,
                    evidence: said.evidence,
                    request_id: said.request_id,
                };
                let response = IntakeServiceClient::new(intake.channel)
                    .add_information(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print_added(response.add_time.as_ref(), &response.notices)
            }
            Action::Withdraw { code, request_id } => {
                let intake = intake?;
                let request = WithdrawReportRequest {
                    receipt: code,
                    request_id,
                };
                let response = IntakeServiceClient::new(intake.channel)
                    .withdraw_report(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print_added(response.request_time.as_ref(), &response.notices)
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
                let response = IntakeServiceClient::new(intake.channel)
                    .answer_question(request)
                    .await
                    .map_err(Failed::call(&intake.address))?
                    .into_inner();
                if json {
                    return output::json(&response);
                }
                print_added(response.add_time.as_ref(), &response.notices)
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
                    print_receipt(&response)?;
                }
                check_changes(access, audit.as_deref(), key.as_deref(), &response.changes, json).await
            }
        }
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
            ..filter
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
        line(format_args!(
            "{}  {}  {}",
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

fn print_submitted(response: &SubmitReportResponse, validate_only: bool) -> anyhow::Result<()> {
    let Some(report) = response.report.as_ref().filter(|_| !validate_only) else {
        line(tr("the report is valid; nothing was recorded"))?;
        return print_preview(response.preview.as_ref());
    };
    field("report", &report.name)?;
    field("receipt", response.receipt.style(strong()))?;
    field("accepted", output::time(report.accept_time.as_ref()))?;
    line("")?;
    line(format_args!(
        "{} remit report receipt {}",
        tr("follow it with:").style(dim()),
        response.receipt
    ))?;
    Ok(())
}

/// Prints where a report would go, and who would see what.
fn print_preview(preview: Option<&RoutePreview>) -> anyhow::Result<()> {
    let Some(preview) = preview else {
        line(tr("where it would go cannot be told now: routing does not answer"))?;
        return Ok(());
    };
    if preview.withheld {
        line(tr(
            "where it would go is not told: it is to be kept from the sender itself",
        ))?;
        return Ok(());
    }
    line("")?;
    line(tr("If it were submitted now").style(strong()))?;
    if let Some(advice) = &preview.advice {
        line(tr("no agency could act; the reporter would be told:"))?;
        line(text_in(&advice.texts, "zh"))?;
        line(text_in(&advice.texts, "en"))?;
    }
    for party in &preview.parties {
        let part = match party.part() {
            PreviewedPart::Lead => "leads",
            PreviewedPart::Designating => "designates",
            PreviewedPart::Supporting => "supports",
            PreviewedPart::Unspecified => "has a part",
        };
        let sees = match party.sees_content {
            true => tr("may read what the report says, for a purpose that is recorded"),
            false => tr("sees that there is a case, and not what the report says"),
        };
        let title = output::text(&party.agency_titles);
        field(part, format_args!("{}  {title}", id(&party.agency).style(strong())))?;
        field("", sees.style(dim()))?;
    }
    Ok(())
}

fn print_report(GetReportResponse { report, reading }: &GetReportResponse) -> anyhow::Result<()> {
    let report: &Report = &report.clone().unwrap_or_default();
    line(report.name.style(strong()))?;
    field("state", output::report_state(report.state()))?;
    field("accepted", output::time(report.accept_time.as_ref()))?;
    field("category", output::category(&report.category))?;
    for subject in &report.subjects {
        let kind = lower(SubjectKind::as_str_name(&subject.kind()), "SUBJECT_KIND_");
        let platform = match subject.platform.as_str() {
            "" => String::new(),
            platform => format!(" ({platform})"),
        };
        let port = match subject.port {
            0 => String::new(),
            port => format!(" port {port}"),
        };
        let observed = match subject.observe_time.as_ref() {
            None => String::new(),
            time => format!(", met {}", output::time(time)),
        };
        field(
            "subject",
            format_args!("{kind} {}{port}{platform}{observed}", subject.value),
        )?;
    }
    for place in &report.places {
        use api::intake::place::Location;
        let factor = output::factor_in_words(place.factor());
        let at = match &place.location {
            Some(Location::Territory(name)) => output::territory(id(name)),
            Some(Location::RegionCode(country)) => country.clone(),
            None => "-".to_owned(),
        };
        field("place", format_args!("{factor} {at}"))?;
    }
    if let Some(loss) = &report.loss {
        field(
            "loss",
            format_args!("{}, {}", amount(loss), output::time(loss.occur_time.as_ref())),
        )?;
    }
    for (path, value) in &report.details {
        field("detail", format_args!("{path} = {value}"))?;
    }
    if let Some(reporter) = &report.reporter {
        let relation = lower(reporter.relation().as_str_name(), "REPORTER_RELATION_");
        let parts = [
            reporter.display_name.as_str(),
            reporter.contact.as_str(),
            relation.as_str(),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        field("reporter", parts.join(", "))?;
    }
    if !report.complained_of.is_empty() {
        field("complains of", id(&report.complained_of))?;
    }
    for agency in &report.keep_from {
        field("keep from", id(agency))?;
    }
    for evidence in &report.evidence {
        field("evidence", evidence)?;
    }
    if !report.narrative.is_empty() {
        line("")?;
        line(&report.narrative)?;
    }
    for added in &report.supplements {
        print_supplement(added)?;
    }
    line("")?;
    field("recorded", tell("this reading, as {0}", &[reading]))?;
    Ok(())
}

/// Prints that something was added, and what follows.
fn print_added(time: Option<&prost_types::Timestamp>, notices: &[LocalizedText]) -> anyhow::Result<()> {
    field("recorded", output::time(time))?;
    line(output::text(notices))?;
    Ok(())
}

/// Prints what was added to a report later.
fn print_supplement(added: &Supplement) -> std::io::Result<()> {
    line("")?;
    let time = output::time(added.add_time.as_ref());
    let heading = match added.question_number {
        0 => tell("Added {0}", &[&time]),
        number => tell("Answer to question {0}, {1}", &[&number, &time]),
    };
    line(heading.style(strong()))?;
    let sender = match added.sender_agency.as_str() {
        "" => added.sender_system.clone(),
        agency => tell("{0} ({1})", &[&id(agency), &added.sender_system]),
    };
    let sender = match added.by_receipt {
        true => tell("{0}, by the receipt", &[&sender]),
        false => sender,
    };
    field("sent by", sender)?;
    if added.sender_excluded {
        field("note", tr("who sent this is excluded from the case"))?;
    }
    for evidence in &added.evidence {
        field("evidence", evidence)?;
    }
    match added.text.is_empty() {
        true => Ok(()),
        false => line(&added.text),
    }
}

fn print_reporter(response: &RevealReporterResponse) -> anyhow::Result<()> {
    let reporter = response.reporter.clone().unwrap_or_default();
    let or_nothing = |text: &str| match text {
        "" => tr("not given").style(dim()).to_string(),
        text => text.to_owned(),
    };
    field("name", or_nothing(&reporter.display_name))?;
    field("contact", or_nothing(&reporter.contact))?;
    field(
        "relation",
        lower(reporter.relation().as_str_name(), "REPORTER_RELATION_"),
    )?;
    if let Some(change) = &response.change {
        field(
            "recorded",
            tell(
                "{0} as event {1}",
                &[&output::time(change.change_time.as_ref()), &change.event_id],
            ),
        )?;
    }
    Ok(())
}

/// Formats `128000.00 CNY`; minor units if the currency is unknown.
fn amount(loss: &Loss) -> String {
    let Loss {
        currency_code: currency,
        minor_units,
        ..
    } = loss;
    match Currency::from_code(currency).map(Currency::exponent) {
        Some(Some(0)) => format!("{minor_units} {currency}"),
        Some(Some(digits)) => {
            let digits = usize::from(digits);
            let text = format!("{minor_units:0>width$}", width = digits + 1);
            let (whole, part) = text.split_at(text.len() - digits);
            format!("{whole}.{part} {currency}")
        }
        Some(None) | None => format!("{minor_units} minor units of {currency}"),
    }
}

fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_lowercase()
        .replace('_', " ")
}

/// One step of the report's case.
fn happened(step: &ReceiptStep) -> String {
    let mut said = format!("{}  {}", output::time(step.time.as_ref()), output::text(&step.titles));
    if !step.agency.is_empty() {
        said = format!("{said}: {}", output::text(&step.agency_titles));
    }
    if step.reason != 0 {
        said = tell("{0} ({1})", &[&said, &output::reason(step.reason())]);
    }
    if !step.text.is_empty() {
        said = format!("{said}: {}", step.text);
    }
    said
}

fn print_receipt(response: &CheckReceiptResponse) -> anyhow::Result<()> {
    field("state", output::report_state(response.state()).style(strong()))?;
    if !response.agency.is_empty() {
        field(
            "agency",
            format_args!("{} ({})", output::text(&response.agency_titles), id(&response.agency)),
        )?;
        let taken = if response.acknowledged {
            tr("has acknowledged it")
        } else {
            tr("has not acknowledged it yet")
        };
        field("", taken)?;
    }
    for step in &response.steps {
        field("step", happened(step))?;
    }
    if let Some(question) = &response.question {
        let by = output::time(question.answer_by_time.as_ref());
        let asked = tell("no. {0}, to be answered by {1}", &[&question.question_number, &by]);
        field("question", asked.style(strong()))?;
        field("", &question.text)?;
    }
    if let Some(advice) = &response.advice {
        field("advice", text_in(&advice.texts, "en"))?;
        field("", text_in(&advice.texts, "zh"))?;
    }
    if let Some(outcome) = &response.outcome {
        field("outcome", output::text(&outcome.summaries).style(strong()))?;
        field(
            "",
            tell(
                "{0} by {1}",
                &[&output::time(outcome.decide_time.as_ref()), &id(&outcome.agency)],
            ),
        )?;
        if !outcome.text.is_empty() {
            field("", &outcome.text)?;
        }
        field("remedies", output::text(&outcome.remedies))?;
    }
    if response.due_time.is_some() {
        let due = output::time(response.due_time.as_ref());
        match &response.outcome {
            Some(outcome) if outcome.reviewable => field("review until", due)?,
            Some(_) => field("closes", due)?,
            None => field("next by", due)?,
        }
    }
    if let Some(inquiry) = &response.inquiry {
        field("ask", text_in(&inquiry.texts, "en"))?;
        field("", text_in(&inquiry.texts, "zh"))?;
    }
    field("accepted", output::time(response.accept_time.as_ref()))?;
    field("as of", output::time(response.as_of_time.as_ref()))?;
    if response.outdated {
        field(
            "",
            tr("not current: more may have happened since, which has not arrived here"),
        )?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        for (minor_units, currency, expected) in [
            (12_800_000, "CNY", "128000.00 CNY"),
            (5, "CNY", "0.05 CNY"),
            (5, "JPY", "5 JPY"),
            (1_234, "KWD", "1.234 KWD"),
            (7, "???", "7 minor units of ???"),
        ] {
            let loss = Loss {
                currency_code: currency.to_owned(),
                minor_units,
                occur_time: None,
            };
            assert_eq!(amount(&loss), expected);
        }
    }
}
