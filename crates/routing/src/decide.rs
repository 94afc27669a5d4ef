//! The decision: from facts to who leads, who supports, by when, and why.
//!
//! [`decide`] is pure and total: the same facts, rule set and directory give the same answer, byte for byte, and there
//! is no input for which there is none. What cannot be used (an unknown code, an unknown factor) is left out and said
//! so: every step, default and simplification stands in the explanation.

use std::collections::{BTreeMap, BTreeSet};

use api::intake::place::Location;
use api::intake::{SubjectKind, VictimKind};
use api::routing::{Explanation, FactorTried, Facts, Support};
use places::TerritoryCode;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::calendar::Clocks;
use crate::directory::{AgencyId, Directory, Function, Located};
use crate::rules::{Action, Factor, Lead, Row, RuleSet};

/// A loss is fresh, so that a payment may still be stopped, for this long: recalls are practised up to 72 hours after
/// it. No law gives a figure (反电信网络诈骗法 20: "at once").
const FRESH_LOSS_SECONDS: i64 = 72 * 3_600;

/// How the words begin that name who was passed over.
const PASSED_OVER: &str = "passed over as excluded: ";
/// How the words begin that name an excluded agency which is not there.
const EXCLUDED_UNKNOWN: &str = "excluded agency `";
/// How the words end that name the excluded conference.
const EXCLUDED_ITSELF: &str = " is excluded itself; nobody stands above it, so it designates all the same";

/// Where a report goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Who acts.
    pub outcome: Outcome,
    /// Agencies that support, each once and never the lead, with the reason. Empty while nobody leads.
    pub supporting: Vec<(AgencyId, String)>,
    /// By when whoever leads takes the case over and comes to a result; `None` when the reporter is advised, since nobody
    /// owes anything then.
    pub clocks: Option<Clocks>,
    /// Every step of the answer.
    pub explanation: Explanation,
}

/// Who acts: exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An agency leads.
    Lead {
        /// The agency.
        agency: AgencyId,
        /// The connecting factor that gave it; `None` when the national default did.
        factor: Option<Factor>,
    },
    /// No agency can be found; a superior names one.
    Designate {
        /// The superior.
        superior: AgencyId,
    },
    /// No agency can act; the reporter is told who can.
    Advise {
        /// The advice in Chinese.
        zh: String,
        /// The advice in English.
        en: String,
    },
}

/// Decides where a report goes.
#[must_use]
pub fn decide(facts: &Facts, rules: &RuleSet, directory: &Directory) -> Decision {
    let row = rules.row_for(facts);
    let mut desk = Desk::new(facts, directory);
    if std::ptr::eq(row, rules.catch_all()) {
        desk.fallbacks.push(format!(
            "no row is for the category `{}`: the catch-all row decided",
            facts.category
        ));
    }
    let mut place = None;
    let (outcome, clocks) = match &row.action {
        Action::Lead(lead) => {
            let (outcome, found) = desk.find_lead(lead);
            desk.find_support(lead, &outcome, found.as_ref());
            desk.say_what_is_left_out(&outcome);
            place = found;
            (outcome, Some(lead.clocks))
        }
        Action::Advise { zh, en } => (
            Outcome::Advise {
                zh: zh.clone(),
                en: en.clone(),
            },
            None,
        ),
    };
    let summary = desk.summary(&outcome, place.as_ref());
    desk.finish(rules, row, outcome, clocks, summary)
}

/// What a report says of one connecting factor.
enum Given {
    /// Nothing.
    Absent,
    /// A place that counts for nothing here, and why. Said even when the factor's turn does not come.
    RuledOut(String),
    /// An agency that stands for no place, and why.
    Nationwide(String),
    /// A place that cannot be read.
    Unreadable(String),
    /// A country outside the tree.
    Abroad(String),
    /// A well-formed code, which the tree may have or not.
    Territory(TerritoryCode),
}

/// The place that gave an agency.
struct Found<'a> {
    factor: Factor,
    place: TerritoryCode,
    located: Located<'a>,
}

/// One report on the table, with what has been found so far.
struct Desk<'a> {
    facts: &'a Facts,
    directory: &'a Directory,
    excluded: BTreeSet<AgencyId>,
    places: BTreeMap<Factor, Given>,
    tried: Vec<FactorTried>,
    /// In the order found, each agency once.
    supporting: Vec<(AgencyId, String)>,
    fallbacks: Vec<String>,
}

impl<'a> Desk<'a> {
    fn new(facts: &'a Facts, directory: &'a Directory) -> Self {
        let mut fallbacks = Vec::new();
        let mut excluded = BTreeSet::new();
        for id in &facts.excluded {
            match agency_id(id) {
                Some(id) if directory.agency(&id).is_some() => drop(excluded.insert(id)),
                _ => fallbacks.push(format!(
                    "{EXCLUDED_UNKNOWN}{id}` is not in the directory: nobody was kept out by it"
                )),
            }
        }
        let mut places = BTreeMap::new();
        for place in &facts.places {
            let Some(factor) = Factor::from_proto(place.factor()) else {
                fallbacks.push("a place with an unknown connecting factor was left out".to_owned());
                continue;
            };
            match places.entry(factor) {
                std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(given(place.location.as_ref()))),
                std::collections::btree_map::Entry::Occupied(_) => {
                    fallbacks.push(format!("{factor}: given more than once; only the first place was used"));
                }
            }
        }
        places.insert(Factor::Received, received(facts, directory));
        // Nobody brings the home police against a critic: where the complaint was handed in is the complainant's home
        // as a rule, so it counts as little as the victim's place.
        if let Some(victim) = complainant_of_publication(facts) {
            for factor in [Factor::Victim, Factor::Received] {
                if let Some(place) = places.get_mut(&factor).filter(|place| !matches!(place, Given::Absent)) {
                    *place = Given::RuledOut(format!("no factor: {victim} complains of a publication"));
                }
            }
        }
        Self {
            facts,
            directory,
            excluded,
            places,
            tried: Vec::new(),
            supporting: Vec::new(),
            fallbacks,
        }
    }

    /// Tries the row's factors in order, then the nation's agency, then hands it to the conference.
    fn find_lead(&mut self, lead: &Lead) -> (Outcome, Option<Found<'a>>) {
        let mut found = None;
        for &factor in &lead.factors {
            let ruled_out = matches!(self.places.get(&factor), Some(Given::RuledOut(_)));
            // Places after the one that gave the lead are not tried; that one counts for nothing is said all the same.
            if found.is_none() || ruled_out {
                found = self.try_factor(factor, &lead.function).or(found);
            }
        }
        if let Some(agency) = found.as_ref().and_then(|found| found.located.agency) {
            return (
                Outcome::Lead {
                    agency: agency.id.clone(),
                    factor: found.as_ref().map(|found| found.factor),
                },
                found,
            );
        }
        let function = &lead.function;
        if let Some(agency) = self
            .directory
            .locate(function, TerritoryCode::ROOT, &self.excluded)
            .agency
        {
            self.fallbacks.push(format!(
                "no connecting factor gave an agency: {} leads as the national default",
                agency.id
            ));
            return (
                Outcome::Lead {
                    agency: agency.id.clone(),
                    factor: None,
                },
                None,
            );
        }
        let superior = self.directory.last_resort().clone();
        self.fallbacks.push(format!(
            "no {function} agency may lead, the nation's included: {superior} designates"
        ));
        if self.directory.is_excluded(&superior, &self.excluded) {
            self.fallbacks.push(format!("{superior}{EXCLUDED_ITSELF}"));
        }
        (Outcome::Designate { superior }, None)
    }

    fn try_factor(&mut self, factor: Factor, function: &Function) -> Option<Found<'a>> {
        let mut tried = FactorTried {
            factor: factor.to_string(),
            ..FactorTried::default()
        };
        let mut found = None;
        match self.places.get(&factor) {
            None | Some(Given::Absent) => "absent: the report names no such place".clone_into(&mut tried.outcome),
            Some(Given::RuledOut(why) | Given::Nationwide(why)) => tried.outcome.clone_from(why),
            Some(Given::Unreadable(text)) => {
                tried.place.clone_from(text);
                "left out: neither a territory code nor a country".clone_into(&mut tried.outcome);
                self.fallbacks
                    .push(format!("{factor}: `{text}` cannot be read and was left out"));
            }
            Some(Given::Abroad(country)) => {
                tried.place.clone_from(country);
                tried.outcome = format!("{country} is outside the tree of territories: no agency there can lead");
            }
            Some(&Given::Territory(place)) => {
                let located = self.directory.locate(function, place, &self.excluded);
                tried.place = place.to_string();
                tried.climb = located.climb.iter().map(ToString::to_string).collect();
                tried.outcome = self.outcome(factor, place, function, &located);
                if let Some(agency) = located.agency {
                    tried.agency = agency.id.to_string();
                    found = Some(Found { factor, place, located });
                }
            }
        }
        self.tried.push(tried);
        found
    }

    /// Says in words what a climb gave.
    fn outcome(&mut self, factor: Factor, place: TerritoryCode, function: &Function, located: &Located<'_>) -> String {
        let Some(resolved) = located.climb.first() else {
            self.fallbacks
                .push(format!("{factor}: the tree has no territory {place}; it was left out"));
            return "left out: the tree has no such territory".to_owned();
        };
        let mut words = Vec::new();
        if !located.via.is_empty() {
            words.push(format!("abolished, read as {resolved} through its successor"));
            self.fallbacks.push(format!(
                "{factor}: {place} is abolished and was read as its successor {resolved}"
            ));
        }
        if !located.passed.is_empty() {
            let passed: Vec<_> = located.passed.iter().map(|id| id.as_str()).collect();
            words.push(format!("{PASSED_OVER}{}", passed.join(", ")));
        }
        words.push(match located.agency {
            Some(agency) => format!("gave {}", agency.id),
            None => format!("no {function} agency up to the nation"),
        });
        words.join("; ")
    }

    /// Finds who supports. Nobody does before there is a lead: whoever designates first sees the case alone.
    fn find_support(&mut self, lead: &Lead, outcome: &Outcome, found: Option<&Found<'_>>) {
        let Outcome::Lead { agency, .. } = outcome else {
            self.fallbacks
                .push("nobody supports before a lead is designated".to_owned());
            return;
        };
        for factor in [Factor::Operator, Factor::Server] {
            if let Some(&Given::Territory(place)) = self.places.get(&factor) {
                let located = self.directory.locate(&lead.function, place, &self.excluded);
                self.support(agency, &located, format!("{factor} {}", path(&located)));
            }
        }
        for function in &lead.support {
            let Some(found) = found else {
                let problem =
                    format!("no {function} agency supports: no connecting factor gave the place to look for one");
                self.fallbacks.push(problem);
                continue;
            };
            let located = self.directory.locate(function, found.place, &self.excluded);
            if located.agency.is_none() {
                let problem = format!(
                    "no {function} agency supports: there is none above {} that may",
                    found.place
                );
                self.fallbacks.push(problem);
            }
            self.support(
                agency,
                &located,
                format!("{function} for {} {}", found.factor, path(&located)),
            );
        }
        for factor in [Factor::Operator, Factor::Server] {
            if let Some(Given::Abroad(country)) = self.places.get(&factor) {
                let reason = format!("{factor} abroad: {country}");
                for function in &lead.abroad {
                    let located = self.directory.locate(function, TerritoryCode::ROOT, &self.excluded);
                    self.support(agency, &located, reason.clone());
                }
            }
        }
    }

    /// Adds an agency, or one more reason to it.
    fn support(&mut self, lead: &AgencyId, located: &Located<'_>, reason: String) {
        let Some(agency) = located.agency.map(|agency| &agency.id).filter(|id| *id != lead) else {
            return;
        };
        match self.supporting.iter_mut().find(|(id, _)| id == agency) {
            Some((_, reasons)) => *reasons = format!("{reasons}; {reason}"),
            None => self.supporting.push((agency.clone(), reason)),
        }
    }

    /// Says what a reader of the route might expect and this decision does not do.
    fn say_what_is_left_out(&mut self, outcome: &Outcome) {
        let facts = self.facts;
        let has_operator = |kind| {
            matches!(
                kind,
                SubjectKind::Url | SubjectKind::Domain | SubjectKind::Account | SubjectKind::App
            )
        };
        if !self.places.contains_key(&Factor::Operator) && facts.subject_kinds().any(has_operator) {
            self.fallbacks
                .push("the operator was not looked up: only places that the report names were used".to_owned());
        }
        if facts.loss_minor_units > 0 && facts.loss_age_seconds.is_some_and(|age| age <= FRESH_LOSS_SECONDS) {
            self.fallbacks
                .push("the loss is fresh, but no hold was opened: holds are requested separately".to_owned());
        }
        if !facts.subject_kinds.is_empty() {
            let words = "not compared with other cases: reports of the same subject each have a case of their own";
            self.fallbacks.push(words.to_owned());
        }
        let receiver = agency_id(&facts.received_by).filter(|id| !self.directory.is_excluded(id, &self.excluded));
        if let Some(receiver) = receiver
            && !matches!(outcome, Outcome::Lead { agency, .. } if *agency == receiver)
        {
            let words = format!("received first by {receiver}: in this rule set that gives no right to lead");
            self.fallbacks.push(words);
        }
    }

    /// The whole in one line.
    fn summary(&self, outcome: &Outcome, found: Option<&Found<'_>>) -> String {
        let first = match (outcome, found) {
            (Outcome::Lead { agency, .. }, Some(Found { factor, located, .. })) => {
                format!("{agency} leads ({factor} {})", path(located))
            }
            (Outcome::Lead { agency, .. }, None) => format!("{agency} leads (national default)"),
            (Outcome::Designate { superior }, _) => format!("{superior} designates (no agency may lead)"),
            (Outcome::Advise { .. }, _) => "nobody leads: the reporter is told who can act".to_owned(),
        };
        let others = self
            .supporting
            .iter()
            .map(|(agency, reason)| format!("; {agency} supports ({reason})"));
        std::iter::once(first).chain(others).collect()
    }

    fn finish(self, rules: &RuleSet, row: &Row, outcome: Outcome, clocks: Option<Clocks>, summary: String) -> Decision {
        let factor = match &outcome {
            Outcome::Lead {
                factor: Some(factor), ..
            } => factor.to_string(),
            _ => String::new(),
        };
        let supporting = self
            .supporting
            .iter()
            .map(|(agency, reason)| Support {
                agency: agency.to_string(),
                reason: reason.clone(),
            })
            .collect();
        let explanation = Explanation {
            rule_set: rules.id().to_owned(),
            row: row.id.clone(),
            source: row.source.clone(),
            factors: self.tried,
            factor,
            supporting,
            excluded: self.excluded.iter().map(ToString::to_string).collect(),
            fallbacks: self.fallbacks,
            summary,
            facts_digest: facts_digest(self.facts).to_vec().into(),
            rule_set_digest: rules.digest().to_vec().into(),
            directory_digest: self.directory.digest().to_vec().into(),
        };
        Decision {
            outcome,
            supporting: self.supporting,
            clocks,
            explanation,
        }
    }
}

/// An explanation for those who do not own the case: it names nobody who is excluded.
///
/// The digest of the facts goes, too: whoever knows the rest could try list after list of excluded agencies against it.
#[must_use]
pub fn without_excluded(mut explanation: Explanation) -> Explanation {
    explanation.excluded.clear();
    explanation.facts_digest.clear();
    for tried in &mut explanation.factors {
        let words: Vec<_> = tried
            .outcome
            .split("; ")
            .filter(|words| !words.starts_with(PASSED_OVER))
            .collect();
        tried.outcome = words.join("; ");
    }
    explanation
        .fallbacks
        .retain(|words| !words.starts_with(EXCLUDED_UNKNOWN) && !words.ends_with(EXCLUDED_ITSELF));
    explanation
}

/// SHA-256 of the facts as encoded. Fields are encoded in the order of their numbers and maps in the order of their
/// keys, so that decoding and encoding again gives the same bytes.
#[must_use]
pub fn facts_digest(facts: &Facts) -> [u8; 32] {
    Sha256::digest(facts.encode_to_vec()).into()
}

/// Reads what a report says of a place.
fn given(location: Option<&Location>) -> Given {
    match location {
        None => Given::Absent,
        Some(Location::Territory(name)) => match TerritoryCode::from_resource_name(name) {
            Ok(code) => Given::Territory(code),
            Err(_) => Given::Unreadable(name.clone()),
        },
        // The tree's own country is its root.
        Some(Location::Country(country)) if country == "CN" => Given::Territory(TerritoryCode::ROOT),
        Some(Location::Country(country)) => match country.parse::<places::Country>() {
            Ok(country) => Given::Abroad(country.to_string()),
            Err(_) => Given::Unreadable(country.clone()),
        },
    }
}

/// Where the receiver is. One that receives for the whole nation, such as a national hotline, says nothing of a place.
fn received(facts: &Facts, directory: &Directory) -> Given {
    match agency_id(&facts.received_by).and_then(|id| directory.agency(&id)) {
        None => Given::Absent,
        Some(agency) if agency.territory == TerritoryCode::ROOT => {
            Given::Nationwide("no factor: the agency that received it works for the whole nation".to_owned())
        }
        Some(agency) => Given::Territory(agency.territory),
    }
}

/// The kind of complainant whose place is no factor, where the act is a publication.
fn complainant_of_publication(facts: &Facts) -> Option<&'static str> {
    match facts.victim_kind() {
        VictimKind::Organisation if facts.publication => Some("an organisation"),
        VictimKind::PublicBody if facts.publication => Some("a public body"),
        _ => None,
    }
}

/// Reads an agency's id, as it stands in facts or as a resource name.
pub(crate) fn agency_id(text: &str) -> Option<AgencyId> {
    AgencyId::new(text).or_else(|_| AgencyId::from_resource_name(text)).ok()
}

/// The way from a place to the agency: `440600 → 440000`.
fn path(located: &Located<'_>) -> String {
    let codes: Vec<_> = located
        .via
        .iter()
        .chain(&located.climb)
        .map(ToString::to_string)
        .collect();
    codes.join(" → ")
}
