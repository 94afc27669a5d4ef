//! The decision: from facts to the lead, the supporting agencies, the clocks and the reasons.
//!
//! [`decide`] is pure and total: the same facts, rule set and directory give the same answer, byte
//! for byte, and every input has one. Unusable input (an unknown code or factor) is skipped, and
//! the explanation says so: it contains every step, default and simplification.
//!
//! [`rule`] finds the answer with all its steps, as references and numbers ([`Ruling`]);
//! `decide/words.rs` turns it into the contract's words. A simulation that decides a million cases
//! and shows a hundred pays for the words of a hundred only.

mod operator;
mod words;

pub use words::column_words;
pub(crate) use words::number;

use std::collections::BTreeSet;

use api::event::ConnectingFactor;
use api::intake::SubjectKind;
use api::routing::{Explanation, Facts, OperatorAnswer, RouteDecision, RowMiss};
use jiff::civil::Date;
use places::{Country, TerritoryCode};

use crate::directory::{Agency, AgencyId, Directory, Ended, Function, LastResort, Located, Search};
use crate::factor::Factor;
pub use crate::facts::facts_digest;
use crate::facts::{Given, Named, Places, Situation, agency_id};
use crate::rules::{Action, Column, HoldNeed, Lead, Matched, Review, Row, RuleSet, Terms};

/// Time for which a loss counts as fresh, so that a payment may still be stopped: recalls are
/// practised up to 72 hours after it. No law gives a figure (反电信网络诈骗法 20: "at once").
const FRESH_LOSS_SECONDS: i64 = 72 * 3_600;

/// A decision about a report's route.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The agency that acts.
    pub outcome: Destination,
    /// Supporting agencies with reasons, each once and never the lead. Empty without a lead.
    pub supporting: Vec<(AgencyId, String)>,
    /// The row's terms for the case; `None` if the reporter is advised, since no agency owes
    /// anything then.
    pub terms: Option<Terms>,
    /// Every step of the answer.
    pub explanation: Explanation,
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An agency leads.
    Lead {
        /// The agency.
        agency: AgencyId,
        /// The connecting factor that gave it; `None` for the national default.
        factor: Option<Factor>,
    },
    /// No agency was found; a superior designates one.
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

/// Decides a report's route.
#[must_use]
pub fn decide(facts: &Facts, rules: &RuleSet, directory: &Directory) -> Decision {
    rule(&Situation::from(facts), rules, directory).decision()
}

/// A decision with all its steps, borrowing from its inputs.
#[derive(Debug)]
pub struct Ruling<'a> {
    rules: &'a RuleSet,
    directory: &'a Directory,
    /// The day of acceptance.
    day: Option<Date>,
    matched: Matched,
    row: &'a Row,
    outcome: Verdict<'a>,
    /// In the order tried.
    tried: Vec<Tried<'a>>,
    /// Supporting agencies with reasons; an agency with several reasons occurs several times.
    supporting: Vec<(&'a Agency, Reason<'a>)>,
    holds: Vec<Hold<'a>>,
    excluded: BTreeSet<AgencyId>,
    /// The operator register's answer, if it was asked.
    operator: Option<&'a OperatorAnswer>,
    notes: Vec<Note<'a>>,
}

/// Who acts, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// An agency leads: by the step with this index, or as the national default.
    Lead { agency: &'a Agency, by: Option<usize> },
    /// A superior designates.
    Designate(&'a AgencyId),
    /// The reporter is told who can act.
    Advise { zh: &'a str, en: &'a str },
}

/// One connecting factor that was tried.
#[derive(Debug)]
struct Tried<'a> {
    factor: Factor,
    given: Given<'a>,
    /// Set if the place is a territory.
    located: Option<Located<'a>>,
}

/// Why an agency supports.
#[derive(Debug)]
enum Reason<'a> {
    /// It has the lead's function at the operator's or the server's place.
    AtPlace(Factor, Located<'a>),
    /// It would lead by the ranking, at the step with this index.
    Ranked(usize),
    /// The row asks for its function, at the place that gave the lead.
    Function(&'a Function, Factor, Located<'a>),
    /// The operator or the server is abroad.
    Abroad(Factor, Country),
    /// It is asked to stop a payment.
    Hold(&'a Function),
}

/// A payment to stop.
#[derive(Debug)]
struct Hold<'a> {
    need: &'a HoldNeed,
    /// The factor whose place was searched, which gave the lead; `None` for the nation.
    at: Option<Factor>,
    agency: Option<&'a Agency>,
}

/// A default or a simplification. None is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Note<'a> {
    /// The facts exclude an agency that does not exist.
    ExcludedUnknown(&'a str),
    /// The second succeeds the first, which is excluded.
    ExcludedSuccessor(&'a AgencyId, &'a AgencyId),
    /// An agency with the function had ended. The second field is whether only the owner may know.
    DeskEnded(Ended<'a>, bool),
    /// The agency that received the report has ended.
    ReceiverEnded(Ended<'a>),
    /// The agency complained of has ended.
    ComplainedOfEnded(Ended<'a>),
    UnknownFactor,
    UnreadableCategory(&'a str),
    Repeated(Factor),
    CatchAll(&'a str),
    NationalDefault(&'a Agency),
    NobodyMayLead(&'a Function, &'a AgencyId),
    /// A last resort was excluded, and another designates.
    ResortExcluded {
        passed: &'a AgencyId,
        designates: &'a AgencyId,
    },
    /// All who could designate are excluded: this one designates anyway.
    ResortExcludedItself(&'a AgencyId),
    NobodySupportsYet,
    /// There is no place to search for a supporting function.
    NoPlaceFor(&'a Function),
    /// No agency with a supporting function at or above the place.
    NoneAbove(&'a Function, TerritoryCode),
    /// What the operator register did not provide.
    OperatorLeftOut,
    FreshLossWithoutHold,
    NotCompared,
    /// The agency that received the report is not in the directory.
    ReceiverUnknown(&'a str),
    /// The agency that received the report is excluded: only the owner may know.
    ReceiverExcluded(&'a Agency),
    /// This row gives the receiver no right to lead.
    ReceiverNoRight(&'a Agency),
    /// The receiver leads, because one of the places leads to it.
    ReceiverKeeps(&'a Agency, Factor),
    /// No place leads to the receiver.
    ReceiverNotConnected(&'a Agency),
}

/// Decides a report's route and keeps every step.
#[must_use]
pub fn rule<'a>(situation: &Situation<'a>, rules: &'a RuleSet, directory: &'a Directory) -> Ruling<'a> {
    let day = directory.day_of(situation);
    let received = Named::find(situation.received_by, directory, day);
    let complained_of = Named::find(situation.complained_of, directory, day);
    let places = situation.places(received, complained_of);
    let matched = rules.find(situation, &places, directory.tree_on(day));
    let row = rules.row(&matched);
    let mut desk = Desk {
        situation,
        places,
        received,
        complained_of,
        ruling: Ruling {
            rules,
            directory,
            day,
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

/// The state of a decision in progress.
struct Desk<'s, 'a> {
    situation: &'s Situation<'a>,
    places: Places<'a>,
    /// The agency that received the report first.
    received: Option<Named<'a>>,
    /// The agency that the report complains of.
    complained_of: Option<Named<'a>>,
    ruling: Ruling<'a>,
}

impl<'a> Desk<'_, 'a> {
    /// Notes facts other than conditions and places.
    fn read(&mut self) {
        let ruling = &mut self.ruling;
        for id in &self.situation.excluded {
            match agency_id(id) {
                Some(id) if ruling.directory.agency(&id).is_some() => drop(ruling.excluded.insert(id)),
                _ => ruling.notes.push(Note::ExcludedUnknown(id)),
            }
        }
        let named: Vec<_> = ruling.excluded.iter().cloned().collect();
        for id in named {
            let mut at = ruling.directory.agency(&id);
            while let Some(agency) = at
                && let Some(successor) = &agency.successor
                && ruling.excluded.insert(successor.clone())
            {
                ruling.notes.push(Note::ExcludedSuccessor(&agency.id, successor));
                at = ruling.directory.agency(successor);
            }
        }
        if let Some(ended) = self.complained_of.and_then(|named| named.ended()) {
            self.ruling.notes.push(Note::ComplainedOfEnded(ended));
        }
        let ruling = &mut self.ruling;
        if self.situation.category.is_empty() && !self.situation.category_name.is_empty() {
            ruling
                .notes
                .push(Note::UnreadableCategory(self.situation.category_name));
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

    /// Tries the row's factors in order, up to the first that gives an agency; all of them if the
    /// receiver may keep the report.
    fn try_factors(&mut self, lead: &'a Lead) {
        let mut found = false;
        for &factor in &lead.factors {
            let given = self.places.get(factor);
            // Factors after the one that gave the lead are not tried, but a ruled-out place is
            // reported anyway.
            let said_anyway =
                matches!(given, Given::RuledOut(_)) || lead.first_receiver_keeps && self.connects(lead, factor);
            if found && !said_anyway {
                continue;
            }
            let located = match given {
                Given::Territory(place) => Some(self.locate(lead, &lead.function, place, Some(factor))),
                _ => None,
            };
            found |= located.as_ref().is_some_and(|located| located.agency.is_some());
            self.ruling.tried.push(Tried { factor, given, located });
        }
    }

    /// Whether a factor can connect the receiver with the report: any place of the report can, the
    /// receiver's own cannot.
    fn connects(&self, lead: &Lead, factor: Factor) -> bool {
        counts_for_receiver(lead, factor) && matches!(self.places.get(factor), Given::Territory(_))
    }

    fn find_lead(&mut self, lead: &'a Lead, ranked: Option<usize>) -> Verdict<'a> {
        if lead.first_receiver_keeps
            && let Some(receiver) = self.receiver()
        {
            let connected = self.ruling.tried.iter().position(|tried| {
                counts_for_receiver(lead, tried.factor) && tried.agency().is_some_and(|agency| agency.id == receiver.id)
            });
            match connected {
                // The receiver also leads by the ranking.
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
        if let Some(agency) = self.locate(lead, &lead.function, TerritoryCode::ROOT, None).agency {
            self.ruling.notes.push(Note::NationalDefault(agency));
            return Verdict::Lead { agency, by: None };
        }
        let superior = self.last_resort();
        self.ruling.notes.push(Note::NobodyMayLead(&lead.function, superior));
        Verdict::Designate(superior)
    }

    /// The agency that designates if nobody may lead.
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

    /// Finds the supporting agencies. There are none without a lead: the designating superior sees
    /// the case alone at first.
    fn find_support(&mut self, lead: &'a Lead, ranked: Option<usize>) {
        let Verdict::Lead { by, .. } = self.ruling.outcome else {
            self.ruling.notes.push(Note::NobodySupportsYet);
            return;
        };
        if let Some(ranked) = ranked.filter(|ranked| by != Some(*ranked)) {
            let agency = self.ruling.tried[ranked].agency();
            self.support(agency, Reason::Ranked(ranked));
        }
        let supporting_places: &[Factor] = match lead.place_support {
            true => &[Factor::Operator, Factor::Server],
            false => &[],
        };
        for &factor in supporting_places {
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
            let located = self.locate(lead, function, place, Some(factor));
            if located.agency.is_none() {
                self.ruling.notes.push(Note::NoneAbove(function, place));
            }
            self.support(located.agency, Reason::Function(function, factor, located));
        }
        for factor in [Factor::Operator, Factor::Server] {
            if let Given::Abroad(country) = self.places.get(factor) {
                for function in &lead.abroad {
                    let agency = self.locate(lead, function, TerritoryCode::ROOT, None).agency;
                    self.support(agency, Reason::Abroad(factor, country));
                }
            }
        }
    }

    /// Finds the agencies asked to stop a payment. They support from the start.
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
            let agency = self.locate(lead, &need.function, place, at).agency;
            self.support(agency, Reason::Hold(&need.function));
            self.ruling.holds.push(Hold { need, at, agency });
        }
    }

    /// Adds a reason to support, unless the agency leads.
    fn support(&mut self, agency: Option<&'a Agency>, reason: Reason<'a>) {
        if let Some(agency) = agency
            && !matches!(self.ruling.outcome, Verdict::Lead { agency: lead, .. } if lead.id == agency.id)
        {
            self.ruling.supporting.push((agency, reason));
        }
    }

    /// The nearest agency with a function, climbing from the place of a factor, that neither the
    /// facts nor the row exclude. Notes the agencies that had ended.
    fn locate(
        &mut self,
        lead: &Lead,
        function: &Function,
        place: TerritoryCode,
        factor: Option<Factor>,
    ) -> Located<'a> {
        let directory = self.ruling.directory;
        let search = Search {
            function,
            category: Some(self.situation.category),
            day: self.ruling.day,
            excluded: &self.ruling.excluded,
        };
        let mut located = directory.locate(&search, place);
        while let Some(agency) = located.agency
            && agency.functions.iter().any(|function| lead.exclude.contains(function))
        {
            // Not above the agency: it may continue one that was here, and be elsewhere.
            let here = located.climb.last().copied().unwrap_or(agency.territory);
            let above = directory.tree_on(search.day).parent(here);
            let Some(above) = above else {
                located.passed.push(&agency.id);
                located.agency = None;
                break;
            };
            let higher = directory.locate(&search, above);
            located.passed.push(&agency.id);
            located.passed.extend(higher.passed);
            located.climb.extend(higher.climb);
            located.ended.extend(higher.ended);
            located.agency = higher.agency;
        }
        for ended in &located.ended {
            // Its name would tell the place of the agency complained of.
            let note = Note::DeskEnded(*ended, factor == Some(Factor::ComplainedOf));
            if !self.ruling.notes.contains(&note) {
                self.ruling.notes.push(note);
            }
        }
        located
    }

    /// The search result of a tried factor, or a new search if the factor was not tried.
    fn located_again(&mut self, lead: &Lead, factor: Factor, place: TerritoryCode) -> Located<'a> {
        let tried = self.ruling.tried.iter().find(|tried| tried.factor == factor);
        match tried.and_then(|tried| tried.located.as_ref()) {
            Some(located) => located.clone(),
            None => self.locate(lead, &lead.function, place, Some(factor)),
        }
    }

    /// The agency that received the report first, or the agency that continues it, unless it is
    /// excluded or unknown.
    fn receiver(&self) -> Option<&'a Agency> {
        self.received().filter(|agency| !self.is_excluded(agency))
    }

    /// The agency that received the report first, or the agency that continues it.
    fn received(&self) -> Option<&'a Agency> {
        self.received.map(|named| named.now())
    }

    fn is_excluded(&self, agency: &Agency) -> bool {
        self.ruling.directory.is_excluded(&agency.id, &self.ruling.excluded)
    }

    /// Notes what a reader of the route might expect but this decision does not do.
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
        match self.received() {
            None if !facts.received_by.is_empty() => {
                self.ruling.notes.push(Note::ReceiverUnknown(facts.received_by));
            }
            Some(receiver) if lead.first_receiver_keeps && self.is_excluded(receiver) => {
                self.ruling.notes.push(Note::ReceiverExcluded(receiver));
            }
            _ => {}
        }
        if !lead.first_receiver_keeps
            && let Some(receiver) = self.receiver()
            && !matches!(self.ruling.outcome, Verdict::Lead { agency, .. } if agency.id == receiver.id)
        {
            self.ruling.notes.push(Note::ReceiverNoRight(receiver));
        }
        if let Some(receiver) = self.receiver()
            && let Some(ended) = self.received.and_then(|named| named.ended())
            && ended.heir == Some(receiver)
        {
            self.ruling.notes.push(Note::ReceiverEnded(ended));
        }
    }
}

/// Whether the row lets the first receiver keep a report through this factor.
fn counts_for_receiver(lead: &Lead, factor: Factor) -> bool {
    let named = &lead.first_receiver_factors;
    factor != Factor::Received && (named.is_empty() || named.contains(&factor))
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

    /// The matching row.
    #[must_use]
    pub const fn row(&self) -> &'a Row {
        self.row
    }

    /// The factor that gave the lead; `None` for a default, or without a lead.
    #[must_use]
    pub fn factor(&self) -> Option<Factor> {
        match self.outcome {
            Verdict::Lead { by: Some(by), .. } => Some(self.tried[by].factor),
            _ => None,
        }
    }

    /// Supporting agencies in the order found, each once.
    pub(crate) fn supporters(&self) -> impl Iterator<Item = &'a AgencyId> {
        let all = self.supporting.iter().map(|(agency, _)| &agency.id);
        all.enumerate()
            .filter(|(at, id)| !self.supporting[..*at].iter().any(|(earlier, _)| earlier.id == **id))
            .map(|(_, id)| id)
    }

    /// The rows before the matching one, each with the first column that failed.
    pub fn misses(&self) -> Vec<(&'a Row, &'a Column)> {
        self.missed(&self.matched.failed()).collect()
    }

    /// [`Self::misses`], of the columns at which the rows failed.
    fn missed(&self, failed: &[u8]) -> impl Iterator<Item = (&'a Row, &'a Column)> {
        let columns: Vec<&Column> = self.rules.columns().collect();
        failed.iter().zip(self.rules.rows()).filter_map(move |(failed, row)| {
            let column = columns.get(usize::from(*failed).checked_sub(1)?)?;
            Some((row, *column))
        })
    }

    /// What the row lays down for the case, for whoever comes to lead it.
    fn terms(&self) -> Option<Terms> {
        match &self.row.action {
            Action::Lead(lead) => Some(Terms::of(lead, self.rules)),
            Action::Advise { .. } => None,
        }
    }

    /// Puts the decision into words.
    #[must_use]
    pub fn decision(&self) -> Decision {
        let outcome = match self.outcome {
            Verdict::Lead { agency, .. } => Destination::Lead {
                agency: agency.id.clone(),
                factor: self.factor(),
            },
            Verdict::Designate(superior) => Destination::Designate {
                superior: superior.clone(),
            },
            Verdict::Advise { zh, en } => Destination::Advise {
                zh: zh.to_owned(),
                en: en.to_owned(),
            },
        };
        let explanation = self.explanation();
        Decision {
            outcome,
            supporting: self
                .supporters()
                .cloned()
                .zip(explanation.supporting.iter().map(|support| support.reason.clone()))
                .collect(),
            terms: self.terms(),
            explanation,
        }
    }

    /// The decision as a contract message.
    #[must_use]
    pub fn to_proto(&self) -> RouteDecision {
        let decision = self.decision();
        // Clocks of a lead: the superior that designates has its own, which no row sets.
        let leads = matches!(self.outcome, Verdict::Lead { .. });
        let terms = decision.terms.as_ref().filter(|_| leads);
        let terms = terms.map(Terms::to_proto).unwrap_or_default();
        let mut answer = RouteDecision {
            acknowledge: terms.acknowledge,
            result: terms.result,
            explanation: Some(decision.explanation),
            misses: self
                .misses()
                .into_iter()
                .map(|(row, column)| RowMiss {
                    row: row.id.clone(),
                    column: column.name().into_owned(),
                })
                .collect(),
            ..RouteDecision::default()
        };
        match self.outcome {
            Verdict::Lead { agency, .. } => {
                answer.lead = agency.id.resource_name();
                answer.lead_titles = api::bilingual(&agency.title_zh, &agency.title_en);
            }
            Verdict::Designate(superior) => answer.designating = superior.resource_name(),
            Verdict::Advise { zh, en } => {
                answer.advice = Some(api::intake::Advice {
                    texts: api::bilingual(zh, en),
                });
            }
        }
        answer
    }

    /// Whether a second person must review the result.
    pub(crate) const fn review(&self) -> Review {
        match &self.row.action {
            Action::Lead(lead) => lead.review,
            Action::Advise { .. } => Review::None,
        }
    }
}

/// Removes from an explanation what only the case's owner may see: excluded agencies and their
/// places, and the operator register's matches for a subject.
///
/// Also removes the facts digest and its salt: with the rest known, one could test guesses of the
/// excluded agencies against it.
#[must_use]
pub fn without_excluded(mut explanation: Explanation) -> Explanation {
    explanation.excluded.clear();
    explanation.exclusions.clear();
    explanation.facts_digest.clear();
    explanation.facts_salt.clear();
    operator::without_matches(&mut explanation);
    for tried in &mut explanation.factors {
        tried.passed.clear();
        if tried.factor() == ConnectingFactor::ComplainedOf {
            tried.place = None;
            tried.climb.clear();
        }
    }
    explanation
}
