//! `remit route`: explain, check, simulate and activate rule sets.
//!
//! `route/offline.rs` works without a server; `route/print.rs` prints.

mod offline;
mod print;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::routing::{
    ActivateRuleSetRequest, ApproveRuleSetRequest, CreateRuleSetRequest, ExplainRouteRequest, GetCaseRequest,
    GetRuleSetRequest, ListRuleSetsRequest, ListRuleSetsResponse, ReplayResult, ReplayRouteRequest, RouteDecision,
    RuleSet, SimulateRuleSetRequest, case_service_client::CaseServiceClient,
    rule_set_service_client::RuleSetServiceClient, simulate_rule_set_response::Update,
};
use clap::{Args, Subcommand};
use decision::directory::AgencyId;
use host::{config::Service, reference::shipped_rules};

use self::offline::{Data, Report};
use crate::{
    client::{Access, Failed, RoutingServer, Target},
    output::{self, Paint as _, Progress, bad, field, good, line},
};

/// Explain, check, simulate and activate rule sets
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
    /// Explain where a report would go, and why; or decide a file of facts
    ///
    /// REPORT contains remit.intake.v1.SubmitReportRequest in JSON, as for `remit report submit`.
    /// Decided by the server's rule set and directory, or, with --rules or --directory, by files or
    /// built-in data. A file of facts is always decided locally: each line is
    /// remit.routing.v1.Facts in JSON and gets one line of output. Of a case, shows how it was
    /// routed, as far as the caller may see it: agencies ask about their own, reports are for
    /// operators.
    #[command(after_help = "\
Examples:
  remit route explain report.json --received-by police-440000
  remit route explain cases/0d9f… --as police-510100
  remit route explain report.json --rules first-receiver
  remit route explain --facts facts.ndjson --rules rules.yaml --directory deploy/config --json")]
    Explain {
        /// The report; or the name of a case, `cases/{id}`
        #[arg(value_name = "REPORT", required_unless_present = "facts", conflicts_with = "facts")]
        report: Option<PathBuf>,
        /// File of facts, one per line
        #[arg(long, value_name = "FILE")]
        facts: Option<PathBuf>,
        /// The agency that received the report first
        #[arg(long, value_name = "AGENCY", conflicts_with = "facts")]
        received_by: Option<AgencyId>,
        /// Rule set: a file, or `ranked` or `first-receiver`
        #[arg(long, value_name = "RULES")]
        rules: Option<PathBuf>,
        /// Folder with agencies.yaml and, unless the built-in ones apply, territories.csv and
        /// categories.yaml
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Report errors in a rule set, and likely mistakes
    #[command(after_help = "Example:\n  remit route check rules.yaml --directory deploy/config")]
    Check {
        /// Rule set: a file, or `ranked` or `first-receiver`
        rules: PathBuf,
        /// Folder with agencies.yaml and, unless the built-in ones apply, territories.csv and
        /// categories.yaml
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Show what another rule set would change, for the stored cases or a file of facts
    ///
    /// Changes nothing. With stored cases, the rule set is compared with the one in force, and the
    /// simulation is recorded: `remit route activate` requires it. A file of facts is decided
    /// locally, without a server.
    #[command(after_help = "\
Examples:
  remit route simulate rules.yaml
  remit route simulate first-receiver --facts facts.ndjson --old ranked --summary")]
    Simulate {
        /// Rule set: a file, `ranked` or `first-receiver`, or the name of a stored one,
        /// `ruleSets/{digest}`
        rules: PathBuf,
        /// File of facts, one per line
        #[arg(long, value_name = "FILE")]
        facts: Option<PathBuf>,
        /// The rule set to compare with
        #[arg(long, value_name = "RULES", requires = "facts", default_value = "ranked")]
        old: PathBuf,
        /// Folder with agencies.yaml and, unless the built-in ones apply, territories.csv and
        /// categories.yaml
        #[arg(long, value_name = "DIR", requires = "facts")]
        directory: Option<PathBuf>,
        /// Omit the individual differences
        #[arg(long)]
        summary: bool,
    },
    /// Put the proposed rule set in force, as another officer than the one who proposed it
    #[command(after_help = "\
Examples:
  remit route approve ruleSets/5b1f… --dry-run
  remit route approve ruleSets/5b1f… --officer o-18 --as registry-office")]
    Approve {
        /// Its name, `ruleSets/{digest}`, as `remit route activate` printed it
        name: String,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Propose to put a rule set in force; existing cases keep their routes
    ///
    /// Another officer puts it in force. Until the first case is opened, one is enough, and it is
    /// in force at once.
    #[command(after_help = "\
Examples:
  remit route activate rules.yaml
  remit route activate ruleSets/5f0c… --without-simulation 'order of the ministry'")]
    Activate {
        /// Rule set: a file, `ranked` or `first-receiver`, or the name of a stored one,
        /// `ruleSets/{digest}`
        rules: PathBuf,
        /// Why it was not simulated first; logged
        #[arg(long, value_name = "REASON")]
        without_simulation: Option<String>,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Decide a stored case again and compare the result with what was stored and logged
    ///
    /// Exits with 0 if all agrees, 5 if something differs, 3 if the facts were erased.
    #[command(after_help = "Example:\n  remit route replay cases/0d9f…")]
    Replay {
        /// Name of the case, `cases/{id}`
        case: String,
        /// Of a case that was filed under other categories, the route with this number: 1 is the
        /// first
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        route: i32,
    },
    /// List the stored rule sets, newest first
    #[command(after_help = "Example:\n  remit route list")]
    List,
    /// Print a stored rule set as JSON
    #[command(after_help = "Example:\n  remit route show ruleSets/active")]
    Show {
        /// Its name, `ruleSets/{digest}`, or `ruleSets/active`
        #[arg(default_value = "ruleSets/active")]
        name: String,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let server = Server {
            access: &self.access,
            address: self.server.address(),
        };
        let json = self.access.json;
        match self.action {
            Action::Explain {
                report: Some(report),
                received_by,
                rules,
                directory,
                ..
            } => {
                if let Some(case) = report.to_str().filter(|name| name.starts_with("cases/")) {
                    if received_by.is_some() || rules.is_some() || directory.is_some() {
                        let message = "a case is explained as it was routed; the other options are for reports";
                        return Err(Failed::Usage(message.to_owned()).into());
                    }
                    return server.explain_case(case, json).await;
                }
                let report = Report::read(&report, received_by)?;
                let decision = match rules.is_some() || directory.is_some() {
                    true => report.decide(&Data::load(directory.as_deref())?, rules.as_deref())?,
                    false => server.explain(report).await?,
                };
                match json {
                    true => output::json(&decision),
                    false => print::decision(&decision),
                }
            }
            Action::Explain {
                facts,
                rules,
                directory,
                ..
            } => {
                let facts = facts.context("a report or a file of facts is needed")?;
                let data = Data::load(directory.as_deref())?;
                offline::explain(&facts, &data.rules(rules.as_deref())?, &data, json)
            }
            Action::Check { rules, directory } => {
                let findings = offline::check(&Data::load(directory.as_deref())?, &rules)?;
                print::findings(&findings, json)
            }
            Action::Simulate {
                rules,
                facts: Some(facts),
                old,
                directory,
                summary,
            } => {
                let data = Data::load(directory.as_deref())?;
                let (old, new) = (data.rules(Some(&old))?, data.rules(Some(&rules))?);
                offline::simulate(&facts, &old, &new, &data, print::Shown { json, summary })
            }
            Action::Simulate { rules, summary, .. } => {
                let name = server.name_of(&rules).await?;
                server.simulate(name, &print::Shown { json, summary }).await
            }
            Action::Activate {
                rules,
                without_simulation,
                request_id,
            } => {
                let request = ActivateRuleSetRequest {
                    name: server.name_of(&rules).await?,
                    override_reason: without_simulation.unwrap_or_default(),
                    request_id,
                };
                let (mut client, failed) = server.client()?;
                let answer = client.activate_rule_set(request).await;
                let answer = answer.map_err(|status| untried(failed(status), &rules))?.into_inner();
                if json {
                    return output::json(&answer);
                }
                let rule_set = answer.rule_set.unwrap_or_default();
                let state = if answer.proposed { "proposed" } else { "in force" };
                line(format_args!("{state}: {} ({})", rule_set.table_id, rule_set.name))?;
                if answer.proposed {
                    line(format_args!(
                        "another officer puts it in force, by another system's token: remit route approve {} --officer NAME --as SYSTEM",
                        rule_set.name
                    ))?;
                }
                Ok(())
            }
            Action::Approve {
                name,
                dry_run,
                request_id,
            } => {
                let request = ApproveRuleSetRequest {
                    name,
                    validate_only: dry_run,
                    request_id,
                };
                let (mut client, failed) = server.client()?;
                let answer = client.approve_rule_set(request).await.map_err(failed)?.into_inner();
                if json {
                    return output::json(&answer);
                }
                let difference = answer.difference.unwrap_or_default();
                for found in &difference.lines {
                    line(found)?;
                }
                let more = usize::try_from(difference.difference_count).unwrap_or(0);
                if more > difference.lines.len() {
                    line(format_args!("… and {} more", more - difference.lines.len()))?;
                    line(
                        "not all that differs is shown: compare the rule sets (`remit route show`) before it is in force",
                    )?;
                }
                if !answer.purpose.is_empty() {
                    line(&answer.purpose)?;
                }
                let rule_set = answer.rule_set.unwrap_or_default();
                let state = if dry_run { "proposed" } else { "in force" };
                line(format_args!(
                    "{state}: {} ({}), by {}",
                    rule_set.table_id, rule_set.name, answer.proposed_by
                ))?;
                Ok(())
            }
            Action::Replay { case, route } => server.replay(case, route, json).await,
            Action::List => server.list(json).await,
            Action::Show { name } => {
                let (mut client, failed) = server.client()?;
                let request = GetRuleSetRequest { name };
                output::json(&client.get_rule_set(request).await.map_err(failed)?.into_inner())
            }
        }
    }
}

/// The routing server and the caller.
struct Server<'a> {
    access: &'a Access,
    address: Option<&'a str>,
}

type Client = RuleSetServiceClient<rpc::client::Caller>;

impl Server<'_> {
    fn client(&self) -> anyhow::Result<(Client, impl Fn(tonic::Status) -> Failed + use<>)> {
        let target = self.access.target(Service::Routing, self.address)?;
        Ok(client(&target))
    }

    async fn explain(&self, report: Report) -> anyhow::Result<RouteDecision> {
        let target = self.access.target(Service::Routing, self.address)?;
        let (mut client, failed) = client(&target);
        let (facts, subjects) = report.facts_for(target.channel).await?;
        let request = ExplainRouteRequest {
            facts: Some(facts),
            subjects,
            ..ExplainRouteRequest::default()
        };
        let answer = client.explain_route(request).await.map_err(failed)?.into_inner();
        Ok(answer.decision.unwrap_or_default())
    }

    /// How a case was routed, as far as the caller may see it: what the case itself shows.
    async fn explain_case(&self, name: &str, json: bool) -> anyhow::Result<()> {
        let target = self.access.target(Service::Routing, self.address)?;
        let request = GetCaseRequest { name: name.to_owned() };
        let answer = CaseServiceClient::new(target.channel).get_case(request).await;
        let answer = answer.map_err(Failed::call(&target.address))?.into_inner();
        let case = answer.current_case.unwrap_or_default();
        match json {
            true => output::json(&case.explanation.unwrap_or_default()),
            false => output::case::route(&case),
        }
    }

    /// The name of a rule set on the server; one from a file is stored there first.
    async fn name_of(&self, rules: &Path) -> anyhow::Result<String> {
        if let Some(name) = rules.to_str().filter(|name| name.starts_with("ruleSets/")) {
            return Ok(name.to_owned());
        }
        let table = match shipped_rules(Some(rules)) {
            Ok((_, yaml)) => decision::rules::read_table(yaml)?,
            Err(path) => {
                let yaml = offline::text(path)?;
                decision::rules::read_table(&yaml).with_context(|| path.display().to_string())?
            }
        };
        let (mut client, failed) = self.client()?;
        let request = CreateRuleSetRequest {
            rule_set: Some(RuleSet {
                table: Some(table),
                ..RuleSet::default()
            }),
            ..CreateRuleSetRequest::default()
        };
        let answer = client.create_rule_set(request).await.map_err(failed)?.into_inner();
        for finding in &answer.findings {
            print::warning(finding);
        }
        Ok(answer.rule_set.unwrap_or_default().name)
    }

    async fn simulate(&self, name: String, shown: &print::Shown) -> anyhow::Result<()> {
        let target = self.access.stream(Service::Routing, self.address)?;
        let (mut client, failed) = client(&target);
        let request = SimulateRuleSetRequest { name: name.clone() };
        let mut events = client.simulate_rule_set(request).await.map_err(&failed)?.into_inner();
        let progress = Progress::new(shown.json);
        while let Some(message) = events.message().await.map_err(&failed)? {
            match message.update {
                Some(Update::Difference(difference)) => {
                    progress.clear();
                    print::difference(&difference, shown)?;
                }
                Some(Update::Progress(far)) => {
                    progress.show(format_args!(
                        "{} cases, {} differ",
                        far.decided_count, far.different_count
                    ));
                }
                Some(Update::Summary(summary)) => {
                    progress.clear();
                    print::summary(&summary, shown)?;
                    if !shown.json {
                        let next = format!("put it in force with `remit route activate {name}`");
                        line(next.style(output::dim()))?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn replay(&self, name: String, route_number: i32, json: bool) -> anyhow::Result<()> {
        let (mut client, failed) = self.client()?;
        let request = ReplayRouteRequest {
            name: name.clone(),
            route_number,
        };
        let answer = client.replay_route(request).await.map_err(failed)?.into_inner();
        if json {
            output::json(&answer)?;
        } else {
            for check in &answer.checks {
                let verdict = match check.agrees {
                    true => format!("{}", "agrees".style(good())),
                    false => format!("{}", "DIFFERS".style(bad())),
                };
                field(&check.subject, format_args!("{verdict}: {}", check.detail))?;
            }
        }
        match answer.result() {
            ReplayResult::Agrees if json => Ok(()),
            ReplayResult::Agrees => Ok(line(format_args!("{name} was decided again: everything agrees"))?),
            ReplayResult::Erased => {
                let message = format!("the facts of {name} were erased: it cannot be decided again");
                Err(Failed::NotFound(message).into())
            }
            _ => Err(Failed::Unverified(format!("{name} was decided again: something differs")).into()),
        }
    }

    async fn list(&self, json: bool) -> anyhow::Result<()> {
        let (mut client, failed) = self.client()?;
        let mut all = ListRuleSetsResponse::default();
        loop {
            let request = ListRuleSetsRequest {
                page_token: std::mem::take(&mut all.next_page_token),
                ..ListRuleSetsRequest::default()
            };
            let page = client.list_rule_sets(request).await.map_err(&failed)?.into_inner();
            all.rule_sets.extend(page.rule_sets);
            all.next_page_token = page.next_page_token;
            if all.next_page_token.is_empty() {
                break;
            }
        }
        if json {
            return output::json(&all);
        }
        for rule_set in &all.rule_sets {
            let force = if rule_set.active { "in force" } else { "" };
            let time = output::time(rule_set.create_time.as_ref());
            line(format_args!(
                "{}  {time}  {:<20} {force}",
                rule_set.name, rule_set.table_id
            ))?;
        }
        Ok(())
    }
}

/// Explains what to do about a rule set that cannot be activated without a simulation.
fn untried(failed: Failed, rules: &Path) -> anyhow::Error {
    let untried = matches!(&failed, Failed::Refused(status) if status.code() == tonic::Code::FailedPrecondition);
    let error = anyhow::Error::new(failed);
    match untried {
        true => error.context(format!(
            "not activated: simulate it with `remit route simulate {}`, or give a reason with --without-simulation",
            rules.display()
        )),
        false => error,
    }
}

fn client(target: &Target) -> (Client, impl Fn(tonic::Status) -> Failed + use<>) {
    let address = target.address.clone();
    (RuleSetServiceClient::new(target.channel.clone()), move |status| {
        Failed::call(&address)(status)
    })
}
