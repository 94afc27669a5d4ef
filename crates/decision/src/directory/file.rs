//! The agency file: read with all its faults, and written.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::fmt::Write as _;

use handwritten::{Location, Spanned, place};
use jiff::civil::Date;
use jiff::tz::Offset;
use places::{Territories, TerritoryCode};
use serde::Deserialize;

use super::{Agency, AgencyId, ConfigError, Desk, FILE, Function, Takes, UnknownKeys, check, read_yaml};
use crate::calendar::{self, Hours};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    last_resort: String,
    utc_offset: Option<Spanned<String>>,
    agencies: Vec<Spanned<Entry>>,
}

/// What a file says.
pub(super) struct Whole {
    /// By id.
    pub(super) agencies: Vec<Agency>,
    pub(super) last_resort: AgencyId,
    pub(super) zone: Offset,
}

/// Changes to a directory: agencies to add or replace as a whole, and ids of agencies to remove.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    last_resort: Option<String>,
    utc_offset: Option<Spanned<String>>,
    #[serde(default)]
    put: Vec<Spanned<Entry>>,
    #[serde(default)]
    remove: Vec<Spanned<String>>,
}

/// One agency as written. Missing fields are read as empty and reported with the other faults.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    id: String,
    #[serde(default)]
    functions: Vec<String>,
    #[serde(default)]
    territory: String,
    #[serde(default)]
    name: Name,
    superior: Option<String>,
    categories: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    except: Vec<String>,
    calendar: Option<Spanned<String>>,
    hours: Option<Spanned<String>>,
    contact: Option<Spanned<String>>,
    valid_from: Option<Spanned<String>>,
    valid_to: Option<Spanned<String>>,
    successor: Option<String>,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Name {
    zh: String,
    en: String,
    #[serde(flatten)]
    unknown: UnknownKeys,
}

/// Reads and validates a whole file.
pub(super) fn read(yaml: &str, territories: &Territories) -> Result<Whole, ConfigError> {
    check::size(yaml.len() as u64)?;
    let file: File = read_yaml(FILE, yaml)?;
    let mut reader = Reader::new(territories);
    let mut agencies = reader.entries(file.agencies);
    let last_resort = reader.take("last_resort", AgencyId::new(&file.last_resort));
    check::whole(&mut agencies, last_resort.as_ref(), territories, &mut reader.faults);
    let zone = reader.zone(file.utc_offset.as_ref(), CHINA_STANDARD_TIME);
    reader.finish(last_resort.zip(zone).map(|(last_resort, zone)| Whole {
        agencies,
        last_resort,
        zone,
    }))
}

/// Where the file does not say otherwise.
const CHINA_STANDARD_TIME: Offset = Offset::constant(8);

/// Applies changes and returns the resulting file, which is then read like any other.
pub(super) fn merge(
    yaml: &str,
    mut agencies: Vec<Agency>,
    last_resort: &AgencyId,
    zone: Offset,
    territories: &Territories,
) -> Result<String, ConfigError> {
    check::size(yaml.len() as u64)?;
    let changes: Changes = read_yaml("the file of changes", yaml)?;
    let mut reader = Reader::new(territories);
    let mut named: BTreeMap<&str, Location> = BTreeMap::new();
    let put = changes
        .put
        .iter()
        .map(|entry| (entry.value.id.as_str(), entry.referenced));
    let removed = changes.remove.iter().map(|id| (id.value.as_str(), id.referenced));
    for (id, at) in put.chain(removed) {
        match named.entry(id) {
            Vacant(free) => drop(free.insert(at)),
            Occupied(first) => reader.faults.push(format!(
                "{}: the agency `{id}` is already put or removed in line {}; remove one of the two",
                place(at),
                first.get().line()
            )),
        }
    }
    for id in &changes.remove {
        match agencies.iter().position(|agency| agency.id.as_str() == id.value) {
            Some(place) => drop(agencies.remove(place)),
            None => reader.faults.push(format!(
                "{}: remove: the agency `{}` does not exist; omit it",
                place(id.referenced),
                id.value
            )),
        }
    }
    let put = reader.entries(changes.put);
    for agency in put {
        match agencies.binary_search_by(|known| known.id.cmp(&agency.id)) {
            Ok(place) => agencies[place] = agency,
            Err(place) => agencies.insert(place, agency),
        }
    }
    let last_resort = match &changes.last_resort {
        Some(text) => reader.take("last_resort", AgencyId::new(text)),
        None => Some(last_resort.clone()),
    };
    let zone = reader.zone(changes.utc_offset.as_ref(), zone);
    reader.finish(
        last_resort
            .zip(zone)
            .map(|(last_resort, zone)| write(&agencies, &last_resort, zone)),
    )
}

struct Reader<'a> {
    territories: &'a Territories,
    faults: Vec<String>,
}

impl<'a> Reader<'a> {
    const fn new(territories: &'a Territories) -> Self {
        Self {
            territories,
            faults: Vec::new(),
        }
    }

    fn finish<T>(self, read: Option<T>) -> Result<T, ConfigError> {
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(ConfigError::Faults {
                file: FILE,
                faults: self.faults,
            }),
        }
    }

    fn entries(&mut self, entries: Vec<Spanned<Entry>>) -> Vec<Agency> {
        entries
            .into_iter()
            .filter_map(|entry| self.entry(entry.referenced.line(), entry.value))
            .collect()
    }

    fn entry(&mut self, line: u64, entry: Entry) -> Option<Agency> {
        let at = format!("line {line}, agency `{}`", entry.id);
        for key in entry.unknown.keys().chain(entry.name.unknown.keys()) {
            self.faults.push(format!("{at}: unknown key `{key}`; remove it"));
        }
        if entry.name.zh.trim().is_empty() || entry.name.en.trim().is_empty() {
            self.faults
                .push(format!("{at}: a name is missing; write `name: {{zh: …, en: …}}`"));
        }
        // Shown to reporters: a database, a terminal and a form must take it as it is.
        if [&entry.name.zh, &entry.name.en]
            .iter()
            .any(|name| api::text::control(name, api::text::Form::Line).is_some())
        {
            self.faults.push(format!(
                "{at}: a name has a control character, such as a line break; remove it"
            ));
        }
        let functions = self.functions(&at, &entry.functions);
        let mut other = |id: Option<&str>| id.and_then(|id| self.take(&at, AgencyId::new(id)));
        let superior = other(entry.superior.as_deref());
        let successor = other(entry.successor.as_deref());
        let valid_from = self.date(&entry.id, "valid_from", entry.valid_from.as_ref());
        let valid_to = self.date(&entry.id, "valid_to", entry.valid_to.as_ref());
        if let Some(empty) = entry
            .categories
            .as_ref()
            .filter(|categories| categories.value.is_empty())
        {
            // Without the key it takes all of them: an empty list says the opposite.
            let problem = "categories: the list is empty; write some, or remove the key if it takes all";
            self.at(empty.referenced, &entry.id, problem);
        }
        let mut text = |key: &str, text: Option<Spanned<String>>| {
            let text = text?;
            if text.value.trim().is_empty() {
                self.at(
                    text.referenced,
                    &entry.id,
                    &format!("{key}: the text is empty; write one, or remove the key"),
                );
                return None;
            }
            Some(text.value)
        };
        let calendar = text("calendar", entry.calendar);
        let hours = text("hours", entry.hours);
        let contact = text("contact", entry.contact);
        let categories = entry.categories.map(|categories| categories.value).unwrap_or_default();
        let territory = self.territory(&at, &entry.territory, valid_to);
        for category in categories.iter().chain(&entry.except) {
            if !is_category(category) {
                let problem = format!("{at}: `{category}` is not a category; write one such as fraud.investment");
                self.faults.push(problem);
            }
        }
        let hours = hours.and_then(|hours| self.take(&at, hours.parse::<Hours>()));
        let id = self.take(&at, AgencyId::new(&entry.id))?;
        Some(Agency {
            id,
            functions,
            territory: territory?,
            title_zh: entry.name.zh,
            title_en: entry.name.en,
            superior,
            takes: Takes {
                only: categories,
                except: entry.except,
            },
            desk: Desk {
                calendar: calendar.unwrap_or_default(),
                hours,
                contact: contact.unwrap_or_default(),
            },
            valid_from,
            valid_to,
            successor,
        })
    }

    fn at(&mut self, at: Location, agency: &str, problem: &str) {
        self.faults.push(format!("{}, agency `{agency}`: {problem}", place(at)));
    }

    fn take<T, E: std::fmt::Display>(&mut self, at: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.faults.push(format!("{at}: {error}"))).ok()
    }

    fn functions(&mut self, at: &str, functions: &[String]) -> Vec<Function> {
        if functions.is_empty() {
            self.faults
                .push(format!("{at}: it has no function; add `functions: […]`"));
        }
        let mut read: Vec<Function> = Vec::with_capacity(functions.len());
        for function in functions {
            match self.take(at, Function::new(function)) {
                Some(function) if read.contains(&function) => {
                    self.faults
                        .push(format!("{at}: the function `{function}` occurs twice; remove one"));
                }
                Some(function) => read.push(function),
                None => {}
            }
        }
        read
    }

    /// The territory of an agency: it must last as long as the agency does.
    fn territory(&mut self, at: &str, text: &str, last_day: Option<Date>) -> Option<TerritoryCode> {
        let day = last_day.unwrap_or(Date::MAX);
        let ends = |code| self.territories.get(code).and_then(|territory| territory.valid_to);
        let found = match text.parse() {
            Err(error) => Err(format!("{error}")),
            Ok(code) => match (self.territories.on(day).resolve(code), ends(code)) {
                (None, _) => Err(format!("the tree has no territory {text}; add it there or use another")),
                (Some(resolved), Some(end)) if end < day => Err(format!(
                    "territory {text} ends on {end}, before the agency; use one that stays in force, such as {}, or give \
                     the agency a last day that is no later",
                    resolved.code
                )),
                (Some(_), _) => Ok(code),
            },
        };
        found
            .map_err(|problem| self.faults.push(format!("{at}: territory: {problem}")))
            .ok()
    }

    fn zone(&mut self, text: Option<&Spanned<String>>, otherwise: Offset) -> Option<Offset> {
        let Some(text) = text else {
            return Some(otherwise);
        };
        let zone = calendar::offset(&text.value);
        if zone.is_none() {
            self.faults.push(format!(
                "{}: utc_offset: `{}` is not an offset; the form is +08:00",
                place(text.referenced),
                text.value
            ));
        }
        zone
    }

    fn date(&mut self, agency: &str, field: &str, text: Option<&Spanned<String>>) -> Option<Date> {
        let text = text?;
        let day = calendar::day(&text.value);
        if day.is_none() {
            let problem = format!("{field}: `{}` is not a date; the form is 2026-12-31", text.value);
            self.at(text.referenced, agency, &problem);
        }
        day
    }
}

fn is_category(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(good))
}

/// Formats the agency file, one agency per line.
pub(super) fn write(agencies: &[Agency], last_resort: &AgencyId, zone: Offset) -> String {
    let mut file = format!("last_resort: {last_resort}\n");
    if zone != CHINA_STANDARD_TIME {
        let _ = writeln!(file, "utc_offset: \"{}\"", calendar::offset_text(zone));
    }
    file.push_str("agencies:\n");
    for agency in agencies {
        file.push_str("  - {");
        let mut first = true;
        for (key, value) in fields(agency) {
            let comma = if std::mem::take(&mut first) { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(file, "{comma}{key}: {value}");
        }
        file.push_str("}\n");
    }
    file
}

/// The non-default fields of an agency, as written in the file.
pub(super) fn fields(agency: &Agency) -> Vec<(&'static str, String)> {
    let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
    let quoted = |texts: &[String]| list(texts.iter().map(|text| quote(text)).collect());
    let mut fields = vec![
        ("id", agency.id.to_string()),
        (
            "functions",
            list(agency.functions.iter().map(ToString::to_string).collect()),
        ),
        ("territory", format!("\"{}\"", agency.territory)),
        (
            "name",
            format!("{{zh: {}, en: {}}}", quote(&agency.title_zh), quote(&agency.title_en)),
        ),
    ];
    let Desk {
        calendar,
        hours,
        contact,
    } = &agency.desk;
    let dates = |date: &Option<Date>| date.map(|date| format!("\"{date}\""));
    let lists = |texts: &[String]| (!texts.is_empty()).then(|| quoted(texts));
    let texts = |text: &String| (!text.is_empty()).then(|| quote(text));
    let id = |id: &Option<AgencyId>| id.as_ref().map(ToString::to_string);
    let others = [
        ("superior", id(&agency.superior)),
        ("categories", lists(&agency.takes.only)),
        ("except", lists(&agency.takes.except)),
        ("calendar", texts(calendar)),
        ("hours", hours.as_ref().map(|hours| quote(&hours.to_string()))),
        ("contact", texts(contact)),
        ("valid_from", dates(&agency.valid_from)),
        ("valid_to", dates(&agency.valid_to)),
        ("successor", id(&agency.successor)),
    ];
    fields.extend(others.into_iter().filter_map(|(key, value)| Some((key, value?))));
    fields
}

/// A double-quoted YAML string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(quoted, "\\u{:04x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
