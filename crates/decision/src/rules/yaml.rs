//! Rule sets in YAML.

use std::collections::BTreeMap;

use api::event::ConnectingFactor;
use api::routing::rule_condition::Column as Wire;
use api::routing::rule_row::Action as WireAction;
use api::routing::{
    AdviseAction, CategoryCondition, ClockNeed, DetailCondition, FlagCondition, HoldNeed, LeadAction, LossAgeCondition,
    LossCondition, PauseNeed, PlaceCondition, ReporterRelationCondition, ReviewNeed, RouteFlag, RuleCondition, RuleRow,
    RuleTable, SubjectKindCondition, UrgentCondition, VictimKindCondition,
};
use handwritten::Spanned;
use names::Collection;
use serde::Deserialize;

use super::FILE;
use super::finding::{Finding, Severity};
use super::names::{KIND_NAMES, KINDS, RELATION_NAMES, RELATIONS, VICTIM_NAMES, VICTIMS, named};
use super::pause;
use super::wire::{self, Written};
use crate::calendar::{ClockKind, Unit};
use crate::directory::{ConfigError, UnknownKeys, read_yaml};
use crate::factor::Factor;

/// The clocks that a row sets. By when a superior designates is the same for all (`state.rs`).
const ROW_CLOCKS: [&str; 2] = [ClockKind::Acknowledge.as_str(), ClockKind::Result.as_str()];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    #[serde(default)]
    last_resort: Vec<String>,
    #[serde(default)]
    pauses: Vec<PauseEntry>,
    supervision: Option<SpanEntry>,
    rows: Vec<Spanned<RowEntry>>,
}

/// One row as written. Enum values are kept as text, so that every invalid one is reported.
#[derive(Deserialize)]
struct RowEntry {
    #[serde(default)]
    row: String,
    #[serde(default)]
    priority: u32,
    category: Option<OneOrMore>,
    #[serde(default)]
    when: WhenEntry,
    lead: Option<String>,
    advise: Option<AdviseEntry>,
    #[serde(default)]
    factors: Vec<String>,
    #[serde(default)]
    support: Vec<String>,
    #[serde(default)]
    abroad: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    clocks: BTreeMap<String, SpanEntry>,
    #[serde(default)]
    holds: Vec<HoldEntry>,
    review: Option<String>,
    first_receiver: Option<OneOrMore>,
    place_support: Option<String>,
    #[serde(default)]
    source: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
struct WhenEntry {
    operator: Option<PlaceEntry>,
    server: Option<PlaceEntry>,
    transaction: Option<PlaceEntry>,
    victim: Option<PlaceEntry>,
    suspect: Option<PlaceEntry>,
    received: Option<PlaceEntry>,
    #[serde(rename = "complained-of")]
    complained_of: Option<PlaceEntry>,
    loss: Option<LossEntry>,
    loss_age: Option<AgeEntry>,
    urgent: Option<bool>,
    publication: Option<bool>,
    subject_kind: Option<Vec<String>>,
    reporter_relation: Option<Vec<String>>,
    victim_kind: Option<Vec<String>>,
    #[serde(default)]
    details: BTreeMap<String, OneOrMore>,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Vec<String> {
    fn from(entry: OneOrMore) -> Self {
        match entry {
            OneOrMore::One(text) => vec![text],
            OneOrMore::More(texts) => texts,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PlaceEntry {
    within: Vec<String>,
    countries: Vec<String>,
    abroad: bool,
    absent: bool,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LossEntry {
    currency: String,
    from: i64,
    below: i64,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AgeEntry {
    at_most: u32,
    unit: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AdviseEntry {
    zh: String,
    en: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpanEntry {
    value: u32,
    unit: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HoldEntry {
    function: String,
    value: u32,
    unit: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PauseEntry {
    ground: String,
    functions: Vec<String>,
    at_most: SpanEntry,
    source: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

/// People write ids.
fn names(collection: Collection, ids: Vec<String>) -> Vec<String> {
    ids.into_iter().map(|id| collection.of(id)).collect()
}

/// Parses a file's structure and values.
///
/// # Errors
///
/// If the file has a different structure.
pub(super) fn read(yaml: &str) -> Result<Written, ConfigError> {
    let file: File = read_yaml(FILE, yaml)?;
    let mut written = Written {
        table: RuleTable {
            id: file.id,
            last_resort: names(Collection::AGENCIES, file.last_resort),
            rows: Vec::with_capacity(file.rows.len()),
            ..RuleTable::default()
        },
        ..Written::default()
    };
    let mut writer = Writer {
        line: None,
        row: String::new(),
        findings: &mut written.findings,
    };
    written.table.pauses = file.pauses.into_iter().map(|pause| writer.pause(pause)).collect();
    written.table.supervision = file.supervision.map(|entry| {
        writer.unknown("supervision", &entry.unknown);
        span(entry.value, &entry.unit)
    });
    for entry in file.rows {
        let line = entry.referenced.line();
        let mut writer = Writer {
            line: Some(line),
            row: entry.value.row.clone(),
            findings: &mut written.findings,
        };
        let row = writer.row(entry.value);
        written.table.rows.push(row);
        written.lines.push(line);
    }
    Ok(written)
}

/// Converts one entry to a row of the table.
struct Writer<'a> {
    line: Option<u64>,
    row: String,
    findings: &'a mut Vec<Finding>,
}

impl Writer<'_> {
    fn fault(&mut self, column: &str, message: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Error,
            line: self.line,
            row: self.row.clone(),
            column: column.to_owned(),
            message: message.into(),
        });
    }

    fn unknown(&mut self, under: &str, keys: &UnknownKeys) {
        for key in keys.keys() {
            match under {
                "when" => self.fault(key, "this column does not exist; remove it"),
                "" => self.fault(key, "unknown key; remove it"),
                _ => self.fault(under, format!("unknown key `{key}`; remove it")),
            }
        }
    }

    fn row(&mut self, entry: RowEntry) -> RuleRow {
        self.unknown("", &entry.unknown);
        let mut conditions = Vec::new();
        if let Some(category) = entry.category {
            conditions.push(Wire::Category(CategoryCondition {
                categories: names(Collection::CATEGORIES, category.into()),
            }));
        }
        self.conditions(entry.when, &mut conditions);
        let says_lead = [
            ("factors", !entry.factors.is_empty()),
            ("support", !entry.support.is_empty()),
            ("abroad", !entry.abroad.is_empty()),
            ("exclude", !entry.exclude.is_empty()),
            ("clocks", !entry.clocks.is_empty()),
            ("holds", !entry.holds.is_empty()),
            ("review", entry.review.is_some()),
            ("first_receiver", entry.first_receiver.is_some()),
            ("place_support", entry.place_support.is_some()),
        ];
        let action = match (entry.lead, entry.advise) {
            (Some(function), None) => {
                let review = self.review(entry.review.as_deref());
                let keeps = entry.first_receiver.is_some();
                let receiver_factors = self.keeps(entry.first_receiver);
                let without_place_support = self.without_place_support(entry.place_support.as_deref());
                let factors = self.words("factors", &entry.factors, FACTORS, |name| {
                    Factor::from_name(name).map(Factor::to_wire)
                });
                Some(WireAction::Lead(LeadAction {
                    agency_function: function,
                    factors: factors.into_iter().map(Into::into).collect(),
                    supporting: entry.support,
                    supporting_abroad: entry.abroad,
                    acknowledge: self.clock(ClockKind::Acknowledge, &entry.clocks),
                    result: self.clock(ClockKind::Result, &entry.clocks),
                    holds: entry.holds.into_iter().map(|hold| self.hold(hold)).collect(),
                    review: review.into(),
                    excluded_functions: entry.exclude,
                    first_receiver_keeps: keeps,
                    first_receiver_factors: receiver_factors.into_iter().map(Into::into).collect(),
                    without_place_support,
                }))
            }
            (None, Some(advise)) => {
                self.unknown("advise", &advise.unknown);
                for (column, _) in says_lead.into_iter().filter(|(_, said)| *said) {
                    self.fault(column, "a row with `advise` cannot have this; remove it");
                }
                Some(WireAction::Advise(AdviseAction {
                    texts: api::bilingual(advise.zh, advise.en),
                }))
            }
            _ => None,
        };
        for (kind, clock) in &entry.clocks {
            self.unknown("clocks", &clock.unknown);
            if !ROW_CLOCKS.contains(&kind.as_str()) {
                self.fault(
                    "clocks",
                    format!("the clock `{kind}` does not exist; use {}", ROW_CLOCKS.join(" and ")),
                );
            }
        }
        RuleRow {
            id: entry.row,
            priority: entry.priority.try_into().unwrap_or_default(),
            conditions: conditions
                .into_iter()
                .map(|column| RuleCondition { column: Some(column) })
                .collect(),
            action,
            source: entry.source,
        }
    }

    fn conditions(&mut self, when: WhenEntry, conditions: &mut Vec<Wire>) {
        self.unknown("when", &when.unknown);
        let places = [
            (Factor::Operator, when.operator),
            (Factor::Server, when.server),
            (Factor::Transaction, when.transaction),
            (Factor::Victim, when.victim),
            (Factor::Suspect, when.suspect),
            (Factor::Received, when.received),
            (Factor::ComplainedOf, when.complained_of),
        ];
        for (factor, place) in places {
            let Some(place) = place else { continue };
            self.unknown(factor.as_str(), &place.unknown);
            conditions.push(Wire::Place(PlaceCondition {
                factor: factor.to_wire().into(),
                territories: names(Collection::TERRITORIES, place.within),
                region_codes: place.countries,
                abroad: place.abroad,
                absent: place.absent,
            }));
        }
        if let Some(loss) = when.loss {
            self.unknown("loss", &loss.unknown);
            conditions.push(Wire::Loss(LossCondition {
                currency_code: loss.currency,
                from_minor_units: loss.from,
                below_minor_units: loss.below,
            }));
        }
        if let Some(age) = when.loss_age {
            self.unknown("loss_age", &age.unknown);
            let seconds = match age.unit.as_str() {
                "minutes" => 60,
                "hours" => 3_600,
                _ => {
                    self.fault(
                        "loss_age",
                        format!("`{}` is not a unit of it; use minutes or hours", age.unit),
                    );
                    0
                }
            };
            conditions.push(Wire::LossAge(LossAgeCondition {
                at_most_seconds: i64::from(age.at_most) * seconds,
            }));
        }
        conditions.extend(when.urgent.map(|urgent| Wire::Urgent(UrgentCondition { urgent })));
        conditions.extend(when.publication.map(|set| {
            Wire::Flag(FlagCondition {
                flag: RouteFlag::Publication.into(),
                set,
            })
        }));
        if let Some(names) = when.subject_kind {
            let kinds = self.words("subject_kind", &names, KIND_NAMES, |name| named(&KINDS, name));
            conditions.push(Wire::SubjectKind(SubjectKindCondition { kinds: numbers(kinds) }));
        }
        if let Some(names) = when.reporter_relation {
            let relations = self.words("reporter_relation", &names, RELATION_NAMES, |name| {
                named(&RELATIONS, name)
            });
            conditions.push(Wire::ReporterRelation(ReporterRelationCondition {
                relations: numbers(relations),
            }));
        }
        if let Some(names) = when.victim_kind {
            let kinds = self.words("victim_kind", &names, VICTIM_NAMES, |name| named(&VICTIMS, name));
            conditions.push(Wire::VictimKind(VictimKindCondition { kinds: numbers(kinds) }));
        }
        for (path, values) in when.details {
            conditions.push(Wire::Detail(DetailCondition {
                path,
                values: values.into(),
            }));
        }
    }

    /// Reads values of a closed list, each at most once.
    fn words<T: PartialEq>(
        &mut self,
        column: &str,
        names: &[String],
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut words = Vec::new();
        for name in names {
            match read(name) {
                None => self.fault(column, format!("`{name}` is not one of {expected}")),
                Some(word) if words.contains(&word) => {
                    self.fault(column, format!("`{name}` occurs twice; remove one"));
                }
                Some(word) => words.push(word),
            }
        }
        words
    }

    fn review(&mut self, name: Option<&str>) -> ReviewNeed {
        match name {
            None => ReviewNeed::None,
            Some("second-person") => ReviewNeed::SecondPerson,
            Some(other) => {
                self.fault(
                    "review",
                    format!("`{other}` is not a review; use second-person or remove it"),
                );
                ReviewNeed::Unspecified
            }
        }
    }

    /// Through which factors the first receiver keeps: any if it is `keeps`.
    fn keeps(&mut self, written: Option<OneOrMore>) -> Vec<ConnectingFactor> {
        let is_written = written.is_some();
        let names: Vec<String> = written.map(Into::into).unwrap_or_default();
        let written_but_empty = is_written && names.is_empty();
        if names == ["keeps"] {
            return Vec::new();
        }
        if written_but_empty {
            // As a message, no factors would mean any of them.
            self.fault(
                "first_receiver",
                "the list is empty; write keeps, or factors, or remove it",
            );
        }
        if let [other] = &*names
            && Factor::from_name(other).is_none()
        {
            self.fault(
                "first_receiver",
                format!("`{other}` is unknown; use keeps, or a list of factors, or remove it"),
            );
            return Vec::new();
        }
        self.words("first_receiver", &names, FACTORS, |name| {
            Factor::from_name(name).map(Factor::to_wire)
        })
    }

    fn without_place_support(&mut self, name: Option<&str>) -> bool {
        match name {
            None => false,
            Some("none") => true,
            Some(other) => {
                self.fault("place_support", format!("`{other}` is unknown; use none or remove it"));
                false
            }
        }
    }

    fn clock(&mut self, kind: ClockKind, clocks: &BTreeMap<String, SpanEntry>) -> Option<ClockNeed> {
        let clock = clocks.get(kind.as_str())?;
        Some(span(clock.value, &clock.unit))
    }

    fn pause(&mut self, pause: PauseEntry) -> PauseNeed {
        self.unknown("pauses", &pause.unknown);
        self.unknown("pauses", &pause.at_most.unknown);
        let ground = pause::from_name(&pause.ground);
        if ground.is_none() {
            self.fault(
                "pauses",
                format!("`{}` is not one of {}", pause.ground, pause::GROUND_NAMES),
            );
        }
        PauseNeed {
            ground: ground.unwrap_or_default().into(),
            agency_functions: pause.functions,
            at_most: Some(span(pause.at_most.value, &pause.at_most.unit)),
            source: pause.source,
        }
    }

    fn hold(&mut self, hold: HoldEntry) -> HoldNeed {
        self.unknown("holds", &hold.unknown);
        HoldNeed {
            clock: Some(span(hold.value, &hold.unit)),
            agency_function: hold.function,
        }
    }
}

/// An unknown unit stays unset; the model then refuses the clock as malformed.
fn span(value: u32, unit: &str) -> ClockNeed {
    match Unit::from_name(unit) {
        Some(unit) => wire::clock_need(value, unit),
        None => ClockNeed {
            value: value.cast_signed(),
            ..ClockNeed::default()
        },
    }
}

const FACTORS: &str = "the factors operator, server, transaction, victim, suspect, received and complained-of";

fn numbers<T: Into<i32>>(words: Vec<T>) -> Vec<i32> {
    words.into_iter().map(Into::into).collect()
}
