//! Rule sets as messages: from the contract to the model, and back in canonical order.

use api::intake::{ReporterRelation, SubjectKind, VictimKind};
use api::routing::rule_condition::Column as Wire;
use api::routing::rule_row::Action as WireAction;
use api::routing::{
    AdviseAction, CategoryCondition, ClockNeed, DetailCondition, FlagCondition, LeadAction, LossAgeCondition,
    LossCondition, PlaceCondition, ReporterRelationCondition, ReviewNeed, RouteFlag, RuleCondition, RuleRow, RuleTable,
    SubjectKindCondition, UrgentCondition, VictimKindCondition,
};
use api::text::{Form, control};
use api::{bilingual, text_in};
use iso_currency::Currency;
use names::Collection;
use places::{Country, TerritoryCode};

use super::boxes::Boxes;
use super::finding::{Finding, Severity};
use super::pause;
use super::{Action, Condition, Flag, HoldNeed, Lead, PauseNeed, PlaceIs, Review, Row, Span};
use crate::calendar::{ClockKind, ClockRule, Clocks, Unit};
use crate::directory::{AgencyId, Directory, Function};
use crate::factor::Factor;

/// Longest allowed clock: a year, in hours. Longer values are typing errors.
const LONGEST_CLOCK: u32 = 366 * 24;

/// A table as written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) table: RuleTable,
    /// The line of each row, if known.
    pub(super) lines: Vec<u64>,
    /// Faults that prevented writing it as a table.
    pub(super) findings: Vec<Finding>,
}

impl From<RuleTable> for Written {
    fn from(table: RuleTable) -> Self {
        Self {
            table,
            ..Self::default()
        }
    }
}

/// The result of reading a table.
pub(super) struct Read {
    /// The model; `None` if a row is unusable.
    pub(super) parts: Option<Parts>,
    /// Errors only.
    pub(super) findings: Vec<Finding>,
}

/// The model, not compiled yet.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) id: String,
    /// Ascending by priority; the last matches everything.
    pub(super) rows: Vec<Row>,
    pub(super) last_resort: Vec<AgencyId>,
    pub(super) pauses: Vec<PauseNeed>,
    pub(super) supervision: Option<Span>,
}

/// Reads a table and finds all its errors, with row and column.
pub(super) fn read(written: &Written, directory: &Directory) -> Read {
    let table = &written.table;
    let mut reader = Reader {
        directory,
        findings: written.findings.clone(),
        at: At::default(),
    };
    if !is_id(&table.id) {
        reader.fault(
            "id",
            format!(
                "`{}` is not an id; use lower-case letters, digits and hyphens",
                table.id
            ),
        );
    }
    let mut last_resort = Vec::new();
    for name in &table.last_resort {
        let Some(text) = Collection::AGENCIES.id(name) else {
            reader.fault("last_resort", not_a_name(Collection::AGENCIES, name));
            continue;
        };
        match AgencyId::new(text) {
            Ok(id) => match directory.agency(&id) {
                Some(agency) if agency.valid_from.is_none() && agency.valid_to.is_none() => last_resort.push(id),
                Some(_) => reader.fault(
                    "last_resort",
                    format!("`{id}` has a first or last day; use an agency that always exists"),
                ),
                None => reader.fault(
                    "last_resort",
                    format!("the agency `{id}` does not exist; add it or use another"),
                ),
            },
            Err(error) => reader.fault("last_resort", error.to_string()),
        }
    }
    let pauses = reader.pauses(&table.pauses);
    let supervision = reader.supervision(table.supervision.as_ref());
    let mut lines = written.lines.iter();
    let mut rows: Vec<Row> = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        reader.at = At {
            line: lines.next().copied(),
            row: row.id.clone(),
        };
        rows.extend(reader.row(row));
    }
    rows.sort_by_key(|row| row.priority);
    let complete = rows.len() == table.rows.len() && written.findings.is_empty();
    reader.order(&rows, complete);
    reader.units(&rows, &pauses);
    let findings = reader.findings;
    Read {
        parts: complete.then(|| Parts {
            id: table.id.clone(),
            rows,
            last_resort,
            pauses,
            supervision,
        }),
        findings,
    }
}

/// The reader's position.
#[derive(Default)]
struct At {
    line: Option<u64>,
    row: String,
}

struct Reader<'a> {
    directory: &'a Directory,
    findings: Vec<Finding>,
    at: At,
}

impl Reader<'_> {
    fn fault(&mut self, column: &str, message: impl Into<String>) {
        self.findings.push(Finding {
            severity: Severity::Error,
            line: self.at.line,
            row: self.at.row.clone(),
            column: column.to_owned(),
            message: message.into(),
        });
    }

    fn pauses(&mut self, written: &[api::routing::PauseNeed]) -> Vec<PauseNeed> {
        let mut pauses: Vec<PauseNeed> = Vec::with_capacity(written.len());
        for need in written {
            let Some(ground) = pause::known(need.ground) else {
                self.fault(
                    "pauses",
                    "a ground is missing, or this version does not know it; use another",
                );
                continue;
            };
            let name = pause::name(ground);
            let functions = self.functions("pauses", &need.agency_functions);
            if need.source.trim().is_empty() || control(need.source.trim(), Form::Line).is_some() {
                let message = format!("`{name}` has no source in one line; add the law, or that it is ours");
                self.fault("pauses", message);
            }
            let Some((value, unit)) = need.at_most.as_ref().and_then(span) else {
                let message = format!("`{name}` has no bound; write `at_most: {{value: 30, unit: calendar-days}}`");
                self.fault("pauses", message);
                continue;
            };
            let new = PauseNeed {
                ground,
                functions,
                value,
                unit,
                source: need.source.trim().to_owned(),
            };
            let meets = |other: &PauseNeed| {
                other.functions.is_empty()
                    || new.functions.is_empty()
                    || other.functions.iter().any(|function| new.functions.contains(function))
            };
            if pauses.iter().any(|other| other.ground == ground && meets(other)) {
                self.fault("pauses", format!("`{name}` occurs twice for a function; remove one"));
            }
            pauses.push(new);
        }
        // The order says nothing.
        pauses.sort_by(|one, other| (one.ground as i32, &one.functions).cmp(&(other.ground as i32, &other.functions)));
        pauses
    }

    /// Whoever counts hours could pause for most of each day, day by day, and use none of a bound in
    /// days.
    fn units(&mut self, rows: &[Row], pauses: &[PauseNeed]) {
        let in_days = |unit| matches!(unit, Unit::CalendarDays | Unit::WorkingDays);
        for row in rows {
            let Action::Lead(lead) = &row.action else { continue };
            let result = lead.clocks.result.unit;
            let mixed = |pause: &&PauseNeed| pause.is_for(&lead.function) && in_days(pause.unit) && !in_days(result);
            for pause in pauses.iter().filter(mixed) {
                let (name, unit) = (pause.name(), result.as_str());
                let message = format!(
                    "`{name}` has a bound in days, and row `{}` has its result in {unit}; give the bound in hours",
                    row.id
                );
                self.fault("pauses", message);
            }
        }
    }

    fn supervision(&mut self, written: Option<&ClockNeed>) -> Option<Span> {
        let read = span(written?);
        if read.is_none() {
            self.fault(
                "supervision",
                "it is malformed; write `{value: 10, unit: working-days}`",
            );
        }
        read
    }

    fn row(&mut self, row: &RuleRow) -> Option<Row> {
        if !is_id(&row.id) {
            self.fault("row", "this is not an id; use lower-case letters, digits and hyphens");
        }
        if row.priority <= 0 {
            self.fault("priority", "missing; add a number from 1, lowest first");
        }
        if row.source.trim().is_empty() {
            self.fault("source", "missing; add the law, or that the rule is ours");
        }
        let before = self.findings.len();
        let mut conditions: Vec<Condition> = Vec::with_capacity(row.conditions.len());
        for (at, condition) in row.conditions.iter().enumerate() {
            let Some(condition) = self.condition(at, condition) else {
                continue;
            };
            let column = condition.column();
            if conditions.iter().any(|other| other.column() == column) {
                self.fault(&column.to_string(), "it occurs twice; keep one condition per column");
            }
            conditions.push(condition);
        }
        let unread = self.findings.len() > before;
        conditions.sort_by_key(Condition::column);
        let action = match &row.action {
            Some(WireAction::Lead(lead)) => self.lead(lead).map(Action::Lead),
            Some(WireAction::Advise(advise)) => self.advise(advise),
            None => {
                self.fault("lead", "write either `lead` or `advise`");
                None
            }
        };
        (!unread).then_some(Row {
            id: row.id.clone(),
            priority: row.priority.try_into().unwrap_or_default(),
            conditions,
            action: action?,
            source: row.source.trim().to_owned(),
        })
    }

    fn condition(&mut self, at: usize, condition: &RuleCondition) -> Option<Condition> {
        let Some(column) = &condition.column else {
            self.fault(
                &format!("conditions[{at}]"),
                "its column is missing or unknown to this version; remove it",
            );
            return None;
        };
        match column {
            Wire::Category(CategoryCondition { categories }) => self.categories(categories),
            Wire::Place(place) => self.place(place),
            Wire::Loss(loss) => self.loss(loss),
            Wire::LossAge(age) => {
                if age.at_most_seconds < 1 {
                    self.fault("loss_age", "missing; add at least one second");
                    return None;
                }
                Some(Condition::LossAge(age.at_most_seconds))
            }
            Wire::Urgent(urgent) => Some(Condition::Urgent(urgent.urgent)),
            Wire::Flag(flag) => match flag.flag() {
                RouteFlag::Publication => Some(Condition::Flag(Flag::Publication, flag.set)),
                RouteFlag::Unspecified => {
                    self.fault("flag", "this version does not know the flag; use another");
                    None
                }
            },
            Wire::SubjectKind(kinds) => self
                .enumeration("subject_kind", &kinds.kinds, |kind: &SubjectKind| {
                    *kind != SubjectKind::Unspecified
                })
                .map(Condition::SubjectKind),
            Wire::ReporterRelation(relations) => self
                .enumeration("reporter_relation", &relations.relations, |_: &ReporterRelation| true)
                .map(Condition::ReporterRelation),
            Wire::VictimKind(kinds) => self
                .enumeration("victim_kind", &kinds.kinds, |_: &VictimKind| true)
                .map(Condition::VictimKind),
            Wire::Detail(detail) => {
                let column = format!("details.{}", detail.path);
                if !is_path(&detail.path) {
                    self.fault(&column, "this is not a path; write ids separated by dots");
                    return None;
                }
                let mut values = detail.values.clone();
                values.sort();
                values.dedup();
                if values.is_empty() {
                    self.fault(&column, "an empty list matches nothing; add a value or remove it");
                    return None;
                }
                Some(Condition::Detail(detail.path.clone(), values))
            }
        }
    }

    fn categories(&mut self, names: &[String]) -> Option<Condition> {
        if names.is_empty() {
            self.fault("category", "an empty list matches nothing; add a value or remove it");
            return None;
        }
        let mut subtrees = Vec::with_capacity(names.len());
        for name in names {
            match Collection::CATEGORIES.id(name) {
                Some(id) if is_path(id) => subtrees.push(id.to_owned()),
                Some(id) => self.fault(
                    "category",
                    format!("`{id}` is not a category; write ids separated by dots"),
                ),
                None => self.fault("category", not_a_name(Collection::CATEGORIES, name)),
            }
        }
        let good = subtrees.len() == names.len();
        subtrees.sort();
        subtrees.dedup();
        good.then_some(Condition::Category(subtrees))
    }

    fn place(&mut self, place: &PlaceCondition) -> Option<Condition> {
        let Some(factor) = Factor::from_wire(place.factor) else {
            self.fault(
                "factor",
                "this version does not know the connecting factor; use another",
            );
            return None;
        };
        let column = factor.as_str();
        let before = self.findings.len();
        let mut is = PlaceIs {
            abroad: place.abroad,
            absent: place.absent,
            ..PlaceIs::default()
        };
        for text in &place.territories {
            match self.territory(text, &place.territories) {
                Ok(code) => is.within.push(code),
                Err(problem) => self.fault(column, problem),
            }
        }
        for text in &place.region_codes {
            match text.parse::<Country>() {
                Ok(country) => is.countries.push(country),
                Err(error) => self.fault(column, error.to_string()),
            }
        }
        is.within.sort();
        is.within.dedup();
        is.countries.sort();
        is.countries.dedup();
        if place.territories.is_empty() && place.region_codes.is_empty() && !place.abroad && !place.absent {
            self.fault(
                column,
                "it has no condition; add `within`, `countries`, `abroad` or `absent`",
            );
        }
        (self.findings.len() == before).then_some(Condition::Place(factor, is))
    }

    /// One of the territories of a condition. After its end its places are in others, so the row
    /// must name these, too: a row has no days.
    fn territory(&self, text: &str, within: &[String]) -> Result<TerritoryCode, String> {
        let territories = Collection::TERRITORIES;
        let text = territories.id(text).ok_or_else(|| not_a_name(territories, text))?;
        let code = text.parse::<TerritoryCode>().map_err(|error| error.to_string())?;
        let tree = self.directory.territories();
        let ends = match tree.get(code) {
            None => return Err(format!("the tree has no territory {text}; use another")),
            Some(territory) => territory.valid_to,
        };
        let Some(last) = ends else {
            return Ok(code);
        };
        let read_as = self
            .directory
            .tree_on(None)
            .resolve(code)
            .map_or(code, |resolved| resolved.code);
        let named = |other: &String| {
            let other = TerritoryCode::from_resource_name(other)
                .ok()
                .filter(|other| *other != code);
            other.is_some_and(|other| read_as.is_within(other))
        };
        match within.iter().any(named) {
            true => Ok(code),
            false => Err(format!(
                "territory {text} ends on {last} and is then read as {read_as}; name {read_as} as well, or instead"
            )),
        }
    }

    fn loss(&mut self, loss: &LossCondition) -> Option<Condition> {
        let before = self.findings.len();
        if Currency::from_code(&loss.currency_code).is_none() {
            self.fault(
                "loss",
                format!(
                    "`{}` is not an ISO 4217 currency; use one such as CNY",
                    loss.currency_code
                ),
            );
        }
        if loss.from_minor_units < 1 {
            self.fault("loss", "`from` is missing; add at least 1, in minor units");
        }
        let below = (loss.below_minor_units != 0).then_some(loss.below_minor_units);
        if below.is_some_and(|below| below <= loss.from_minor_units) {
            self.fault("loss", "`below` is not greater than `from`, so nothing matches");
        }
        (self.findings.len() == before)
            .then(|| Condition::Loss(loss.currency_code.clone(), loss.from_minor_units, below))
    }

    fn enumeration<T: TryFrom<i32> + PartialEq + Copy>(
        &mut self,
        column: &str,
        numbers: &[i32],
        allowed: impl Fn(&T) -> bool,
    ) -> Option<Vec<T>> {
        if numbers.is_empty() {
            self.fault(column, "an empty list matches nothing; add a value or remove it");
            return None;
        }
        let mut numbers = numbers.to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        let words: Vec<T> = numbers
            .iter()
            .filter_map(|number| T::try_from(*number).ok())
            .filter(allowed)
            .collect();
        if words.len() < numbers.len() {
            self.fault(column, "it has a value that this version does not know; use another");
            return None;
        }
        Some(words)
    }

    fn lead(&mut self, lead: &LeadAction) -> Option<Lead> {
        let mut factors = Vec::new();
        for number in &lead.factors {
            match Factor::from_wire(*number) {
                Some(factor) if factors.contains(&factor) => {
                    self.fault("factors", format!("`{factor}` occurs twice; remove one"));
                }
                Some(factor) => factors.push(factor),
                None => self.fault("factors", "this version does not know one of them; use another"),
            }
        }
        if lead.factors.is_empty() {
            self.fault("factors", "missing; add the places to try, in order");
        }
        let receiver_factors = self.receiver_factors(lead);
        let function = self.function("lead", &lead.agency_function);
        let support = self.functions("support", &lead.supporting);
        let abroad = self.functions("abroad", &lead.supporting_abroad);
        let exclude = self.functions("exclude", &lead.excluded_functions);
        if let Some(function) = function.as_ref().filter(|function| exclude.contains(function)) {
            self.fault("exclude", format!("`{function}` leads; it cannot be excluded"));
        }
        let holds = lead.holds.iter().filter_map(|hold| self.hold(hold)).collect();
        let acknowledge = self.clock(ClockKind::Acknowledge, lead.acknowledge.as_ref());
        let result = self.clock(ClockKind::Result, lead.result.as_ref());
        let Some(review) = ReviewNeed::try_from(lead.review).ok().and_then(Review::from_proto) else {
            self.fault("review", "it is missing, or this version does not know it; use another");
            return None;
        };
        Some(Lead {
            function: function?,
            factors,
            support,
            abroad,
            clocks: Clocks {
                acknowledge: acknowledge?,
                result: result?,
            },
            holds,
            review,
            exclude,
            first_receiver_keeps: lead.first_receiver_keeps,
            first_receiver_factors: receiver_factors,
            place_support: !lead.without_place_support,
        })
    }

    /// The factors through which the first receiver keeps.
    fn receiver_factors(&mut self, lead: &LeadAction) -> Vec<Factor> {
        let mut factors = Vec::new();
        for number in &lead.first_receiver_factors {
            match Factor::from_wire(*number) {
                None => self.fault("first_receiver", "this version does not know one of them; use another"),
                // Its own place says nothing of the report, and the unit complained of must not
                // keep it.
                Some(factor @ (Factor::Received | Factor::ComplainedOf)) => {
                    self.fault("first_receiver", format!("`{factor}` connects nobody; remove it"));
                }
                Some(factor) if factors.contains(&factor) => {
                    self.fault("first_receiver", format!("`{factor}` occurs twice; remove one"));
                }
                Some(factor) if !lead.factors.contains(number) => {
                    self.fault(
                        "first_receiver",
                        format!("`{factor}` is not among `factors`; add it there"),
                    );
                }
                Some(factor) => factors.push(factor),
            }
        }
        if !lead.first_receiver_factors.is_empty() && !lead.first_receiver_keeps {
            self.fault(
                "first_receiver",
                "factors without `first_receiver_keeps`; set it, or remove them",
            );
        }
        factors
    }

    fn advise(&mut self, advise: &AdviseAction) -> Option<Action> {
        let (zh, en) = (text_in(&advise.texts, "zh").trim(), text_in(&advise.texts, "en").trim());
        if zh.is_empty() || en.is_empty() {
            self.fault("advise", "the advice is missing; add `advise: {zh: …, en: …}`");
            return None;
        }
        if [zh, en].iter().any(|text| control(text, Form::Lines).is_some()) {
            self.fault("advise", "a text has a control character; remove it");
            return None;
        }
        Some(Action::Advise {
            zh: zh.to_owned(),
            en: en.to_owned(),
        })
    }

    fn functions(&mut self, column: &str, names: &[String]) -> Vec<Function> {
        let mut functions = Vec::new();
        for name in names {
            match self.function(column, name) {
                Some(function) if functions.contains(&function) => {
                    self.fault(column, format!("`{function}` occurs twice; remove one"));
                }
                Some(function) => functions.push(function),
                None => {}
            }
        }
        functions
    }

    fn function(&mut self, column: &str, name: &str) -> Option<Function> {
        match Function::new(name) {
            Ok(function) if self.directory.has_function(&function) => Some(function),
            _ => {
                self.fault(
                    column,
                    format!("no agency has the function `{name}`; add one or use another"),
                );
                None
            }
        }
    }

    fn hold(&mut self, hold: &api::routing::HoldNeed) -> Option<HoldNeed> {
        let function = self.function("holds", &hold.agency_function);
        let Some((value, unit)) = hold.clock.as_ref().and_then(span) else {
            self.fault("holds", "its clock is malformed; write `{value: 30, unit: minutes}`");
            return None;
        };
        Some(HoldNeed {
            function: function?,
            value,
            unit,
        })
    }

    fn clock(&mut self, kind: ClockKind, clock: Option<&ClockNeed>) -> Option<ClockRule> {
        let name = kind.as_str();
        let Some(clock) = clock else {
            let message = format!("the clock `{name}` is missing; every open case needs one");
            self.fault("clocks", message);
            return None;
        };
        let Some((value, unit)) = span(clock) else {
            let expected = "write `{value: 24, unit: hours}`, or minutes, calendar-days, working-days or working-hours";
            self.fault("clocks", format!("the clock `{name}` is malformed; {expected}"));
            return None;
        };
        Some(ClockRule { kind, value, unit })
    }

    /// Checks rows against each other, in order of priority. If some rows could not be read, a
    /// missing catch-all row is not reported, because it may be among them.
    fn order(&mut self, rows: &[Row], complete: bool) {
        let boxes = Boxes::new(rows);
        for (at, row) in rows.iter().enumerate() {
            self.at = At {
                line: None,
                row: row.id.clone(),
            };
            for later in &rows[at + 1..] {
                if later.priority == row.priority && row.priority != 0 {
                    let message = format!("row `{}` also has {}; give each its own", later.id, row.priority);
                    self.fault("priority", message);
                }
                if later.id == row.id {
                    self.fault("row", "it occurs twice; give each row its own id");
                }
            }
            let taking = boxes.taking(at);
            if !taking.is_empty() {
                let ids: Vec<_> = taking.iter().map(|other| format!("`{}`", rows[*other].id)).collect();
                let together = if ids.len() > 1 { " together" } else { "" };
                let column = row
                    .conditions
                    .first()
                    .map_or("row".to_owned(), |first| first.column().to_string());
                let message = format!(
                    "it is never reached: {}{together} cover all of it; remove one or change the priorities",
                    ids.join(", ")
                );
                self.fault(&column, message);
            }
        }
        self.at = At::default();
        if complete && rows.last().is_none_or(|row| !row.conditions.is_empty()) {
            self.fault(
                "rows",
                "the last row must match everything: add one without conditions, with the highest priority",
            );
        }
    }
}

/// Value and unit; `None` if unset or too long.
#[must_use]
pub fn span(clock: &ClockNeed) -> Option<(u32, Unit)> {
    let unit = Unit::from_proto(clock.unit())?;
    let value = u32::try_from(clock.value).ok()?;
    (1..=LONGEST_CLOCK).contains(&value).then_some((value, unit))
}

/// A duration as a contract message.
pub(super) fn clock_need(value: u32, unit: Unit) -> ClockNeed {
    ClockNeed {
        value: value.cast_signed(),
        unit: unit.to_proto().into(),
    }
}

impl Parts {
    /// The canonical table. Rows, conditions and values are already in order.
    pub(super) fn write(&self) -> RuleTable {
        RuleTable {
            id: self.id.clone(),
            rows: self.rows.iter().map(write_row).collect(),
            last_resort: self.last_resort.iter().map(AgencyId::resource_name).collect(),
            pauses: self.pauses.iter().map(PauseNeed::to_proto).collect(),
            supervision: self.supervision.map(|(value, unit)| clock_need(value, unit)),
        }
    }
}

fn write_row(row: &Row) -> RuleRow {
    RuleRow {
        id: row.id.clone(),
        priority: row.priority.cast_signed(),
        conditions: row.conditions.iter().map(write_condition).collect(),
        action: Some(match &row.action {
            Action::Lead(lead) => WireAction::Lead(write_lead(lead)),
            Action::Advise { zh, en } => WireAction::Advise(AdviseAction {
                texts: bilingual(zh, en),
            }),
        }),
        source: row.source.clone(),
    }
}

fn write_condition(condition: &Condition) -> RuleCondition {
    let column = match condition {
        Condition::Category(subtrees) => Wire::Category(CategoryCondition {
            categories: subtrees.iter().map(|id| Collection::CATEGORIES.of(id)).collect(),
        }),
        Condition::Place(factor, is) => Wire::Place(PlaceCondition {
            factor: factor.to_wire().into(),
            territories: is.within.iter().map(|code| code.resource_name()).collect(),
            region_codes: is.countries.iter().map(ToString::to_string).collect(),
            abroad: is.abroad,
            absent: is.absent,
        }),
        Condition::Loss(currency, from, below) => Wire::Loss(LossCondition {
            currency_code: currency.clone(),
            from_minor_units: *from,
            below_minor_units: below.unwrap_or_default(),
        }),
        Condition::LossAge(at_most_seconds) => Wire::LossAge(LossAgeCondition {
            at_most_seconds: *at_most_seconds,
        }),
        Condition::Urgent(urgent) => Wire::Urgent(UrgentCondition { urgent: *urgent }),
        Condition::Flag(Flag::Publication, set) => Wire::Flag(FlagCondition {
            flag: RouteFlag::Publication.into(),
            set: *set,
        }),
        Condition::SubjectKind(kinds) => Wire::SubjectKind(SubjectKindCondition { kinds: numbers(kinds) }),
        Condition::ReporterRelation(relations) => Wire::ReporterRelation(ReporterRelationCondition {
            relations: numbers(relations),
        }),
        Condition::VictimKind(kinds) => Wire::VictimKind(VictimKindCondition { kinds: numbers(kinds) }),
        Condition::Detail(path, values) => Wire::Detail(DetailCondition {
            path: path.clone(),
            values: values.clone(),
        }),
    };
    RuleCondition { column: Some(column) }
}

fn write_lead(lead: &Lead) -> LeadAction {
    let names = |functions: &[Function]| functions.iter().map(ToString::to_string).collect();
    let clock = |rule: ClockRule| Some(clock_need(rule.value, rule.unit));
    LeadAction {
        agency_function: lead.function.to_string(),
        factors: lead.factors.iter().map(|factor| factor.to_wire().into()).collect(),
        supporting: names(&lead.support),
        supporting_abroad: names(&lead.abroad),
        acknowledge: clock(lead.clocks.acknowledge),
        result: clock(lead.clocks.result),
        holds: lead.holds.iter().map(HoldNeed::to_proto).collect(),
        review: lead.review.to_proto().into(),
        excluded_functions: names(&lead.exclude),
        first_receiver_keeps: lead.first_receiver_keeps,
        first_receiver_factors: lead
            .first_receiver_factors
            .iter()
            .map(|factor| factor.to_wire().into())
            .collect(),
        without_place_support: !lead.place_support,
    }
}

fn numbers<T: Copy + Into<i32>>(words: &[T]) -> Vec<i32> {
    words.iter().map(|word| (*word).into()).collect()
}

/// The fault of a text that is no name.
fn not_a_name(collection: Collection, text: &str) -> String {
    format!("`{text}` {}", collection.fault())
}

/// Whether a text consists of ids separated by dots.
fn is_path(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
    })
}

pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
