//! The decision: from facts to who leads, who supports, by when, and why.
//!
//! [`decide`] is pure and total: the same facts, rule set and directory give the same answer, byte for byte, and there
//! is no input for which there is none. What cannot be used (an unknown code, an unknown factor) is left out and said
//! so: every step, default and simplification stands in the explanation.
//!
//! [`rule`] finds the answer with every step of it, as references and numbers ([`Ruling`]); `decide/words.rs` puts it into
//! the words of the contract. Whoever decides a million times and shows a hundred needs the words for a hundred only.

mod operator;
mod words;

use std::collections::BTreeSet;

use api::intake::SubjectKind;
use api::routing::{Explanation, Facts, OperatorAnswer, RouteDecision, RowMiss};
use places::{Country, TerritoryCode};

use crate::calendar::Clocks;
use crate::directory::{Agency, AgencyId, Directory, Function, LastResort, Located, Search};
pub use crate::facts::facts_digest;
use crate::facts::{Given, Places, Situation, agency_id};
use crate::rules::{Action, Factor, HoldNeed, Lead, Matched, Review, Row, RuleSet};

/// A loss is fresh, so that a payment may still be stopped, for this long: recalls are practised up to 72 hours after
/// it. No law gives a figure (反电信网络诈骗法 20: "at once").
const FRESH_LOSS_SECONDS: i64 = 72 * 3_600;

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
    rule(&Situation::from(facts), rules, directory).decision(facts_digest(facts))
}

/// The answer with every step of it, borrowed from what it was found in.
#[derive(Debug)]
pub struct Ruling<'a> {
    rules: &'a RuleSet,
    directory: &'a Directory,
    matched: Matched,
    row: &'a Row,
    outcome: Verdict<'a>,
    /// In the order tried.
    tried: Vec<Tried<'a>>,
    /// Who supports and why; who has several reasons stands several times.
    supporting: Vec<(&'a Agency, Reason<'a>)>,
    holds: Vec<Hold<'a>>,
    excluded: BTreeSet<AgencyId>,
    /// What the operator register answered, when it was asked.
    operator: Option<&'a OperatorAnswer>,
    notes: Vec<Note<'a>>,
}

/// Who acts, as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// An agency leads: by the step of that number, or as the national default.
    Lead { agency: &'a Agency, by: Option<usize> },
    /// A superior designates.
    Designate(&'a AgencyId),
    /// The reporter is told who can act.
    Advise { zh: &'a str, en: &'a str },
}

/// One connecting factor, as it was tried.
#[derive(Debug)]
struct Tried<'a> {
    factor: Factor,
    given: Given<'a>,
    /// Set when the place is a territory.
    located: Option<Located<'a>>,
}

/// Why an agency supports.
#[derive(Debug)]
enum Reason<'a> {
    /// It has the lead's function at the operator's or the server's place.
    AtPlace(Factor, Located<'a>),
    /// It would have led as ranked, by the step of that number.
    Ranked(usize),
    /// The row asks for its function, at the place that gave the lead.
    Function(&'a Function, Factor, Located<'a>),
    /// The operator or the server is abroad.
    Abroad(Factor, Country),
    /// It is asked to stop a payment.
    Hold(&'a Function),
}

/// A payment to be stopped.
#[derive(Debug)]
struct Hold<'a> {
    need: &'a HoldNeed,
    /// Where it was looked for: the factor that gave the lead; `None` for the nation.
    at: Option<Factor>,
    agency: Option<&'a Agency>,
}

/// A default or a simplification. None is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note<'a> {
    /// The facts exclude an agency that is not there.
    ExcludedUnknown(&'a str),
    UnknownFactor,
    Repeated(Factor),
    CatchAll(&'a str),
    NationalDefault(&'a Agency),
    NobodyMayLead(&'a Function, &'a AgencyId),
    /// A last resort was passed over as excluded, for the one named.
    ResortExcluded {
        passed: &'a AgencyId,
        designates: &'a AgencyId,
    },
    /// Everybody who could designate is excluded: this one designates all the same.
    ResortExcludedItself(&'a AgencyId),
    NobodySupportsYet,
    /// No place to look for a supporting function.
    NoPlaceFor(&'a Function),
    /// No agency of a supporting function above the place.
    NoneAbove(&'a Function, TerritoryCode),
    /// What the operator register did not give.
    OperatorLeftOut,
    FreshLossWithoutHold,
    NotCompared,
    /// The receiver has no right to lead in this row.
    ReceiverNoRight(&'a Agency),
    /// The receiver leads, as one of the places leads to it.
    ReceiverKeeps(&'a Agency, Factor),
    /// No place leads to the receiver.
    ReceiverNotConnected(&'a Agency),
}

/// Decides where a report goes, and keeps every step.
#[must_use]
pub fn rule<'a>(situation: &Situation<'a>, rules: &'a RuleSet, directory: &'a Directory) -> Ruling<'a> {
    let places = situation.places(directory);
    let matched = rules.find(situation, &places, directory);
    let row = rules.row(&matched);
    let mut desk = Desk {
        situation,
        places,
        ruling: Ruling {
            rules,
            directory,
            row,
            outcome: Verdict::Advise { zh: "", en: "" },
            tried: Vec::with_capacity(Factor::COUNT),
            supporting: Vec::new(),
            holds: Vec::new(),
            excluded: BTreeSet::new(),
            operator: situation.operator,
            notes: Vec::with_capacity(4),
            matched,
        },
    };
    desk.read();
    match &row.action {
        Action::Lead(lead) => desk.lead(lead),
        Action::Advise { zh, en } => desk.ruling.outcome = Verdict::Advise { zh, en },
    }
    desk.ruling
}

/// One report on the table, with what has been found so far.
struct Desk<'s, 'a> {
    situation: &'s Situation<'a>,
    places: Places<'a>,
    ruling: Ruling<'a>,
}

impl<'a> Desk<'_, 'a> {
    /// Takes up what the facts say beyond conditions and places.
    fn read(&mut self) {
        let ruling = &mut self.ruling;
        for id in &self.situation.excluded {
            match agency_id(id) {
                Some(id) if ruling.directory.agency(&id).is_some() => drop(ruling.excluded.insert(id)),
                _ => ruling.notes.push(Note::ExcludedUnknown(id)),
            }
        }
        if self.situation.unknown_factors > 0 {
            ruling.notes.push(Note::UnknownFactor);
        }
        for factor in &self.situation.repeated {
            ruling.notes.push(Note::Repeated(*factor));
        }
        if ruling.row.conditions.is_empty() {
            ruling.notes.push(Note::CatchAll(self.situation.category));
        }
    }

    fn lead(&mut self, lead: &'a Lead) {
        self.try_factors(lead);
        let ranked = self.ruling.tried.iter().position(|tried| tried.agency().is_some());
        self.ruling.outcome = self.find_lead(lead, ranked);
        self.find_support(lead, ranked);
        self.find_holds(lead);
        self.say_what_is_left_out(lead);
    }

    /// Tries the row's factors in order, up to the first that gives an agency; where the receiver may keep the report, all.
    fn try_factors(&mut self, lead: &'a Lead) {
        let mut found = false;
        for &factor in &lead.factors {
            let given = self.places.get(factor);
            // Places after the one that gave the lead are not tried; that one counts for nothing is said all the same.
            let said_anyway = matches!(given, Given::RuledOut(_)) || lead.first_receiver_keeps && self.connects(factor);
            if found && !said_anyway {
                continue;
            }
            let located = match given {
                Given::Territory(place) => Some(self.locate(lead, &lead.function, place)),
                _ => None,
            };
            found |= located.as_ref().is_some_and(|located| located.agency.is_some());
            self.ruling.tried.push(Tried { factor, given, located });
        }
    }

    /// Whether a factor can connect the receiver with the report: any place of the report can, its own cannot.
    fn connects(&self, factor: Factor) -> bool {
        factor != Factor::Received && matches!(self.places.get(factor), Given::Territory(_))
    }

    fn find_lead(&mut self, lead: &'a Lead, ranked: Option<usize>) -> Verdict<'a> {
        if lead.first_receiver_keeps
            && let Some(receiver) = self.receiver()
        {
            let connected = self.ruling.tried.iter().position(|tried| {
                tried.factor != Factor::Received && tried.agency().is_some_and(|agency| agency.id == receiver.id)
            });
            match connected {
                // It leads as ranked, too.
                Some(by) if ranked == Some(by) => {}
                Some(by) => {
                    let factor = self.ruling.tried[by].factor;
                    self.ruling.notes.push(Note::ReceiverKeeps(receiver, factor));
                    return Verdict::Lead {
                        agency: receiver,
                        by: Some(by),
                    };
                }
                None => self.ruling.notes.push(Note::ReceiverNotConnected(receiver)),
            }
        }
        if let Some(by) = ranked
            && let Some(agency) = self.ruling.tried[by].agency()
        {
            return Verdict::Lead { agency, by: Some(by) };
        }
        if let Some(agency) = self.locate(lead, &lead.function, TerritoryCode::ROOT).agency {
            self.ruling.notes.push(Note::NationalDefault(agency));
            return Verdict::Lead { agency, by: None };
        }
        let superior = self.last_resort();
        self.ruling.notes.push(Note::NobodyMayLead(&lead.function, superior));
        Verdict::Designate(superior)
    }

    /// Who designates where nobody may lead.
    fn last_resort(&mut self) -> &'a AgencyId {
        let (rules, directory) = (self.ruling.rules, self.ruling.directory);
        let LastResort { first, designates } = directory.last_resort_of(rules.last_resort(), &self.ruling.excluded);
        if first != designates {
            self.ruling.notes.push(Note::ResortExcluded {
                passed: first,
                designates,
            });
        } else if directory.is_excluded(first, &self.ruling.excluded) {
            self.ruling.notes.push(Note::ResortExcludedItself(first));
        }
        designates
    }

    /// Finds who supports. Nobody does before there is a lead: whoever designates first sees the case alone.
    fn find_support(&mut self, lead: &'a Lead, ranked: Option<usize>) {
        let Verdict::Lead { by, .. } = self.ruling.outcome else {
            self.ruling.notes.push(Note::NobodySupportsYet);
            return;
        };
        if let Some(ranked) = ranked.filter(|ranked| by != Some(*ranked)) {
            let agency = self.ruling.tried[ranked].agency();
            self.support(agency, Reason::Ranked(ranked));
        }
        for factor in [Factor::Operator, Factor::Server] {
            if let Given::Territory(place) = self.places.get(factor) {
                let located = self.located_again(lead, factor, place);
                self.support(located.agency, Reason::AtPlace(factor, located));
            }
        }
        let found = by.map(|by| &self.ruling.tried[by]);
        let place = found.and_then(|tried| match tried.given {
            Given::Territory(place) => Some((tried.factor, place)),
            _ => None,
        });
        for function in &lead.support {
            let Some((factor, place)) = place else {
                self.ruling.notes.push(Note::NoPlaceFor(function));
                continue;
            };
            let located = self.locate(lead, function, place);
            if located.agency.is_none() {
                self.ruling.notes.push(Note::NoneAbove(function, place));
            }
            self.support(located.agency, Reason::Function(function, factor, located));
        }
        for factor in [Factor::Operator, Factor::Server] {
            if let Given::Abroad(country) = self.places.get(factor) {
                for function in &lead.abroad {
                    let agency = self.locate(lead, function, TerritoryCode::ROOT).agency;
                    self.support(agency, Reason::Abroad(factor, country));
                }
            }
        }
    }

    /// Finds who is asked to stop a payment: it supports from the start.
    fn find_holds(&mut self, lead: &'a Lead) {
        let Verdict::Lead { by, .. } = self.ruling.outcome else {
            return;
        };
        for need in &lead.holds {
            let at = by.map(|by| (self.ruling.tried[by].factor, self.ruling.tried[by].given));
            let (at, place) = match at {
                Some((factor, Given::Territory(place))) => (Some(factor), place),
                _ => (None, TerritoryCode::ROOT),
            };
            let agency = self.locate(lead, &need.function, place).agency;
            self.support(agency, Reason::Hold(&need.function));
            self.ruling.holds.push(Hold { need, at, agency });
        }
    }

    /// Adds a reason to support, unless it is the lead's.
    fn support(&mut self, agency: Option<&'a Agency>, reason: Reason<'a>) {
        if let Some(agency) = agency
            && !matches!(self.ruling.outcome, Verdict::Lead { agency: lead, .. } if lead.id == agency.id)
        {
            self.ruling.supporting.push((agency, reason));
        }
    }

    /// The nearest agency of a function, from the place up, that is not kept out by the facts or by the row.
    fn locate(&self, lead: &Lead, function: &Function, place: TerritoryCode) -> Located<'a> {
        let directory = self.ruling.directory;
        let search = Search {
            function,
            category: Some(self.situation.category),
            day: self.situation.day,
            excluded: &self.ruling.excluded,
        };
        let mut located = directory.locate(&search, place);
        while let Some(agency) = located.agency
            && agency.functions.iter().any(|function| lead.exclude.contains(function))
        {
            let above = directory.territories().ancestors(agency.territory).nth(1);
            let Some(above) = above else {
                located.passed.push(&agency.id);
                located.agency = None;
                break;
            };
            let higher = directory.locate(&search, above);
            located.passed.push(&agency.id);
            located.passed.extend(higher.passed);
            located.climb.extend(higher.climb);
            located.agency = higher.agency;
        }
        located
    }

    /// As located when the factor was tried; its turn may not have come.
    fn located_again(&self, lead: &Lead, factor: Factor, place: TerritoryCode) -> Located<'a> {
        let tried = self.ruling.tried.iter().find(|tried| tried.factor == factor);
        match tried.and_then(|tried| tried.located.as_ref()) {
            Some(located) => located.clone(),
            None => self.locate(lead, &lead.function, place),
        }
    }

    /// The agency that received the report first, unless it is kept out or not there.
    fn receiver(&self) -> Option<&'a Agency> {
        if self.situation.received_by.is_empty() {
            return None;
        }
        let directory = self.ruling.directory;
        agency_id(self.situation.received_by)
            .and_then(|id| directory.agency(&id))
            .filter(|agency| !directory.is_excluded(&agency.id, &self.ruling.excluded))
    }

    /// Says what a reader of the route might expect and this decision does not do.
    fn say_what_is_left_out(&mut self, lead: &Lead) {
        let facts = self.situation;
        let has_operator = |kind: &SubjectKind| {
            matches!(
                kind,
                SubjectKind::Url | SubjectKind::Domain | SubjectKind::Account | SubjectKind::App
            )
        };
        let expected =
            || self.places.get(Factor::Operator) == Given::Absent && facts.subject_kinds.iter().any(has_operator);
        if facts.operator.is_some_and(operator::leaves_out) || facts.operator.is_none() && expected() {
            self.ruling.notes.push(Note::OperatorLeftOut);
        }
        let fresh = facts.loss_age_seconds.is_some_and(|age| age <= FRESH_LOSS_SECONDS);
        if facts.loss_minor_units > 0 && fresh && lead.holds.is_empty() {
            self.ruling.notes.push(Note::FreshLossWithoutHold);
        }
        if !facts.subject_kinds.is_empty() {
            self.ruling.notes.push(Note::NotCompared);
        }
        if !lead.first_receiver_keeps
            && let Some(receiver) = self.receiver()
            && !matches!(self.ruling.outcome, Verdict::Lead { agency, .. } if agency.id == receiver.id)
        {
            self.ruling.notes.push(Note::ReceiverNoRight(receiver));
        }
    }
}

impl<'a> Tried<'a> {
    fn agency(&self) -> Option<&'a Agency> {
        self.located.as_ref().and_then(|located| located.agency)
    }
}

impl<'a> Ruling<'a> {
    /// Who acts.
    pub(crate) const fn outcome(&self) -> Verdict<'a> {
        self.outcome
    }

    /// The row that matched.
    #[must_use]
    pub const fn row(&self) -> &'a Row {
        self.row
    }

    /// The factor that gave the lead; `None` when a default did, or nobody leads.
    #[must_use]
    pub fn factor(&self) -> Option<Factor> {
        match self.outcome {
            Verdict::Lead { by: Some(by), .. } => Some(self.tried[by].factor),
            _ => None,
        }
    }

    /// Agencies that support, in the order in which they were found, each once.
    pub(crate) fn supporters(&self) -> impl Iterator<Item = &'a AgencyId> {
        let all = self.supporting.iter().map(|(agency, _)| &agency.id);
        all.enumerate()
            .filter(|(at, id)| !self.supporting[..*at].iter().any(|(earlier, _)| earlier.id == **id))
            .map(|(_, id)| id)
    }

    /// The rows before the one that matched, each with the first column that did not hold.
    pub fn misses(&self) -> impl Iterator<Item = (&'a Row, String)> {
        let columns: Vec<String> = self.rules.columns().map(ToString::to_string).collect();
        let failed: Vec<u8> = self.matched.failed().collect();
        failed
            .into_iter()
            .zip(self.rules.rows())
            .filter_map(move |(failed, row)| {
                let column = columns.get(usize::from(failed).checked_sub(1)?)?;
                Some((row, column.clone()))
            })
    }

    /// The decision, in words. The digest is that of the facts that it was made from.
    #[must_use]
    pub fn decision(&self, facts_digest: [u8; 32]) -> Decision {
        let outcome = match self.outcome {
            Verdict::Lead { agency, .. } => Outcome::Lead {
                agency: agency.id.clone(),
                factor: self.factor(),
            },
            Verdict::Designate(superior) => Outcome::Designate {
                superior: superior.clone(),
            },
            Verdict::Advise { zh, en } => Outcome::Advise {
                zh: zh.to_owned(),
                en: en.to_owned(),
            },
        };
        let explanation = self.explanation(facts_digest);
        Decision {
            outcome,
            supporting: self
                .supporters()
                .cloned()
                .zip(explanation.supporting.iter().map(|support| support.reason.clone()))
                .collect(),
            clocks: match &self.row.action {
                Action::Lead(lead) => Some(lead.clocks),
                Action::Advise { .. } => None,
            },
            explanation,
        }
    }

    /// The decision as the contract has it.
    #[must_use]
    pub fn to_proto(&self, facts_digest: [u8; 32]) -> RouteDecision {
        let decision = self.decision(facts_digest);
        let mut answer = RouteDecision {
            acknowledge: decision
                .clocks
                .map(|clocks| crate::rules::clock_need(clocks.acknowledge)),
            result: decision.clocks.map(|clocks| crate::rules::clock_need(clocks.result)),
            explanation: Some(decision.explanation),
            misses: self
                .misses()
                .map(|(row, column)| RowMiss {
                    row: row.id.clone(),
                    column,
                })
                .collect(),
            ..RouteDecision::default()
        };
        match self.outcome {
            Verdict::Lead { agency, .. } => {
                answer.lead = agency.id.resource_name();
                answer.lead_title_zh.clone_from(&agency.title_zh);
                answer.lead_title_en.clone_from(&agency.title_en);
            }
            Verdict::Designate(superior) => answer.designating = superior.resource_name(),
            Verdict::Advise { zh, en } => {
                answer.advice = Some(api::intake::Advice {
                    text_zh: zh.to_owned(),
                    text_en: en.to_owned(),
                });
            }
        }
        answer
    }

    /// Whether a second person has to look at the result.
    pub(crate) const fn review(&self) -> Review {
        match &self.row.action {
            Action::Lead(lead) => lead.review,
            Action::Advise { .. } => Review::None,
        }
    }
}

/// An explanation for those who do not own the case: it names nobody who is excluded, and not where such a unit is, nor what the
/// operator register has for a subject.
///
/// The digest of the facts goes, too: whoever knows the rest could try list after list of excluded agencies against it.
#[must_use]
pub fn without_excluded(mut explanation: Explanation) -> Explanation {
    explanation.excluded.clear();
    explanation.exclusions.clear();
    explanation.facts_digest.clear();
    operator::without_matches(&mut explanation);
    for tried in &mut explanation.factors {
        tried.passed.clear();
        if tried.factor == Factor::ComplainedOf.as_str() {
            tried.place.clear();
            tried.climb.clear();
        }
    }
    explanation
}
