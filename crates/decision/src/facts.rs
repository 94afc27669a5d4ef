//! Facts as the decision reads them: borrowed from their source, in this crate's types.
//!
//! [`Situation`] is read from the contract's [`Facts`] or, for files of millions, directly from a
//! line of JSON ([`FactsLine`]). Malformed values are kept as such, so that the decision can report
//! that it skipped them.

mod line;

use api::intake::place::Location;
use api::intake::{Place, ReporterRelation, SubjectKind, VictimKind};
use api::routing::{Facts, OperatorAnswer};
use jiff::civil::Date;
use moment::Time;
use names::Collection;
use places::{Country, TerritoryCode};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use self::line::FactsLine;
use crate::directory::{Agency, AgencyId, Directory, Ended};
use crate::factor::Factor;

/// The facts of one report.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// Id of the category; empty if the name is malformed.
    pub category: &'a str,
    /// The name of the category, as it was given.
    pub(crate) category_name: &'a str,
    /// Whether the category is urgent.
    pub urgent: bool,
    /// Whether the act is a publication about someone.
    pub publication: bool,
    /// Kinds of the subjects.
    pub subject_kinds: Vec<SubjectKind>,
    /// The places of the report; places of agencies are looked up in the directory later.
    pub(crate) named: [Given<'a>; Factor::COUNT],
    /// Factors given more than once; only the first place counts.
    pub(crate) repeated: Vec<Factor>,
    /// Number of places whose factor this version does not know.
    pub(crate) unknown_factors: u32,
    /// Currency of the loss; empty without a loss.
    pub loss_currency: &'a str,
    /// Loss in minor units; 0 without a loss.
    pub loss_minor_units: i64,
    /// Seconds from the loss to acceptance; `None` if the time of the loss is unknown.
    pub loss_age_seconds: Option<i64>,
    /// When intake accepted the report: agencies and territories are those of that day, by the
    /// directory's zone ([`Directory::day`](crate::directory::Directory::day)). If `None`, they
    /// must have no last day.
    pub accepted: Option<Time>,
    /// Kind of victim.
    pub victim_kind: VictimKind,
    /// The reporter's relation to the act.
    pub reporter_relation: ReporterRelation,
    /// Name of the agency that received the report first; empty if none did.
    pub received_by: &'a str,
    /// Name of the agency complained of; empty if none.
    pub complained_of: &'a str,
    /// Names of agencies that neither lead, support nor see it, including all units below them.
    pub excluded: Vec<&'a str>,
    /// Details of kind choice and integer, by path.
    pub details: Vec<(&'a str, &'a str)>,
    /// The operator register's answer, if it was asked. Its place is among the places.
    pub operator: Option<&'a OperatorAnswer>,
}

/// What is known about the place of one connecting factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given<'a> {
    /// Nothing.
    Absent,
    /// A place that does not count, because this kind of victim complains about a publication.
    /// Reported even if the factor is not tried.
    RuledOut(&'static str),
    /// An agency without a place, which receives for the whole nation.
    Nationwide,
    /// A malformed place.
    Unreadable(&'a str),
    /// A country outside the tree.
    Abroad(Country),
    /// A well-formed code, in the tree or not.
    Territory(TerritoryCode),
}

/// What is known about all places, by factor.
#[derive(Debug, Clone)]
pub(crate) struct Places<'a>([Given<'a>; Factor::COUNT]);

impl<'a> Places<'a> {
    /// The place of one factor.
    pub(crate) const fn get(&self, factor: Factor) -> Given<'a> {
        self.0[factor as usize]
    }

    fn set(&mut self, factor: Factor, given: Given<'a>) {
        self.0[factor as usize] = given;
    }
}

impl<'a> Situation<'a> {
    /// A situation with only a category, by its name.
    pub(crate) fn of(category: &'a str) -> Self {
        Self {
            category: Collection::CATEGORIES.id(category).unwrap_or_default(),
            category_name: category,
            urgent: false,
            publication: false,
            subject_kinds: Vec::new(),
            named: [Given::Absent; Factor::COUNT],
            repeated: Vec::new(),
            unknown_factors: 0,
            loss_currency: "",
            loss_minor_units: 0,
            loss_age_seconds: None,
            accepted: None,
            victim_kind: VictimKind::Unspecified,
            reporter_relation: ReporterRelation::Unspecified,
            received_by: "",
            complained_of: "",
            excluded: Vec::new(),
            details: Vec::new(),
            operator: None,
        }
    }

    /// Sets the place of a factor, unless it is already set.
    pub(crate) fn take_place(&mut self, factor: Option<Factor>, given: Given<'a>) {
        let Some(factor) = factor else {
            self.unknown_factors += 1;
            return;
        };
        // Absent also stands for a place without a location.
        match &mut self.named[factor as usize] {
            free @ Given::Absent => *free = given,
            _ => self.repeated.push(factor),
        }
    }

    /// All places, including those of the agencies in the facts.
    pub(crate) fn places(&self, received: Option<Named<'_>>, complained_of: Option<Named<'_>>) -> Places<'a> {
        let mut places = Places(self.named);
        places.set(Factor::Received, self::received(received));
        // Of one that has ended, the place of the agency that continues it: the complaint is about
        // that one's staff and files now.
        let complained_of = complained_of.map(|named| Given::Territory(named.now().territory));
        places.set(Factor::ComplainedOf, complained_of.unwrap_or(Given::Absent));
        // Nobody brings the home police against a critic: the complaint is usually submitted where
        // the complainant lives, so the receiver's place counts as little as the victim's.
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

    /// The kind of complainant whose place is not a factor, if the act is a publication.
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
            loss_currency: &facts.loss_currency_code,
            loss_minor_units: facts.loss_minor_units,
            loss_age_seconds: facts.loss_age_seconds,
            accepted: facts.accept_time.as_ref().and_then(Time::from_proto),
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
            operator: facts.register_answer.as_ref(),
            ..Self::of(&facts.category)
        };
        for place in &facts.places {
            situation.take_place(Factor::from_proto(place.factor()), given(place));
        }
        situation
    }
}

/// Salted SHA-256 of the encoded facts. Fields are encoded by number and maps by key, so that
/// decoding and encoding again gives the same bytes.
///
/// Facts can be guessed: without the salt, anybody with the digest could test guesses against it.
#[must_use]
pub fn facts_digest(facts: &Facts, salt: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"remit-facts-v1")
        .chain_update(u64::try_from(salt.len()).unwrap_or(u64::MAX).to_be_bytes())
        .chain_update(salt)
        .chain_update(facts.encode_to_vec())
        .finalize()
        .into()
}

fn given(place: &Place) -> Given<'_> {
    match &place.location {
        None => Given::Absent,
        Some(Location::Territory(name)) => territory(name),
        Some(Location::RegionCode(country)) => self::country(country),
    }
}

/// Parses the name of a territory.
pub(crate) fn territory(name: &str) -> Given<'_> {
    TerritoryCode::from_resource_name(name).map_or(Given::Unreadable(name), Given::Territory)
}

/// Parses a country.
pub(crate) fn country(country: &str) -> Given<'_> {
    match country {
        // The tree's own country is its root.
        "CN" => Given::Territory(TerritoryCode::ROOT),
        _ => country.parse().map_or(Given::Unreadable(country), Given::Abroad),
    }
}

/// The receiver's place. One that receives for the whole nation, such as a national hotline, has
/// none.
fn received(named: Option<Named<'_>>) -> Given<'static> {
    match named.map(|named| named.agency.territory) {
        None => Given::Absent,
        Some(TerritoryCode::ROOT) => Given::Nationwide,
        Some(territory) => Given::Territory(territory),
    }
}

/// An agency that the facts name, and who continues it if it has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    /// The agency named.
    pub agency: &'a Agency,
    /// Whether it has ended.
    pub has_ended: bool,
    /// Who continues it.
    pub heir: Option<&'a Agency>,
}

impl<'a> Named<'a> {
    /// Looks an agency up by its name.
    pub fn find(name: &str, directory: &'a Directory, day: Option<Date>) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let agency = agency_id(name).and_then(|id| directory.agency(&id))?;
        let has_ended = agency.has_ended(day);
        let heir = match has_ended {
            true => directory.heir(&agency.id, day),
            false => None,
        };
        Some(Self {
            agency,
            has_ended,
            heir,
        })
    }

    /// The agency, or the one that continues it.
    pub fn now(&self) -> &'a Agency {
        self.heir.unwrap_or(self.agency)
    }

    /// Its end, if it has ended.
    pub fn ended(&self) -> Option<Ended<'a>> {
        self.has_ended.then_some(Ended {
            agency: self.agency,
            heir: self.heir,
        })
    }
}

/// Parses the name of an agency.
pub fn agency_id(name: &str) -> Option<AgencyId> {
    names::AGENCY.id(name)
}
