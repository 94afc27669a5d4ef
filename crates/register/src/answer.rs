//! Answers for a subject: the longest registered name with an entry valid on the day.

use api::{
    event::ConnectingFactor,
    intake::{Place, place},
    routing::{Facts, OperatorAnswer, OperatorMatch, OperatorStep, OperatorSubject, ReportChange},
};
use decision::calendar::Calendars;
use jiff::{Timestamp, civil::Date};
use journal::Time;

use crate::{
    entry::{Entry, day_text},
    key::{Key, candidates},
    store::{Error, Found, Store},
};

/// Maximum number of subjects of a report, as intake takes them.
pub const SUBJECTS: usize = 50;

/// One name that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name.
    pub key: Key,
    /// The result, in words.
    pub outcome: String,
}

impl Step {
    /// Converts to a contract message.
    pub fn to_proto(&self) -> OperatorStep {
        OperatorStep {
            kind: self.key.kind().to_proto().into(),
            key: self.key.name().to_owned(),
            outcome: self.outcome.clone(),
        }
    }
}

/// Tries names, most specific first, up to one with an entry valid on the day.
pub fn longest(names: Vec<Key>, found: &Found, day: Date) -> (Vec<Step>, Option<&Entry>) {
    let mut path = Vec::with_capacity(names.len());
    for key in names {
        let entries = found.of(&key);
        let holding = entries.iter().find(|entry| entry.validity.holds(day));
        let outcome = match holding {
            Some(entry) => format!("registered: {}", entry.place),
            None if entries.is_empty() => "not registered".to_owned(),
            None => {
                let span = |entry: &Entry| {
                    let (from, to) = (day_text(entry.validity.from), day_text(entry.validity.to));
                    format!("{} to {}", or(&from, "ever"), or(&to, "now"))
                };
                let spans: Vec<_> = entries.iter().map(span).collect();
                format!("registered from {}, but not for {day}", spans.join(", and from "))
            }
        };
        path.push(Step { key, outcome });
        if holding.is_some() {
            return (path, holding);
        }
    }
    (path, None)
}

fn or<'t>(text: &'t str, otherwise: &'t str) -> &'t str {
    if text.is_empty() { otherwise } else { text }
}

/// The day of an instant, by the deployment's main calendar.
pub fn day(time: Time, calendars: &Calendars) -> Date {
    calendars
        .main()
        .date(Timestamp::from_microsecond(time.0).unwrap_or(Timestamp::MAX))
}

/// Completes the facts of reports without an operator's place with the register's answers for their
/// subjects, in one look-up for all of them. From then on the answer is a fact, and its place
/// counts like one given in the report.
///
/// # Errors
///
/// If the register cannot be read: a report is not routed without it.
pub async fn complete(
    store: &dyn Store,
    changes: &mut [ReportChange],
    calendars: &Calendars,
    now: Time,
) -> Result<(), Error> {
    let mut asked = Vec::new();
    for change in changes {
        // Not needed after the look-up.
        let subjects = std::mem::take(&mut change.subjects);
        let Some(facts) = &mut change.facts else { continue };
        facts.register_answer = None;
        let names = match names_operator(facts) {
            true => Vec::new(),
            false => names_of(&subjects),
        };
        if !names.is_empty() {
            asked.push((facts, names));
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let names = asked.iter().flat_map(|(_, names)| names).flatten().cloned();
    let found = store.find(names.collect()).await?;
    for (facts, names) in asked {
        let accepted = facts.accept_time.as_ref().and_then(Time::from_proto);
        add_answer(facts, names, &found, day(accepted.unwrap_or(now), calendars));
    }
    Ok(())
}

fn names_operator(facts: &Facts) -> bool {
    let is_operator = |place: &Place| place.factor() == ConnectingFactor::Operator;
    facts.places.iter().any(is_operator)
}

/// The names that subjects are looked up by, without subjects that have none.
fn names_of(subjects: &[OperatorSubject]) -> Vec<Vec<Key>> {
    let names = subjects.iter().map(candidates);
    names.filter(|names| !names.is_empty()).collect()
}

/// Adds the register's answer to the facts of a report without an operator's place. Does nothing if
/// no subject has a name that could be registered.
pub fn answer(facts: &mut Facts, subjects: &[OperatorSubject], found: &Found, day: Date) {
    let names = names_of(subjects);
    if !names.is_empty() {
        add_answer(facts, names, found, day);
    }
}

fn add_answer(facts: &mut Facts, names: Vec<Vec<Key>>, found: &Found, day: Date) {
    let asked = i32::try_from(names.len()).unwrap_or(i32::MAX);
    let mut matches: Vec<OperatorMatch> = Vec::new();
    for names in names {
        let (_, entry) = longest(names, found, day);
        let Some(entry) = entry else { continue };
        if matches.is_empty() {
            let place = Place {
                factor: ConnectingFactor::Operator.into(),
                location: Some(place::Location::from(entry.place)),
            };
            facts.places.push(place);
            facts.places.sort_by_key(|place| place.factor);
        }
        let operator = entry.key.resource_name();
        if matches.iter().all(|earlier| earlier.registered_operator != operator) {
            let location = Some(entry.place.into());
            matches.push(OperatorMatch {
                registered_operator: operator,
                location,
            });
        }
    }
    let version = found.version.to_proto();
    facts.register_answer = Some(OperatorAnswer {
        version: version.version,
        digest: version.digest,
        asked_count: asked,
        matches,
    });
}
