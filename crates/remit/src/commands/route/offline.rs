//! Decisions without a server, by files or built-in data.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::Context as _;
use api::{
    intake::SubmitReportRequest,
    routing::{Facts, OperatorAnswer, OperatorSubject, RouteDecision, RuleFinding},
};
use decision::{
    decide::{Decision, Destination, rule},
    directory::{AgencyId, Directory},
    facts::{FactsLine, Situation},
    rules::{Finding, RuleSet, Taxonomy, check::check_yaml},
    simulate::{self, Simulation},
};
use host::reference::shipped_rules;
use intake::{
    category::Categories,
    directory::{Known, Routings},
    submission,
};
use journal::{Clock as _, SystemClock};
use places::Territories;
use rpc::client::Caller;
use serde::Serialize;

use super::print;
use crate::{
    client::Failed,
    commands::report::parse_request,
    output::{self, Lines, Progress, quoted},
};

/// Lines between two progress updates.
const LOOK: u64 = 50_000;

/// The data that decisions use.
pub(super) struct Data {
    directory: Directory,
    categories: Categories,
    taxonomy: Taxonomy,
}

impl Data {
    /// Loads a folder; missing files are replaced by built-in data.
    pub(super) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            return Ok(Self {
                directory: Directory::shipped().clone(),
                categories: Categories::shipped()?,
                taxonomy: Taxonomy::shipped(),
            });
        };
        let (csv, yaml) = (folder.join("territories.csv"), folder.join("categories.yaml"));
        let territories = match csv.exists() {
            true => Territories::parse(&text(&csv)?).with_context(|| csv.display().to_string())?,
            false => Territories::shipped().clone(),
        };
        let (categories, taxonomy) = match yaml.exists() {
            true => {
                let text = text(&yaml)?;
                let categories = Categories::parse(&text).with_context(|| yaml.display().to_string())?;
                (categories, Taxonomy::parse(&text)?)
            }
            false => (Categories::shipped()?, Taxonomy::shipped()),
        };
        let agencies = folder.join("agencies.yaml");
        let directory =
            Directory::parse(&text(&agencies)?, &territories).with_context(|| agencies.display().to_string())?;
        Ok(Self {
            directory,
            categories,
            taxonomy,
        })
    }

    /// Ids of all agencies.
    fn agencies(&self) -> BTreeSet<String> {
        self.directory.agencies().map(|agency| agency.id.to_string()).collect()
    }

    /// A rule set from a file or by the id of a built-in one; *ranked* by default.
    pub(super) fn rules(&self, named: Option<&Path>) -> anyhow::Result<RuleSet> {
        match shipped_rules(named) {
            Ok((id, yaml)) => RuleSet::parse(yaml, &self.directory).with_context(|| id.to_owned()),
            Err(path) => RuleSet::parse(&text(path)?, &self.directory).with_context(|| path.display().to_string()),
        }
    }
}

/// A report that is not submitted.
pub(super) struct Report {
    request: SubmitReportRequest,
    received_by: Option<AgencyId>,
}

impl Report {
    pub(super) fn read(file: &Path, received_by: Option<AgencyId>) -> anyhow::Result<Self> {
        Ok(Self {
            request: parse_request(&file.display().to_string(), &text(file)?)?,
            received_by,
        })
    }

    /// The facts and subjects that a server would route it by if it were submitted now.
    pub(super) async fn facts_for(self, routing: Caller) -> anyhow::Result<(Facts, Vec<OperatorSubject>)> {
        let data = Data::load(None)?;
        let (territories, agencies) = (data.directory.territories().clone(), Arc::new(data.agencies()));
        let directory = intake::directory::Directory::new(territories, agencies, Arc::new(Routings(routing)));
        let known = directory.known_for(self.request.report.as_ref()).await;
        self.facts(&data, &known)
    }

    /// The facts that it would be routed by if it were submitted now, and the subjects that an
    /// operator register could contain.
    fn facts(self, data: &Data, known: &Known) -> anyhow::Result<(Facts, Vec<OperatorSubject>)> {
        let (received_by, now) = (self.received_by.as_ref(), SystemClock.now());
        let submission = submission::check(self.request, &data.categories, known, received_by, now);
        let submission = submission.map_err(|violations| {
            let all = violations
                .iter()
                .map(|violation| format!("\n  {}: {}", quoted(&violation.field), quoted(&violation.description)));
            Failed::Usage(format!("the report would be refused:{}", all.collect::<String>()))
        })?;
        Ok((submission.facts, submission.subjects))
    }

    pub(super) fn decide(self, data: &Data, rules: Option<&Path>) -> anyhow::Result<RouteDecision> {
        let rules = data.rules(rules)?;
        let known = Known::only(data.directory.territories().clone(), data.agencies());
        let (mut facts, subjects) = self.facts(data, &known)?;
        if !subjects.is_empty() {
            // Without a server there is no register: as an empty one answers.
            facts.register_answer = Some(OperatorAnswer {
                asked_count: i32::try_from(subjects.len()).unwrap_or(i32::MAX),
                ..OperatorAnswer::default()
            });
        }
        let situation = Situation::from(&facts);
        Ok(rule(&situation, &rules, &data.directory).to_proto())
    }
}

/// Checks a rule set.
pub(super) fn check(data: &Data, rules: &Path) -> anyhow::Result<Vec<RuleFinding>> {
    let found = |yaml: &str| check_yaml(yaml, &data.directory, &data.taxonomy);
    let findings = match shipped_rules(Some(rules)) {
        Ok((_, yaml)) => found(yaml)?,
        Err(path) => found(&text(path)?).with_context(|| path.display().to_string())?,
    };
    let with_line = |finding: &Finding| {
        let mut told = finding.to_proto();
        if let Some(line) = finding.line {
            told.message = format!("{} (line {line})", told.message);
        }
        told
    };
    Ok(findings.iter().map(with_line).collect())
}

/// One machine-readable answer. All fields are always present.
#[derive(Serialize)]
struct Answer<'a> {
    /// Line in the file, from 1.
    line: u64,
    /// Id of the lead agency; empty if none leads.
    lead: &'a str,
    /// Id of the agency that must designate; empty if a lead was found.
    designating: &'a str,
    /// Whether no agency can act and the reporter is told who can.
    advised: bool,
    /// Ids of the supporting agencies, in the order found.
    supporting: Vec<&'a str>,
    /// The factor that gave the lead; empty for a default.
    factor: &'a str,
    /// The matching row.
    row: &'a str,
    /// Territory codes from the place that gave the lead up to the agency, abolished codes first.
    path: Vec<&'a str>,
    /// Defaults and simplifications, in words.
    fallbacks: &'a [String],
}

/// A line without valid facts.
#[derive(Serialize)]
struct Unread<'a> {
    line: u64,
    error: &'a str,
}

/// Decides a file of facts, one answer per line.
pub(super) fn explain(facts: &Path, rules: &RuleSet, data: &Data, json: bool) -> anyhow::Result<()> {
    let mut out = Lines::lock();
    let mut unread = 0_u64;
    each_line(facts, |number, line| {
        match line {
            Ok(situation) => {
                let decision = rule(situation, rules, &data.directory).decision();
                match json {
                    true => out.json(&answer(number, &decision))?,
                    false => out.line(format_args!("{number}: {}", decision.explanation.summary))?,
                }
            }
            Err(error) => {
                unread += 1;
                if json {
                    out.json(&Unread {
                        line: number,
                        error: &error,
                    })?;
                }
                out.flush()?;
                print::unread(facts, number, &error);
            }
        }
        Ok(())
    })?;
    out.flush()?;
    all_read(unread)
}

fn answer(line: u64, decision: &Decision) -> Answer<'_> {
    let explanation = &decision.explanation;
    let mut path = Vec::new();
    if let Some(tried) = explanation
        .factors
        .iter()
        .find(|tried| tried.factor == explanation.factor)
    {
        let (place, mut climb) = (
            output::place(tried),
            tried.climb.iter().map(|name| output::id(name)).peekable(),
        );
        if climb.peek() != Some(&place) {
            path.push(place);
        }
        path.extend(climb);
    }
    let (lead, designating, advised) = match &decision.outcome {
        Destination::Lead { agency, .. } => (agency.as_str(), "", false),
        Destination::Designate { superior } => ("", superior.as_str(), false),
        Destination::Advise { .. } => ("", "", true),
    };
    Answer {
        line,
        lead,
        designating,
        advised,
        supporting: decision.supporting.iter().map(|(agency, _)| agency.as_str()).collect(),
        factor: output::factor(explanation.factor()),
        row: &explanation.row,
        path,
        fallbacks: &explanation.fallbacks,
    }
}

/// Decides a file of facts by two rule sets and prints the differences.
pub(super) fn simulate(
    facts: &Path,
    old: &RuleSet,
    new: &RuleSet,
    data: &Data,
    shown: print::Shown,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let progress = Progress::new(shown.json);
    let mut simulation = Simulation::new(old, new, &data.directory);
    let mut unread = 0_u64;
    each_line(facts, |number, line| {
        match line {
            Ok(situation) if shown.summary => drop(simulation.compare(situation, |_, _| ())),
            Ok(situation) => {
                let differs = simulation.compare(situation, simulate::difference);
                if let Some(mut differs) = differs {
                    differs.line = i64::try_from(number).unwrap_or(i64::MAX);
                    progress.clear();
                    print::difference(&differs, &shown)?;
                }
            }
            Err(error) => {
                unread += 1;
                progress.clear();
                print::unread(facts, number, &error);
            }
        }
        if number % LOOK == 0 {
            progress.show(format_args!(
                "{} facts, {} differ",
                simulation.decided(),
                simulation.different()
            ));
        }
        Ok(())
    })?;
    progress.clear();
    print::summary(&simulation.summary(), &shown)?;
    if !shown.json {
        print::speed(simulation.decided(), started.elapsed())?;
    }
    all_read(unread)
}

/// Passes the facts of each non-empty line, or why it has none, with its number from 1.
fn each_line(
    file: &Path,
    mut each: impl FnMut(u64, Result<&Situation<'_>, String>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, opened);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match FactsLine::parse(&line) {
            Ok(facts) => each(number, Ok(&facts.situation()))?,
            Err(error) => each(number, Err(error.to_string()))?,
        }
    }
}

/// Invalid lines are a failure, reported after everything else is done.
fn all_read(unread: u64) -> anyhow::Result<()> {
    match unread {
        0 => Ok(()),
        _ => Err(Failed::Told.into()),
    }
}

pub(super) fn text(file: &Path) -> anyhow::Result<String> {
    host::input::text(file, decision::directory::LIMIT)
}
