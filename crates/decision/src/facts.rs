//! Facts as the decision reads them: borrowed from wherever they are, in the words of this crate.
//!
//! [`Situation`] is read from the contract's [`Facts`] and, for files of millions, straight from a line of their JSON form
//! ([`FactsLine`]). What cannot be read is kept as such, so that the decision can say that it was left out.

mod line;

use api::intake::place::Location;
use api::intake::{Place, ReporterRelation, SubjectKind, VictimKind};
use api::routing::{Facts, OperatorAnswer};
use jiff::civil::Date;
use moment::Time;
use places::{Country, TerritoryCode};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use self::line::FactsLine;
use crate::directory::{self, AgencyId, Directory};
use crate::rules::Factor;

/// The facts of one report.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Id of the category.
    pub category: &'a str,
    /// Whether the category is urgent.
    pub urgent: bool,
    /// Whether the act is a publication about someone.
    pub publication: bool,
    /// Kinds of the subjects.
    pub subject_kinds: Vec<SubjectKind>,
    /// What the report says of its places; those of the agencies it names are found in the directory.
    pub(crate) named: [Given<'a>; Factor::COUNT],
    /// Factors given more than once; only the first place counts.
    pub(crate) repeated: Vec<Factor>,
    /// Places whose factor this version does not know.
    pub(crate) unknown_factors: u32,
    /// Currency of the loss; empty without one.
    pub loss_currency: &'a str,
    /// Loss in minor units; 0 without one.
    pub loss_minor_units: i64,
    /// Seconds from the loss to acceptance, when the time of the loss is known.
    pub loss_age_seconds: Option<i64>,
    /// The day on which intake accepted the report: agencies that exist then are looked for. Without one, those that have no
    /// end.
    pub day: Option<Date>,
    /// Kind of victim.
    pub victim_kind: VictimKind,
    /// How the reporter is related to the act.
    pub reporter_relation: ReporterRelation,
    /// Id of the agency that received the report first; empty when no agency did.
    pub received_by: &'a str,
    /// Id of the agency that the report complains of; empty when it complains of none.
    pub complained_of: &'a str,
    /// Ids of agencies that neither lead, support nor see it, with all units under them.
    pub excluded: Vec<&'a str>,
    /// Details of kind choice and integer, by path.
    pub details: Vec<(&'a str, &'a str)>,
    /// What the operator register answered, when it was asked. The place that it gave is among the places.
    pub operator: Option<&'a OperatorAnswer>,
}

/// What is known of the place of one connecting factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given<'a> {
    /// Nothing.
    Absent,
    /// A place that counts for nothing here, because such a victim complains of a publication. Said even when the factor's
    /// turn does not come.
    RuledOut(&'static str),
    /// An agency that stands for no place: it receives for the whole nation.
    Nationwide,
    /// A place that cannot be read.
    Unreadable(&'a str),
    /// A country outside the tree.
    Abroad(Country),
    /// A well-formed code, which the tree may have or not.
    Territory(TerritoryCode),
}

/// What is known of all places, by factor.
#[derive(Debug, Clone)]
pub(crate) struct Places<'a>([Given<'a>; Factor::COUNT]);

impl<'a> Places<'a> {
    /// What is known of one.
    pub(crate) const fn get(&self, factor: Factor) -> Given<'a> {
        self.0[factor as usize]
    }

    fn set(&mut self, factor: Factor, given: Given<'a>) {
        self.0[factor as usize] = given;
    }
}

impl<'a> Situation<'a> {
    /// Nothing but a category.
    pub(crate) const fn of(category: &'a str) -> Self {
        Self {
            category,
            urgent: false,
            publication: false,
            subject_kinds: Vec::new(),
            named: [Given::Absent; Factor::COUNT],
            repeated: Vec::new(),
            unknown_factors: 0,
            loss_currency: "",
            loss_minor_units: 0,
            loss_age_seconds: None,
            day: None,
            victim_kind: VictimKind::Unspecified,
            reporter_relation: ReporterRelation::Unspecified,
            received_by: "",
            complained_of: "",
            excluded: Vec::new(),
            details: Vec::new(),
            operator: None,
        }
    }

    /// Takes the place of a factor, unless there is one already.
    pub(crate) fn take_place(&mut self, factor: Option<Factor>, given: Given<'a>) {
        let Some(factor) = factor else {
            self.unknown_factors += 1;
            return;
        };
        // Absent also stands for a place without a location, which is as good as none.
        match &mut self.named[factor as usize] {
            free @ Given::Absent => *free = given,
            _ => self.repeated.push(factor),
        }
    }

    /// All places, with those of the agencies that the facts name.
    pub(crate) fn places(&self, directory: &Directory) -> Places<'a> {
        let mut places = Places(self.named);
        places.set(Factor::Received, received(self.received_by, directory));
        places.set(Factor::ComplainedOf, stands(self.complained_of, directory));
        // Nobody brings the home police against a critic: where the complaint was handed in is the complainant's home
        // as a rule, so it counts as little as the victim's place.
        if let Some(victim) = self.complainant_of_publication() {
            for factor in [Factor::Victim, Factor::Received] {
                if places.get(factor) != Given::Absent {
                    places.set(factor, Given::RuledOut(victim));
                }
            }
        }
        places
    }

    /// The value of a detail.
    pub(crate) fn detail(&self, path: &str) -> Option<&'a str> {
        self.details
            .iter()
            .find(|(known, _)| *known == path)
            .map(|(_, value)| *value)
    }

    /// The kind of complainant whose place is no factor, where the act is a publication.
    fn complainant_of_publication(&self) -> Option<&'static str> {
        match self.victim_kind {
            VictimKind::Organisation if self.publication => Some("an organisation"),
            VictimKind::PublicBody if self.publication => Some("a public body"),
            _ => None,
        }
    }
}

impl<'a> From<&'a Facts> for Situation<'a> {
    fn from(facts: &'a Facts) -> Self {
        let mut situation = Self {
            urgent: facts.urgent,
            publication: facts.publication,
            subject_kinds: facts.subject_kinds().collect(),
            loss_currency: &facts.loss_currency,
            loss_minor_units: facts.loss_minor_units,
            loss_age_seconds: facts.loss_age_seconds,
            day: facts
                .accept_time
                .as_ref()
                .and_then(Time::from_proto)
                .map(directory::day),
            victim_kind: facts.victim_kind(),
            reporter_relation: facts.reporter_relation(),
            received_by: &facts.received_by,
            complained_of: &facts.complained_of,
            excluded: facts.excluded.iter().map(String::as_str).collect(),
            details: facts
                .details
                .iter()
                .map(|(path, value)| (path.as_str(), value.as_str()))
                .collect(),
            operator: facts.operator.as_ref(),
            ..Self::of(&facts.category)
        };
        for place in &facts.places {
            situation.take_place(Factor::from_proto(place.factor()), given(place));
        }
        situation
    }
}

/// SHA-256 of the facts as encoded. Fields are encoded in the order of their numbers and maps in the order of their
/// keys, so that decoding and encoding again gives the same bytes.
#[must_use]
pub fn facts_digest(facts: &Facts) -> [u8; 32] {
    Sha256::digest(facts.encode_to_vec()).into()
}

fn given(place: &Place) -> Given<'_> {
    match &place.location {
        None => Given::Absent,
        Some(Location::Territory(name)) => territory(name),
        Some(Location::Country(country)) => self::country(country),
    }
}

/// Reads the name of a territory.
pub(crate) fn territory(name: &str) -> Given<'_> {
    TerritoryCode::from_resource_name(name).map_or(Given::Unreadable(name), Given::Territory)
}

/// Reads a country.
pub(crate) fn country(country: &str) -> Given<'_> {
    match country {
        // The tree's own country is its root.
        "CN" => Given::Territory(TerritoryCode::ROOT),
        _ => country.parse().map_or(Given::Unreadable(country), Given::Abroad),
    }
}

/// Where the receiver is. One that receives for the whole nation, such as a national hotline, says nothing of a place.
fn received(id: &str, directory: &Directory) -> Given<'static> {
    match stands(id, directory) {
        Given::Territory(TerritoryCode::ROOT) => Given::Nationwide,
        given => given,
    }
}

/// Where an agency is.
fn stands(id: &str, directory: &Directory) -> Given<'static> {
    if id.is_empty() {
        return Given::Absent;
    }
    agency_id(id)
        .and_then(|id| directory.agency(&id))
        .map_or(Given::Absent, |agency| Given::Territory(agency.territory))
}

/// Reads an agency's id, as it stands in facts or as a resource name.
pub fn agency_id(text: &str) -> Option<AgencyId> {
    AgencyId::new(text).or_else(|_| AgencyId::from_resource_name(text)).ok()
}
