//! `remit demo`: submits the example stories, waits until each is routed and logged, goes on with
//! some of their cases, and verifies the log.

mod story;
mod then;

use std::{collections::HashMap, path::PathBuf, time::Duration};

use anyhow::Context as _;
use api::{
    intake::{
        CheckReceiptRequest, CheckReceiptResponse, ReportState, SubmitReportRequest,
        intake_service_client::IntakeServiceClient,
    },
    routing::{
        Case, GetCaseRequest, ListCasesRequest, LoadMode, OperatorFormat, OperatorsSpec,
        case_service_client::CaseServiceClient,
    },
};
use clap::Args;
use host::config::Service;
use journal::{Clock as _, SystemClock, SystemEntropy, ordered_id};
use tokio::time::Instant;

use super::{
    operator,
    proof::{self, Logged, Proven},
    report::parse_request,
    serve::{self, All},
};
use crate::{
    client::{Access, Failed, Target},
    examples::{self, Example},
    output::{self, Paint as _, Progress, bad, dim, id, line, strong},
};

/// Show Remit at work: submit the example stories and check the outcome of each
///
/// Loads the example operators into the register, submits every example report with its sender's
/// token, waits until it is routed and recorded in the log, and prints its route with the reasons;
/// of some, also what their agencies then do.
/// Then verifies with the log's key that the log contains each change. Fails if an example is
/// routed differently than expected. May be repeated: each run submits new reports.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  remit demo --serve                          start everything, show it, and go on serving
  remit demo                                  against an instance that runs in ./data
  remit demo --data-dir /var/lib/remit")]
pub struct Command {
    /// Start all three services in this process first, and keep serving
    #[arg(long)]
    serve: bool,
    /// Folder with index.yaml and examples to submit instead of the built-in ones
    #[arg(long, value_name = "DIR")]
    examples: Option<PathBuf>,
    #[command(flatten)]
    all: All,
}

/// Time limit for one report, from submission to proof.
const PATIENCE: Duration = Duration::from_secs(30);

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let quiet = !self.all.says_what_is_logged();
        let mut config = self.all.load()?;
        if !self.serve {
            return Demo::new(Access::local(config.data_dir), self.examples).run().await;
        }
        if quiet {
            // Keeps routine log lines out of the demo's output.
            config.telemetry.filter = "warn".to_owned();
        }
        serve::with_telemetry(&config.telemetry.clone(), async move {
            let instance = serve::start(config).await?;
            let signals = serve::Signals::new()?;
            serve::announce(&instance)?;
            let demo = Demo::new(Access::local(instance.layout().folder().to_owned()), self.examples);
            serve::until_interrupted(instance, signals, async {
                let shown = demo.run().await;
                if let Err(error) = &shown {
                    output::error(error);
                }
                let _ = line("");
                let _ = line(format_args!(
                    "Still serving. {}",
                    "Interrupt (Ctrl-C) to stop.".style(dim())
                ));
                shown.map_err(|_| Failed::Told.into())
            })
            .await
        })
        .await
    }
}

struct Demo {
    access: Access,
    examples: Option<PathBuf>,
}

/// A submitted example.
struct Sent {
    example: Example,
    report: String,
    receipt: String,
    /// Whether the answer is that of an earlier submission.
    repeated: bool,
}

/// The outcome of a submission.
struct StoryResult {
    answer: CheckReceiptResponse,
    proven: Vec<Proven>,
    case: Option<Case>,
}

#[derive(Default)]
struct Tally {
    reports: usize,
    repeats: usize,
    led: usize,
    advised: usize,
    proofs: usize,
    faults: usize,
}

impl Demo {
    fn new(access: Access, examples: Option<PathBuf>) -> Self {
        Self { access, examples }
    }

    async fn run(&self) -> anyhow::Result<()> {
        // Fails first if no server is running, before anything else can be missing.
        self.access.target(Service::Intake, None)?;
        let vkey = self.access.vkey(None)?;
        let vkey = vkey.context("the data directory has no log key")?;
        let examples = examples::list(self.examples.as_deref())?;
        line(format_args!(
            "{}\n{}",
            format!("Submitting {} examples, each with its sender's token.", examples.len()).style(strong()),
            "All persons, accounts and companies are fictitious.".style(dim())
        ))?;
        self.load_operators().await?;
        let sent = self.send(examples).await?;
        let mut tally = Tally::default();
        let mut last = None;
        for sent in &sent {
            let progress = Progress::new(false);
            progress.show("waiting for the route and the log …");
            let outcome = self.follow(sent, &vkey).await;
            progress.clear();
            let outcome = outcome.with_context(|| format!("story {}, {}", sent.example.story, sent.report))?;
            story::print(sent, &outcome, &mut tally)?;
            if let Some(case) = outcome
                .case
                .as_ref()
                .filter(|_| !sent.repeated && self.examples.is_none())
            {
                let then = self.then(sent, case, &vkey).await;
                tally.proofs += then.with_context(|| format!("story {}, {}", sent.example.story, case.name))?;
            }
            last = outcome.case.or(last);
        }
        self.sum_up(&tally, sent.first(), last.as_ref())
    }

    /// Loads the register that the examples need. Other names stay unchanged, and loading it again
    /// changes nothing.
    async fn load_operators(&self) -> anyhow::Result<()> {
        let own = self.examples.as_ref().map(|folder| folder.join(examples::OPERATORS));
        if own.is_some_and(|file| !file.exists()) {
            return Ok(());
        }
        let text = examples::text(self.examples.as_deref(), examples::OPERATORS)?.into_owned();
        let file = operator::File {
            name: examples::OPERATORS.to_owned(),
            size: text.len() as u64,
            content: Box::pin(std::io::Cursor::new(text)),
        };
        let spec = OperatorsSpec {
            format: OperatorFormat::Csv.into(),
            mode: LoadMode::Change.into(),
            ..OperatorsSpec::default()
        };
        let routing = self.access.stream(Service::Routing, None)?;
        let result = operator::load(&routing, spec, file, false).await?;
        let version = result.version.unwrap_or_default();
        line(
            format_args!(
                "The operator register is at version {}, with {} entries.",
                version.version, version.entry_count
            )
            .style(dim()),
        )?;
        Ok(())
    }

    /// Submits all examples in order. Examples with the same request id share one here, too.
    async fn send(&self, examples: Vec<Example>) -> anyhow::Result<Vec<Sent>> {
        let mut request_ids: HashMap<String, String> = HashMap::new();
        let mut sent: Vec<Sent> = Vec::with_capacity(examples.len());
        for example in examples {
            let mut request = parse_request(&example.file, &examples::text(self.examples.as_deref(), &example.file)?)?;
            request.request_id = request_ids
                .entry(request.request_id)
                .or_insert_with(|| ordered_id(SystemClock.now(), &SystemEntropy).to_string())
                .clone();
            if example.story == 1 {
                lose_two_hours_ago(&mut request);
            }
            let intake = self.access.of(&example.sender).target(Service::Intake, None)?;
            let response = IntakeServiceClient::new(intake.channel)
                .submit_report(request)
                .await
                .map_err(Failed::call(&intake.address))
                .with_context(|| example.file.clone())?
                .into_inner();
            let report = response.report.unwrap_or_default().name;
            let repeated = sent.iter().any(|earlier| earlier.report == report);
            sent.push(Sent {
                example,
                report,
                receipt: response.receipt,
                repeated,
            });
        }
        Ok(sent)
    }

    /// Waits until all changes of a report are in the log, and verifies their proofs.
    async fn follow(&self, sent: &Sent, vkey: &str) -> anyhow::Result<StoryResult> {
        // With the operator's token: a sender that the report complains about does not see the
        // outcome.
        let intake = self.access.target(Service::Intake, None)?;
        let audit = self.access.target(Service::Audit, None)?;
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(20);
        loop {
            let request = CheckReceiptRequest {
                receipt: sent.receipt.clone(),
            };
            let answer = IntakeServiceClient::new(intake.channel.clone())
                .check_receipt(request)
                .await
                .map_err(Failed::call(&intake.address))?
                .into_inner();
            let decided = answer.state() != ReportState::Accepted;
            if decided
                && answer.changes.iter().all(|change| change.logged)
                && let Some(proven) = prove(&audit, vkey, &answer).await?
            {
                let case = self.find_case(&answer, &sent.report).await?;
                return Ok(StoryResult { answer, proven, case });
            }
            if Instant::now() >= deadline {
                let waited = PATIENCE.as_secs();
                let what = if decided {
                    "not all of it is in the log"
                } else {
                    "it is not routed"
                };
                anyhow::bail!("after {waited} s {what}");
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// The case of a report, as its lead agency sees it.
    async fn find_case(&self, answer: &CheckReceiptResponse, report: &str) -> anyhow::Result<Option<Case>> {
        if answer.agency.is_empty() {
            return Ok(None);
        }
        let routing = self.access.of(id(&answer.agency)).target(Service::Routing, None)?;
        let mut client = CaseServiceClient::new(routing.channel.clone());
        let mut page_token = String::new();
        loop {
            let request = ListCasesRequest {
                page_size: 1_000,
                page_token,
                ..ListCasesRequest::default()
            };
            let page = client
                .list_cases(request)
                .await
                .map_err(Failed::call(&routing.address))?
                .into_inner();
            if let Some(case) = page
                .cases
                .into_iter()
                .find(|case| case.reports.iter().any(|name| name == report))
            {
                let request = GetCaseRequest { name: case.name };
                let response = client.get_case(request).await.map_err(Failed::call(&routing.address))?;
                return Ok(response.into_inner().current_case);
            }
            if page.next_page_token.is_empty() {
                return Ok(None);
            }
            page_token = page.next_page_token;
        }
    }

    fn sum_up(&self, tally: &Tally, first: Option<&Sent>, case: Option<&Case>) -> anyhow::Result<()> {
        let Tally {
            reports,
            repeats,
            led,
            advised,
            proofs,
            faults,
        } = tally;
        line("")?;
        line(format_args!(
            "{} {led} with the agency that should have them, {advised} answered with advice, {repeats} recognised as repeated.",
            format!("{reports} reports:").style(strong())
        ))?;
        line(format_args!(
            "{proofs} proofs verified with the log's key, none failed."
        ))?;
        line("")?;
        let (remit, data_dir) = (serve::own_name(), serve::data_dir_flag(&self.access.data_dir()?));
        line("Next:")?;
        if let Some(sent) = first {
            line(format_args!("  {remit} report receipt {}{data_dir}", sent.receipt))?;
        }
        if let Some(case) = case {
            line(format_args!(
                "  {remit} case show {} --as {}{data_dir}",
                case.name,
                id(&case.lead)
            ))?;
        }
        line(format_args!("  {remit} log verify{data_dir}"))?;
        if *faults > 0 {
            line("")?;
            line(format!("{faults} were not routed as expected").style(bad()))?;
            return Err(Failed::Told.into());
        }
        Ok(())
    }
}

/// Proofs of all changes; `None` while the log is still behind.
async fn prove(audit: &Target, vkey: &str, answer: &CheckReceiptResponse) -> anyhow::Result<Option<Vec<Proven>>> {
    let mut proven = Vec::with_capacity(answer.changes.len());
    for change in &answer.changes {
        match proof::check(audit, vkey, change).await? {
            Logged::Proven(found) => proven.push(found),
            Logged::NotYet => return Ok(None),
            Logged::Wrong(fault) => {
                return Err(Failed::Unverified(format!("proof of {}: {fault}", change.kind)).into());
            }
        }
    }
    Ok(Some(proven))
}

/// Sets the first story's loss to two hours ago.
fn lose_two_hours_ago(request: &mut SubmitReportRequest) {
    let now = SystemClock.now();
    let lost = journal::Time(now.0 - now.0 % 1_000_000).plus_seconds(-2 * 60 * 60);
    let Some(report) = &mut request.report else { return };
    if let Some(loss) = &mut report.loss {
        loss.occur_time = Some(lost.to_proto());
    }
    if let Some(paid_at) = report.details.get_mut("payment.paid_at") {
        *paid_at = lost.to_string();
    }
}
