//! Use cases of rule sets: create, check, simulate and activate them; explain and replay routes. No
//! transport.
//!
//! For operators. A replay is also for callers that see the case.

use std::sync::Arc;

use api::routing::{
    ActivateRuleSetRequest, ActivateRuleSetResponse, ApproveRuleSetRequest, ApproveRuleSetResponse,
    CheckRuleSetRequest, CreateRuleSetRequest, CreateRuleSetResponse, ExplainRouteRequest, Facts, ListRuleSetsRequest,
    ListRuleSetsResponse, ReplayResult, ReplayRouteRequest, ReplayRouteResponse, RouteDecision, RuleFinding, RuleTable,
    SimulateRuleSetResponse, SimulationProgress, check_rule_set_request::Target, simulate_rule_set_response::Update,
};
use data_encoding::HEXLOWER;
use decision::{
    decide::{decide, rule, without_excluded},
    facts::Situation,
    rules::{
        Finding, RuleSet, Severity, Taxonomy,
        check::{check, check_table},
    },
    simulate::{Simulation, difference},
};
use journal::{Bytes32, Clock, Time};
use names::Id as _;
use prost::Message as _;
use rpc::{Failure, Identity, Violation, Violations, page};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    active::{Active, VersionKind},
    case::{self, Sight},
    cases::party,
    completion::{self, Completion},
    differences, replay,
    store::{
        self, Simulations, Store, Versions,
        simulations::Trial,
        versions::{Activation, Created, NewVersion, Request, VersionInfo},
    },
    switching::{self, Asked, Outcome, Switching},
};

/// Number of cases per read.
const PAGE: u32 = 500;
/// Messages buffered for a slow reader; then the simulation waits.
const AHEAD: usize = 64;
/// Id that stands for the active rule set.
const ACTIVE: &str = "active";

/// The use cases of `RuleSetService`.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) completion: Completion,
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) simulations: Arc<dyn Simulations>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) taxonomy: Arc<Taxonomy>,
    pub(crate) switching: Switching,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: page::Tokens,
    pub(crate) shutdown: CancellationToken,
}

impl Service {
    pub(crate) async fn create(
        &self,
        caller: &Identity,
        request: CreateRuleSetRequest,
    ) -> Result<CreateRuleSetResponse, Failure> {
        let table = request.rule_set.and_then(|rule_set| rule_set.table);
        let table = table.ok_or_else(|| Failure::invalid("rule_set.table", "is missing"))?;
        let id = rpc::request_id(caller, "CreateRuleSet", &request.request_id, &table.encode_to_vec())?;
        let id = id.filter(|_| !request.validate_only);
        if let Some(id) = &id
            && let Some(earlier) = self.versions.earlier(id).await?
        {
            return rpc::first_answer(&earlier);
        }
        let active = self.versions.active();
        let findings = check_table(table.clone(), &active.directory, &self.taxonomy);
        let errors: Vec<_> = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| Violation::new(field(finding), &finding.message))
            .collect();
        if !errors.is_empty() {
            return Err(Failure::InvalidInput(errors));
        }
        let rules = RuleSet::from_table(table, &active.directory).map_err(unexpected)?;
        let mut kept = api::routing::RuleSet {
            active: rules.digest() == active.rules.digest(),
            ..outline(&rules.digest(), rules.id())
        };
        kept.table = Some(rules.to_table());
        let now = self.clock.now();
        if !request.validate_only {
            kept.create_time = Some(now.to_proto());
        }
        let response = CreateRuleSetResponse {
            rule_set: Some(kept),
            findings: findings.iter().map(Finding::to_proto).collect(),
        };
        if request.validate_only {
            return Ok(response);
        }
        let answer = response.encode_to_vec();
        let version = NewVersion {
            actor: caller.actor(&rules.digest()),
            proposed: Active::new(Arc::clone(&active.directory), Arc::new(rules)),
            kind: VersionKind::RuleSet,
            traceparent: telemetry::traceparent(),
            request: id.map(|id| Request {
                id,
                done: answer.clone(),
                unchanged: answer,
                proposed: Vec::new(),
            }),
        };
        let writer = &self.switching.writer;
        let created = writer.write(&self.versions, |versions| async move {
            versions.create(&version, now).await
        });
        match created.await? {
            Created::Done | Created::Unchanged => Ok(response),
            Created::Earlier(earlier) => rpc::first_answer(&earlier),
        }
    }

    /// The rule set with a name, read against the active directory.
    async fn named(&self, field: &str, name: &str, active: &Active) -> Result<Arc<RuleSet>, Failure> {
        if names::Collection::RULE_SETS.id(name) == Some(ACTIVE) {
            return Ok(Arc::clone(&active.rules));
        }
        let digest = digest_of(name).ok_or_else(|| Failure::invalid(field, NAME))?;
        if digest == active.rules.digest() {
            return Ok(Arc::clone(&active.rules));
        }
        let found = self.versions.rule_set(&digest, &active.directory).await?;
        found.map(Arc::new).ok_or(Failure::NotFound { what: "rule set" })
    }

    pub(crate) async fn get(&self, name: &str) -> Result<api::routing::RuleSet, Failure> {
        let active = self.versions.active();
        let rules = self.named("name", name, &active).await?;
        Ok(api::routing::RuleSet {
            table: Some(rules.to_table()),
            active: rules.digest() == active.rules.digest(),
            ..outline(&rules.digest(), rules.id())
        })
    }

    pub(crate) async fn list(&self, request: &ListRuleSetsRequest) -> Result<ListRuleSetsResponse, Failure> {
        const FILTER: &str = "ListRuleSets";
        let seal = self.tokens.seal().await?;
        let size = page::size(request.page_size)?;
        let after = seal.position(FILTER, &request.page_token, cursor)?;
        let mut found = self.versions.versions(VersionKind::RuleSet, after, size + 1).await?;
        let next_page_token = seal.cut(&mut found, size, FILTER, |last| {
            format!("{}/{}", last.create_time.0, HEXLOWER.encode(&last.digest))
        });
        let active = self.versions.active().rules.digest();
        let mut rule_sets = Vec::with_capacity(found.len());
        for version in found {
            rule_sets.push(self.listed(&version, active).await?);
        }
        Ok(ListRuleSetsResponse {
            rule_sets,
            next_page_token,
        })
    }

    async fn listed(&self, version: &VersionInfo, active: Bytes32) -> Result<api::routing::RuleSet, Failure> {
        let source = self.versions.source(VersionKind::RuleSet, &version.digest).await?;
        let table = RuleTable::decode(source.unwrap_or_default().as_slice()).map_err(unexpected)?;
        Ok(api::routing::RuleSet {
            active: version.digest == active,
            create_time: Some(version.create_time.to_proto()),
            ..outline(&version.digest, &table.id)
        })
    }

    pub(crate) async fn check(&self, request: CheckRuleSetRequest) -> Result<Vec<RuleFinding>, Failure> {
        let active = self.versions.active();
        let findings = match request.target {
            None => {
                return Err(Failure::invalid(
                    "target",
                    "is missing: send a table, or name a rule set",
                ));
            }
            Some(Target::Table(table)) => check_table(table, &active.directory, &self.taxonomy),
            Some(Target::Name(name)) => {
                let rules = self.named("name", &name, &active).await?;
                check(&rules, &active.directory, &self.taxonomy)
            }
        };
        Ok(findings.iter().map(Finding::to_proto).collect())
    }

    pub(crate) async fn explain(&self, request: ExplainRouteRequest) -> Result<RouteDecision, Failure> {
        let facts = request.facts.ok_or_else(|| Failure::invalid("facts", "is missing"))?;
        checked(&facts)?;
        let active = self.versions.active();
        let completed = self
            .completion
            .preview(facts, request.subjects, &active.directory)
            .await?;
        let facts = completed.map_err(|outcome| Failure::invalid("facts.excluded", completion::refused(outcome)))?;
        let rules = match request.rule_set.as_str() {
            "" => Arc::clone(&active.rules),
            name => self.named("rule_set", name, &active).await?,
        };
        let situation = Situation::from(&facts);
        Ok(rule(&situation, &rules, &active.directory).to_proto())
    }

    pub(crate) async fn simulate(
        &self,
        caller: &Identity,
        name: &str,
        names_cases: bool,
    ) -> Result<mpsc::Receiver<SimulationMessage>, Failure> {
        let active = self.versions.active();
        let proposed = self.named("name", name, &active).await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (service, system) = (self.clone(), caller.system.clone());
        tokio::spawn(async move {
            let ended = tokio::select! {
                () = service.shutdown.cancelled() => Err(Stopped::Failed(Failure::Unavailable { what: "routing" })),
                // The caller has gone: the simulation is not recorded.
                () = sender.closed() => return,
                ended = service.run((&active, &proposed), (&system, names_cases), &sender) => ended,
            };
            if let Err(Stopped::Failed(failure)) = ended {
                let _ = sender.send(Err(failure)).await;
            }
        });
        Ok(receiver)
    }

    /// Decides all cases by both rule sets, sends the differences to a caller that may learn which
    /// cases they are of, and numbers to any, and records the simulation.
    async fn run(
        &self,
        (active, proposed): (&Active, &RuleSet),
        (system, names_cases): (&str, bool),
        sender: &mpsc::Sender<SimulationMessage>,
    ) -> Result<(), Stopped> {
        let send = async |update: Update| {
            let sent = sender.send(Ok(SimulateRuleSetResponse { update: Some(update) })).await;
            sent.map_err(|_| Stopped::Abandoned)
        };
        let mut simulation = Simulation::new(&active.rules, proposed, &active.directory);
        let mut after = None;
        loop {
            let page = self.simulations.case_facts(after, PAGE).await.map_err(Failure::from)?;
            for case in &page {
                let Some(facts) = &case.facts else {
                    simulation.erased();
                    continue;
                };
                let differs = simulation.compare(&Situation::from(facts), difference);
                if let Some(mut differs) = differs.filter(|_| names_cases) {
                    differs.case_name = store::name(case.case);
                    send(Update::Difference(differs)).await?;
                }
            }
            let Some(last) = page.last() else { break };
            after = Some(last.case);
            let progress = SimulationProgress {
                decided_count: i64::try_from(simulation.decided()).unwrap_or(i64::MAX),
                different_count: i64::try_from(simulation.different()).unwrap_or(i64::MAX),
            };
            send(Update::Progress(progress)).await?;
        }
        let trial = trial(proposed.digest(), active);
        let (decided, different) = (simulation.decided(), simulation.different());
        self.simulations
            .finish_simulation(&trial, decided, different, system, self.clock.now())
            .await
            .map_err(Failure::from)?;
        send(Update::Summary(simulation.summary())).await
    }

    pub(crate) async fn activate(
        &self,
        caller: &Identity,
        request: &ActivateRuleSetRequest,
    ) -> Result<ActivateRuleSetResponse, Failure> {
        let reason = request.override_reason.trim();
        if reason.chars().count() > REASON {
            return Err(Failure::invalid(
                "override_reason",
                format!("has more than {REASON} characters"),
            ));
        }
        let content = [request.name.as_str(), reason].join("\0");
        let content = switching::content(caller, content.as_bytes());
        let id = rpc::request_id(caller, "ActivateRuleSet", &request.request_id, &content)?;
        let propose = |active: Arc<Active>| async move {
            let rules = self.named("name", &request.name, &active).await?;
            let trial = trial(rules.digest(), &active);
            let unchanged = trial.proposed == trial.against;
            if reason.is_empty() && !unchanged && !self.simulations.was_simulated(&trial).await? {
                return Err(Failure::WrongState {
                    record: name_of(&rules.digest()),
                    state: "NOT_SIMULATED",
                    description:
                        "no finished simulation compares it with the active rule set over the active directory: \
                                  run SimulateRuleSet to its end, or say in override_reason why not"
                            .to_owned(),
                });
            }
            let activation = Activation {
                next: Active::new(Arc::clone(&active.directory), Arc::clone(&rules)),
                seen: active.digests(),
                hand: switching::first(caller),
                difference: differences::of_rules(&rules.to_table(), &active.rules.to_table()),
                purpose: match reason {
                    "" => String::new(),
                    reason => format!("without a simulation: {reason}"),
                },
                actor: caller.actor(&rules.digest()),
                traceparent: telemetry::traceparent(),
                request: None,
            };
            let response = ActivateRuleSetResponse {
                rule_set: Some(outline(&rules.digest(), rules.id())),
                proposed: false,
            };
            Ok((activation, response))
        };
        let tell = |mut response: ActivateRuleSetResponse, outcome| {
            response.proposed = outcome == Outcome::Proposed;
            if let Some(rule_set) = &mut response.rule_set {
                rule_set.active = outcome != Outcome::Proposed;
            }
            response
        };
        let asked = Asked {
            kind: VersionKind::RuleSet,
            request: id,
            caller,
            names_cases: false,
        };
        self.switching.switch(asked, propose, tell).await
    }

    /// Puts the proposed rule set in force, as the second of two people, or shows what would become
    /// of that.
    pub(crate) async fn approve(
        &self,
        caller: &Identity,
        request: &ApproveRuleSetRequest,
    ) -> Result<ApproveRuleSetResponse, Failure> {
        let wanted = digest_of(&request.name).ok_or_else(|| Failure::invalid("name", DIGEST_NAME))?;
        let content = switching::content(caller, request.name.as_bytes());
        let id = rpc::request_id(caller, "ApproveRuleSet", &request.request_id, &content)?;
        let id = id.filter(|_| !request.validate_only);
        let hand = switching::second(caller, request.validate_only)?;
        let propose = |active: Arc<Active>| {
            let hand = hand.clone();
            async move {
                let kind = VersionKind::RuleSet;
                let proposal = self.switching.proposal(kind, Some(wanted)).await?;
                let rules = self.named("name", &request.name, &active).await?;
                let difference = differences::of_rules(&rules.to_table(), &active.rules.to_table());
                let activation = Activation {
                    next: Active::new(Arc::clone(&active.directory), Arc::clone(&rules)),
                    seen: active.digests(),
                    hand,
                    difference: difference.clone(),
                    purpose: String::new(),
                    actor: caller.actor(&rules.digest()),
                    traceparent: telemetry::traceparent(),
                    request: None,
                };
                let response = ApproveRuleSetResponse {
                    rule_set: Some(outline(&rules.digest(), rules.id())),
                    difference: Some(difference),
                    proposed_by: proposal.by.system,
                    purpose: proposal.purpose,
                    propose_time: Some(proposal.propose_time.to_proto()),
                };
                Ok((activation, response))
            }
        };
        let tell = |mut response: ApproveRuleSetResponse, outcome| {
            if let Some(rule_set) = &mut response.rule_set {
                rule_set.active = outcome != Outcome::Approvable;
            }
            response
        };
        let asked = Asked {
            kind: VersionKind::RuleSet,
            request: id,
            caller,
            names_cases: false,
        };
        self.switching.switch(asked, propose, tell).await
    }

    /// Decides the route of a case again, for a caller that sees the case.
    pub(crate) async fn replay(
        &self,
        caller: &Identity,
        request: &ReplayRouteRequest,
    ) -> Result<ReplayRouteResponse, Failure> {
        let viewer = &party(caller)?;
        let name = &request.name;
        let mut violations = Violations::new();
        let id = violations.name("name", names::CASE, name);
        let id = violations.finish(|| id)?;
        let not_found = || Failure::NotFound { what: "case" };
        let stored = self.store.case(id, viewer).await?.ok_or_else(not_found)?;
        let routes = stored.case.course.former_categories.len() + 1;
        let number = usize::try_from(request.route_number)
            .ok()
            .filter(|number| *number <= routes);
        let Some(number) = number else {
            let description = format!("is no number of a route: the case has {routes}, counted from 1");
            return Err(Failure::invalid("route_number", description));
        };
        let former = u32::try_from(number).ok().filter(|_| number > 0 && number < routes);
        let routed = self.simulations.routed(id, former).await?.ok_or_else(|| {
            tracing::error!(case = name, "the change that routed a case is missing");
            Failure::Damaged { record: name.clone() }
        })?;
        let Some(facts) = &routed.facts else {
            return Ok(ReplayRouteResponse {
                result: ReplayResult::Erased.into(),
                ..Default::default()
            });
        };
        let explanation = &routed.explanation;
        let kept = async {
            let directory = self.versions.directory(&explanation.directory_digest).await?;
            let Some(directory) = directory else { return Ok(None) };
            let rules = self.versions.rule_set(&explanation.rule_set_digest, &directory).await?;
            Ok::<_, Failure>(rules.map(|rules| (directory, rules)))
        };
        let Some((directory, rules)) = kept.await? else {
            let missing = api::routing::ReplayCheck {
                subject: "versions".to_owned(),
                agrees: false,
                detail: "the directory or the rule set of the explanation is not stored here".to_owned(),
            };
            return Ok(ReplayRouteResponse {
                result: ReplayResult::Differs.into(),
                checks: vec![missing],
                decision: None,
            });
        };
        let (result, checks) = replay::replay(&routed, facts, &decide(facts, &rules, &directory));
        let situation = Situation::from(facts);
        let mut decision = rule(&situation, &rules, &directory).to_proto();
        if !case::sees(
            &stored.case,
            viewer,
            &self.versions.active().directory,
            Sight::Exclusions,
        ) {
            decision.explanation = decision.explanation.map(without_excluded);
        }
        Ok(ReplayRouteResponse {
            result: result.into(),
            checks,
            decision: Some(decision),
        })
    }
}

/// A message of a simulation.
pub(crate) type SimulationMessage = Result<SimulateRuleSetResponse, Failure>;

/// Why a simulation stopped early.
enum Stopped {
    /// The caller has gone.
    Abandoned,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

const NAME: &str = "must be the name of a rule set, such as `ruleSets/{digest}`, or `ruleSets/active`";

const DIGEST_NAME: &str = "must be the name of a rule set, `ruleSets/{digest}`, as `ActivateRuleSet` returned it";

/// Maximum number of characters of a reason.
const REASON: usize = 500;

fn trial(proposed: Bytes32, active: &Active) -> Trial {
    Trial {
        proposed,
        against: active.rules.digest(),
        directory: active.directory.digest(),
    }
}

/// Refuses facts with names that cannot be read. A stored decision skips such and says so.
fn checked(facts: &Facts) -> Result<(), Failure> {
    let mut violations = Violations::new();
    let categories = names::Collection::CATEGORIES;
    violations.check("facts.category", categories.id(&facts.category), categories.fault());
    for (field, name) in [
        ("facts.received_by", &facts.received_by),
        ("facts.complained_of", &facts.complained_of),
    ] {
        if !name.is_empty() {
            violations.name(field, names::AGENCY, name);
        }
    }
    for (at, name) in facts.excluded.iter().enumerate() {
        violations.name(format_args!("facts.excluded[{at}]"), names::AGENCY, name);
    }
    Ok(violations.finish(|| Some(()))?)
}

/// The path in the request that a finding is about.
fn field(finding: &Finding) -> String {
    match (finding.row.as_str(), finding.column.as_str()) {
        ("", column) => format!("rule_set.table.{column}"),
        (row, "") => format!("rule_set.table.rows[{row}]"),
        (row, column) => format!("rule_set.table.rows[{row}].{column}"),
    }
}

fn outline(digest: &Bytes32, table_id: &str) -> api::routing::RuleSet {
    api::routing::RuleSet {
        name: name_of(digest),
        digest: digest.to_vec().into(),
        table_id: table_id.to_owned(),
        ..Default::default()
    }
}

fn name_of(digest: &Bytes32) -> String {
    names::RULE_SET.of(names::Digest(*digest))
}

fn digest_of(name: &str) -> Option<Bytes32> {
    names::RULE_SET.id(name).map(|digest| digest.0)
}

fn cursor(text: &str) -> Option<(Time, Bytes32)> {
    let (time, digest) = text.split_once('/')?;
    Some((Time(time.parse().ok()?), names::Digest::parse(digest)?.0))
}

fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::Internal(Box::new(error))
}
