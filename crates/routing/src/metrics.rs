//! What routing measures: routes, open cases, and clocks. No label says which agency or case.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::routing::Explanation;
use decision::{
    calendar::ClockKind,
    decide::{Decision, Destination},
    directory::{AgencyId, Directory},
};
use journal::{Clock, RoutingKind, Time};
use sql::{Db, Error};
use telemetry::{
    conventions::OTHER,
    metrics::{Counter, DEADLINES, Histogram, Known, Label, LabelInfo, Level, Values},
};
use tokio_util::sync::CancellationToken;

use crate::{
    case::{Case, State},
    store::Versions,
};

telemetry::instruments! {
    /// The instruments of routing.
    pub struct Instruments {
        /// Routed reports, by the row of the rule set that decided, where they went, and whether a default or a
        /// simplification was used on the way (`fallbacks` of the explanation).
        routes: Counter<(Row, Outcome, Fallback)> = ("remit.routes", "{report}"),
        /// Open cases by state and by the level of the place of the agency that has to act; of 10,000 cases at most.
        open: Level<(InState, AtLevel)> = ("remit.cases.open", "{case}"),
        /// Clocks that ran out and are not ended yet, counted up to 10,000.
        overdue: Level<()> = ("remit.clocks.overdue", "{clock}"),
        /// Time since the first of them ran out; when there is none, the time since the last look.
        lag: Level<()> = ("remit.clocks.lag", "s"),
        /// Changes of cases that an agency which sees the case has not read, counted up to 10,000:
        /// the last one of each case, once for each agency.
        unread: Level<()> = ("remit.cases.unread", "{case}"),
        /// Time since the first of them; when there is none, the time since the last look.
        unread_age: Level<()> = ("remit.cases.unread.age", "s"),
        /// Clocks whose owners were reminded, whose pauses ended, or that ran out and whose cases went up.
        fired: Counter<()> = ("remit.clocks.fired", "{clock}"),
        /// Time since this replica last ended all clocks that had run out. It grows while the clock is in doubt.
        swept_age: Level<()> = ("remit.clocks.swept.age", "s"),
        /// Time from when an agency had to acknowledge a case, or what it was asked, to when it did so.
        acknowledged: Histogram<(Asked,)> = ("remit.case.acknowledge.time", "s", DEADLINES),
    }
}

/// Most rows that are told apart, of all rule sets that were in force while the process ran.
const ROWS: usize = 512;
static KNOWN: Known = Known::new(ROWS);

/// A row of a rule set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row(&'static str);

impl Label for Row {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.row",
        values: Values::AtMost(ROWS, "ids of the rows of the rule sets in force"),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

telemetry::label! {
    /// Where a route leads.
    pub enum Outcome("remit.route") {
        /// An agency leads.
        Lead = "lead",
        /// A superior designates one.
        Designate = "designate",
        /// No agency can act, and the reporter is told who can.
        Advise = "advise",
    }
}

telemetry::label! {
    /// Whether a default or a simplification was used.
    pub enum Fallback("remit.fallback") {
        /// None was.
        No = "no",
        /// At least one was.
        Yes = "yes",
    }
}

/// The state of an open case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InState(&'static str);

impl Label for InState {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.state",
        values: Values::Of(|| State::OPEN.iter().map(|state| state.name()).collect()),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

telemetry::label! {
    /// The level of a place.
    pub enum AtLevel("remit.level") {
        /// The nation.
        Nation = "nation",
        /// A province.
        Province = "province",
        /// A city.
        City = "city",
        /// A county.
        County = "county",
        /// A township.
        Township = "township",
        /// That of an agency that the directory no longer has.
        Unknown = OTHER,
    }
}

telemetry::label! {
    /// What an agency was asked.
    pub enum Asked("remit.asked") {
        /// To take a case over.
        Case = "case",
        /// To assist another.
        Assistance = "assistance",
    }
}

/// Interval between looks at what is open.
const LOOK: Duration = Duration::from_secs(10);
/// Most that is counted of anything: a count costs what it counts.
const COUNTED: i64 = 10_000;

/// A report was routed.
pub(crate) fn routed(decision: &Decision) {
    let explanation: &Explanation = &decision.explanation;
    let outcome = match decision.outcome {
        Destination::Lead { .. } => Outcome::Lead,
        Destination::Designate { .. } => Outcome::Designate,
        Destination::Advise { .. } => Outcome::Advise,
    };
    let fallback = match explanation.fallbacks.is_empty() {
        true => Fallback::No,
        false => Fallback::Yes,
    };
    let row = Row(KNOWN.get(&explanation.row));
    Instruments::get().routes.add(1, (row, outcome, fallback));
}

/// All clocks that had run out are ended, this many.
pub(crate) fn swept(fired: usize) {
    let this = Instruments::get();
    if fired > 0 {
        this.fired.add(fired as u64, ());
    }
    this.swept_age.age(Duration::ZERO, ());
}

/// How long it took until an agency acknowledged, if that is what this change of a case is.
pub(crate) fn acknowledgement(kind: &str, before: &Case, after: &Case, at: Time) -> Option<(Asked, Duration)> {
    let (asked, clock) = match kind {
        kind if kind == RoutingKind::CaseAcknowledged.name() => (Asked::Case, ClockKind::Acknowledge),
        kind if kind == RoutingKind::AssistanceAnswered.name() => (Asked::Assistance, ClockKind::Assist),
        _ => return None,
    };
    let still = |generation| after.all_clocks().any(|clock| clock.generation == generation);
    let ended = before
        .all_clocks()
        .find(|of| of.rule.kind == clock && !still(of.generation))?;
    Some((asked, between(ended.ledger.since, at)))
}

/// These acknowledgements are durable.
pub(crate) fn acknowledged(all: &[(Asked, Duration)]) {
    for (asked, took) in all {
        Instruments::get().acknowledged.took(*took, (*asked,));
    }
}

fn between(earlier: Time, later: Time) -> Duration {
    Duration::from_micros(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

/// Looks at what is open, every ten seconds, at a bounded number of rows.
#[derive(Clone)]
pub(crate) struct Looks {
    pub(crate) db: Db,
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Looks {
    /// Looks until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        loop {
            let active = self.versions.active();
            KNOWN.learn(active.rules.rows().iter().map(|row| row.id.as_str()));
            // What cannot be read keeps its number, and ages grow; health says why.
            if let Ok((overdue, oldest)) = overdue(&self.db, self.clock.now()).await {
                let this = Instruments::get();
                this.overdue.set(overdue, ());
                let lag = oldest.map_or(Duration::ZERO, |oldest| between(oldest, self.clock.now()));
                this.lag.age(lag, ());
            }
            if let Ok((unread, oldest)) = unread(&self.db).await {
                let this = Instruments::get();
                this.unread.set(unread, ());
                let age = oldest.map_or(Duration::ZERO, |oldest| between(oldest, self.clock.now()));
                this.unread_age.age(age, ());
            }
            if let Ok(open) = open(&self.db).await {
                measure_open(&open, &active.directory);
            }
            if tokio::time::timeout(LOOK, shutdown.cancelled()).await.is_ok() {
                let this = Instruments::get();
                this.overdue.forget(());
                this.lag.forget(());
                this.unread.forget(());
                this.unread_age.forget(());
                this.swept_age.forget(());
                return measure_open(&[], &active.directory);
            }
        }
    }
}

/// The number of clocks that ran out, and when the first did.
async fn overdue(db: &Db, now: Time) -> Result<(u64, Option<Time>), Error> {
    let counted = "SELECT count(*) AS overdue, min(due) AS oldest FROM \
                   (SELECT due FROM case_clocks WHERE next <= $1 AND due <= $1 ORDER BY next LIMIT $2) AS counted";
    let row = db.fetch_optional(counted, vec![now.0.into(), COUNTED.into()]).await?;
    let Some(row) = row else { return Ok((0, None)) };
    let oldest: Option<i64> = row.get("oldest")?;
    Ok((row.count("overdue", "number of clocks")?, oldest.map(Time)))
}

/// The number of changes that agencies have not read, up to [`COUNTED`], and when the first was.
pub(crate) async fn unread(db: &Db) -> Result<(u64, Option<Time>), Error> {
    let counted = "SELECT count(*) AS unread, min(place) AS oldest FROM (SELECT place FROM case_lists \
                   WHERE list = 'unread' ORDER BY place, case_id, agency LIMIT $1) AS counted";
    let row = db.fetch_optional(counted, vec![COUNTED.into()]).await?;
    let Some(row) = row else { return Ok((0, None)) };
    let oldest: Option<i64> = row.get("oldest")?;
    Ok((row.count("unread", "number of changes")?, oldest.map(Time)))
}

/// Open cases by state and agency. Every open case has a clock, and closed ones have none.
async fn open(db: &Db) -> Result<Vec<(String, String, u64)>, Error> {
    let counted = "SELECT case_states.state AS state, case_parties.agency AS agency, count(*) AS cases FROM \
                   (SELECT DISTINCT case_id FROM case_clocks LIMIT $1) AS counted \
                   JOIN case_states ON case_states.case_id = counted.case_id \
                   JOIN case_parties ON case_parties.case_id = counted.case_id \
                   AND case_parties.part IN ('lead', 'designating') \
                   GROUP BY case_states.state, case_parties.agency";
    let rows = db.fetch(counted, vec![COUNTED.into()]).await?;
    rows.iter()
        .map(|row| {
            Ok((
                row.get("state")?,
                row.get("agency")?,
                row.count("cases", "number of cases")?,
            ))
        })
        .collect()
}

/// Sets the numbers of open cases, also those of which there are none any more.
fn measure_open(open: &[(String, String, u64)], directory: &Directory) {
    let mut numbers = BTreeMap::new();
    for (state, agency, cases) in open {
        if let Some(state) = State::OPEN.iter().find(|open| open.name() == state) {
            *numbers
                .entry((state.name(), level(agency, directory).value()))
                .or_insert(0) += cases;
        }
    }
    let this = Instruments::get();
    for state in State::OPEN.iter().map(|state| state.name()) {
        for level in LEVELS {
            match numbers.get(&(state, level.value())) {
                Some(cases) => this.open.set(*cases, (InState(state), level)),
                None => this.open.forget((InState(state), level)),
            }
        }
    }
}

const LEVELS: [AtLevel; 6] = [
    AtLevel::Nation,
    AtLevel::Province,
    AtLevel::City,
    AtLevel::County,
    AtLevel::Township,
    AtLevel::Unknown,
];

fn level(agency: &str, directory: &Directory) -> AtLevel {
    let agency = AgencyId::new(agency).ok();
    match agency.and_then(|agency| directory.agency(&agency).map(|agency| agency.territory.level())) {
        Some(places::Level::Nation) => AtLevel::Nation,
        Some(places::Level::Province) => AtLevel::Province,
        Some(places::Level::City) => AtLevel::City,
        Some(places::Level::County) => AtLevel::County,
        Some(places::Level::Township) => AtLevel::Township,
        None => AtLevel::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use testkit::Backend;

    use super::*;
    use crate::Routing;

    testkit::on_each_backend!(what_is_not_read_is_counted_from_the_oldest_on);

    async fn what_is_not_read_is_counted_from_the_oldest_on(backend: Backend) {
        let db = Routing::open(backend.url()).await.unwrap();
        assert_eq!(unread(&db).await.unwrap(), (0, None));
        for (case, agency, list, place) in [
            ("1", "police-1", "unread", 30),
            ("1", "police-2", "unread", 30),
            ("2", "police-1", "unread", 20),
            ("3", "police-1", "due", 10),
        ] {
            let row = "INSERT INTO case_lists (case_id, agency, list, place) VALUES ($1, $2, $3, $4)";
            let values = vec![case.into(), agency.into(), list.into(), place.into()];
            sql::transact!(db, |tx| tx.execute(row, values.clone())).unwrap();
        }
        assert_eq!(unread(&db).await.unwrap(), (3, Some(Time(20))));
    }
}
