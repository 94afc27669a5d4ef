//! The decision in the contract's words.
//!
//! Everything that names an excluded unit, or would let readers infer one, goes into fields of its
//! own, so that it can be removed for all but the owner: `excluded`, `exclusions`, `passed`, and
//! the place of the agency complained of.

use std::{borrow::Cow, fmt::Write as _};

use api::routing::factor_tried::Place;
use api::routing::{Explanation, FactorTried, HoldAsked, Support};

use super::{Hold, Note, Reason, Ruling, Tried, Verdict, operator};
use crate::directory::{AgencyId, Located, view};
use crate::factor::Factor;
use crate::facts::Given;
use crate::phrases::in_chinese;
use crate::rules::{Action, Column};

impl Ruling<'_> {
    /// Every step of the decision, in words.
    pub(super) fn explanation(&self) -> Explanation {
        let (mut fallbacks, mut exclusions) = (Vec::new(), Vec::new());
        let failed = self.matched.failed();
        let read: Vec<Option<String>> = self.tried.iter().map(|tried| self.read_as(tried)).collect();
        let tried = || self.tried.iter().zip(read.iter().map(Option::as_deref));
        for (tried, read) in tried() {
            fallbacks.extend(doubt(tried, read));
        }
        for note in &self.notes {
            match self.note(*note, &failed) {
                (words, false) => fallbacks.push(words),
                (words, true) => exclusions.push(words),
            }
        }
        for tried in self
            .tried
            .iter()
            .filter_map(|tried| tried.located.as_ref().map(|located| (tried, located)))
        {
            let (tried, located) = tried;
            for passed in &located.passed {
                exclusions.push(format!("{}: {passed} was passed over", tried.factor));
            }
        }
        let supporting = self.support();
        let explanation = Explanation {
            rule_set: names::RULE_SET.of(names::Digest(self.rules.digest())),
            table_id: self.rules.id().to_owned(),
            row: self.row.id.clone(),
            source: self.row.source.clone(),
            factors: tried().map(|(tried, read)| self.step(tried, read)).collect(),
            factor: number(self.factor()),
            excluded: self.excluded.iter().map(AgencyId::resource_name).collect(),
            fallbacks,
            summary: self.summary(&supporting),
            supporting,
            // Set where a decision is kept, with the salt that is kept with it.
            facts_digest: Default::default(),
            facts_salt: Default::default(),
            rule_set_digest: self.rules.digest().to_vec().into(),
            directory_digest: self.directory.digest().to_vec().into(),
            exclusions,
            failed_columns: failed.into(),
            holds: self.holds.iter().map(asked).collect(),
            review: self.review().to_proto().into(),
            register_answer: self.operator.cloned(),
        };
        debug_assert_eq!(
            untold(&explanation),
            Vec::<&str>::new(),
            "`phrases` lacks these in Chinese"
        );
        explanation
    }

    /// One factor and its result; `read` is how its place was read.
    fn step(&self, tried: &Tried<'_>, read: Option<&str>) -> FactorTried {
        let mut step = FactorTried {
            factor: tried.factor.to_wire().into(),
            ..FactorTried::default()
        };
        step.outcome = match tried.given {
            Given::Absent => "the report names no such place".to_owned(),
            Given::RuledOut(victim) => format!("does not count: {victim} complains about a publication"),
            Given::Nationwide => "does not count: the agency that received it works for the whole nation".to_owned(),
            Given::Unreadable(text) => {
                step.place = Some(Place::Unreadable(text.to_owned()));
                "left out: neither a territory code nor a country".to_owned()
            }
            Given::Abroad(country) => {
                step.place = Some(Place::RegionCode(country.to_string()));
                format!("{country} is outside the tree of territories: no agency there can lead")
            }
            Given::Territory(place) => {
                step.place = Some(Place::Territory(place.resource_name()));
                String::new()
            }
        };
        if let Some(located) = &tried.located {
            step.climb = located.climb.iter().map(|code| code.resource_name()).collect();
            step.agency = located
                .agency
                .map(|agency| agency.id.resource_name())
                .unwrap_or_default();
            step.passed = located.passed.iter().map(|id| id.resource_name()).collect();
            step.outcome = self.climbed(located, read);
        }
        if let Some(by_register) = self
            .operator
            .filter(|_| tried.factor == Factor::Operator)
            .and_then(operator::gave_place)
        {
            step.outcome = format!("{by_register}; {}", step.outcome);
        }
        step
    }

    /// The result of a climb.
    fn climbed(&self, located: &Located<'_>, read: Option<&str>) -> String {
        if located.climb.is_empty() {
            return "left out: the tree has no such territory".to_owned();
        }
        let read = match read {
            Some(read) => format!("{read};  "),
            None => String::new(),
        };
        match (located.agency, &self.row.action) {
            (Some(agency), _) => format!("{read}leads to {}", agency.id),
            (None, Action::Lead(lead)) => format!("{read}no {} agency there or above, up to the nation", lead.function),
            (None, Action::Advise { .. }) => format!("{read}no agency there or above, up to the nation"),
        }
    }

    /// How the place of a factor was read, if it is not simply in force. `None` for the place of
    /// the agency complained of, which only the owner may see.
    fn read_as(&self, tried: &Tried<'_>) -> Option<String> {
        let is_known = tried.located.as_ref().is_some_and(|located| !located.climb.is_empty());
        match tried.given {
            Given::Territory(place) if is_known && tried.factor != Factor::ComplainedOf => {
                view::read_as(self.directory.tree_on(self.day), place)
            }
            _ => None,
        }
    }

    /// A note's text, and whether only the owner may see it; `failed` are the columns at which rows
    /// failed.
    fn note(&self, note: Note<'_>, failed: &[u8]) -> (String, bool) {
        let words = match note {
            Note::ExcludedUnknown(id) => {
                return (
                    format!("excluded agency `{id}` is not in the directory: it excluded nobody"),
                    true,
                );
            }
            Note::ExcludedSuccessor(id, successor) => {
                return (format!("{successor} is excluded, too: it succeeds {id}"), true);
            }
            Note::ComplainedOfEnded(ended) => {
                let above = match ended.heir {
                    Some(heir) => format!(": decided as if {} were complained of", heir.id),
                    None => String::new(),
                };
                return (format!("complained of: {ended}{above}"), true);
            }
            Note::DeskEnded(ended, hidden) => return (ended.to_string(), hidden),
            Note::ReceiverEnded(ended) => format!("received first: {ended}"),
            Note::ResortExcluded { passed, designates } => {
                return (
                    format!("{passed} is excluded itself: {designates} designates instead"),
                    true,
                );
            }
            Note::ResortExcludedItself(superior) => {
                return (
                    format!("{superior} is excluded itself, like all others at the top: it designates anyway"),
                    true,
                );
            }
            Note::UnreadableCategory(name) => {
                format!("`{name}` is not the name of a category: no row has it")
            }
            Note::UnknownFactor => "a place with an unknown connecting factor was skipped".to_owned(),
            Note::Repeated(factor) => format!("{factor}: given more than once; only the first place was used"),
            Note::CatchAll(category) => self.caught(category, failed),
            Note::NationalDefault(agency) => format!(
                "no place of the report leads to an agency: {} leads as the national default",
                agency.id
            ),
            Note::NobodyMayLead(function, superior) => {
                format!("no {function} agency may lead, the nation's included: {superior} designates")
            }
            Note::NobodySupportsYet => "nobody supports before a lead is designated".to_owned(),
            Note::NoPlaceFor(function) => {
                format!("no {function} agency supports: no place gave the lead, so there is none to look for one at")
            }
            // Only the owner may see the place of the agency complained of.
            Note::NoneAbove(function, _) if self.factor() == Some(Factor::ComplainedOf) => {
                format!("no {function} agency supports: none above that place may")
            }
            Note::NoneAbove(function, place) => {
                format!("no {function} agency supports: none above {place} may")
            }
            Note::OperatorLeftOut => operator::left_out(self.operator),
            Note::FreshLossWithoutHold => "the loss is fresh, but this row asks for no hold".to_owned(),
            Note::NotCompared => {
                "not compared with other cases: each report of the same subject has its own case".to_owned()
            }
            Note::ReceiverUnknown(name) => {
                format!("received first by `{name}`, which is not in the directory: decided without it")
            }
            Note::ReceiverExcluded(agency) => {
                return (
                    format!(
                        "received first by {}, which is excluded: it cannot keep the report, and the ranking decides",
                        agency.id
                    ),
                    true,
                );
            }
            Note::ReceiverNoRight(agency) => format!(
                "received first by {}: in this rule set that gives no right to lead",
                agency.id
            ),
            Note::ReceiverKeeps(agency, factor) => format!(
                "received first by {}, to which {factor} leads: it keeps the report, and the lead by the ranking supports",
                agency.id
            ),
            Note::ReceiverNotConnected(agency) => {
                let through = match &self.row.action {
                    Action::Lead(lead) if !lead.first_receiver_factors.is_empty() => {
                        let factors: Vec<_> = lead.first_receiver_factors.iter().map(ToString::to_string).collect();
                        format!(" as {}", factors.join(" or "))
                    }
                    _ => String::new(),
                };
                format!(
                    "received first by {}, to which no place leads{through}: decided by the ranking",
                    agency.id
                )
            }
        };
        (words, false)
    }

    /// Why no row but the last took the report. A row whose first failed column is another than the
    /// category is for this category, under conditions.
    fn caught(&self, category: &str, failed: &[u8]) -> String {
        let mut rows = String::new();
        for (row, column) in self.missed(failed) {
            if matches!(column, Column::Category) || row.categories().is_empty() {
                continue;
            }
            let between = if rows.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(rows, "{between}{} (not for {})", row.id, column_words(&column.name()));
        }
        match rows.as_str() {
            "" => format!("no row is for the category `{category}`: the row for all other reports decided"),
            rows => format!(
                "no row for the category `{category}` takes this report: {rows}; the row for all other reports decided"
            ),
        }
    }

    /// The supporting agencies, each once with all reasons.
    fn support(&self) -> Vec<Support> {
        let supporters = self.supporters();
        let supporting = supporters.map(|id| {
            let of_this = self.supporting.iter().filter(|(agency, _)| agency.id == *id);
            let reasons: Vec<_> = of_this.map(|(_, reason)| self.reason(reason)).collect();
            Support {
                agency: id.resource_name(),
                reason: reasons.join("; "),
            }
        });
        supporting.collect()
    }

    fn reason(&self, reason: &Reason<'_>) -> String {
        match reason {
            Reason::AtPlace(factor, located) => format!("{factor}{}", path(*factor, located)),
            Reason::Ranked(by) => {
                let tried = &self.tried[*by];
                let path = tried.located.as_ref().map(|located| path(tried.factor, located));
                format!(
                    "would lead by the ranking: {}{}",
                    tried.factor,
                    path.unwrap_or_default()
                )
            }
            Reason::Function(function, factor, located) => format!("{function} for {factor}{}", path(*factor, located)),
            Reason::Abroad(factor, country) => format!("{factor} abroad: {country}"),
            Reason::Hold(function) => format!("{function}: asked to stop the payment"),
        }
    }

    /// The decision in one line.
    fn summary(&self, supporting: &[Support]) -> String {
        let first = match self.outcome {
            Verdict::Lead { agency, by: Some(by) } => {
                let tried = &self.tried[by];
                let path = tried.located.as_ref().map(|located| path(tried.factor, located));
                format!("{} leads ({}{})", agency.id, tried.factor, path.unwrap_or_default())
            }
            Verdict::Lead { agency, by: None } => format!("{} leads (national default)", agency.id),
            Verdict::Designate(superior) => format!("{superior} designates (no agency may lead)"),
            Verdict::Advise { .. } => "nobody leads: the reporter is told who can act".to_owned(),
        };
        let others = self
            .supporters()
            .zip(supporting)
            .map(|(agency, support)| format!("; {agency} supports ({})", support.reason));
        std::iter::once(first).chain(others).collect()
    }
}

/// The sentences of an explanation that have no Chinese form. The summary says nothing else.
fn untold(explanation: &Explanation) -> Vec<&str> {
    let notes = explanation.fallbacks.iter().chain(&explanation.exclusions);
    let steps = explanation.factors.iter().map(|tried| &tried.outcome);
    let supports = explanation.supporting.iter().map(|support| &support.reason);
    let holds = explanation.holds.iter().map(|hold| &hold.reason);
    let all = notes.chain(steps).chain(supports).chain(holds).map(String::as_str);
    all.filter(|said| in_chinese(said, &str::to_owned).is_none()).collect()
}

/// Input that was interpreted or skipped; `read` is how the place was read.
fn doubt(tried: &Tried<'_>, read: Option<&str>) -> Option<String> {
    let factor = tried.factor;
    match (tried.given, &tried.located) {
        (Given::Unreadable(text), _) => Some(format!("{factor}: `{text}` is malformed and was skipped")),
        (Given::Territory(place), Some(located)) if located.climb.is_empty() || located.reading.is_none() => {
            Some(format!("{factor}: the tree has no territory {place}; it was skipped"))
        }
        (Given::Territory(_), Some(_)) => Some(format!("{factor}: {}", read?)),
        _ => None,
    }
}

/// What a report has in a column of a rule set, in a clerk's words: `not for …`.
#[must_use]
pub fn column_words(column: &str) -> Cow<'static, str> {
    let words = match column {
        "category" => "this category",
        "operator" => "the operator's place",
        "server" => "the server's place",
        "transaction" => "the place of the transaction",
        "victim" => "the victim's place",
        "suspect" => "the suspect's place",
        "received" => "the place of the agency that received it",
        "complained-of" => "the place of the agency complained of",
        "loss" => "this loss",
        "loss_age" => "the age of the loss, or its age is unknown",
        "urgent" => "this urgency",
        "publication" => "a report that is, or is not, about a publication",
        "subject_kind" => "these kinds of subject",
        "reporter_relation" => "what the reporter is to the act",
        "victim_kind" => "this kind of victim",
        other => {
            return match other.strip_prefix("details.") {
                Some(path) => format!("the detail `{path}`").into(),
                None => format!("`{other}`").into(),
            };
        }
    };
    words.into()
}

/// A factor in the contract; 0 if there is none.
pub(crate) fn number(factor: Option<Factor>) -> i32 {
    factor.map_or(0, |factor| factor.to_wire().into())
}

fn asked(hold: &Hold<'_>) -> HoldAsked {
    let place = match hold.at {
        Some(factor) => format!("for {factor}"),
        None => "for the nation, because no place gave the lead".to_owned(),
    };
    let function = &hold.need.function;
    HoldAsked {
        agency: hold.agency.map(|agency| agency.id.resource_name()).unwrap_or_default(),
        clock: hold.need.to_proto().clock,
        reason: match hold.agency {
            Some(_) => format!("{function} {place}"),
            None => format!("no {function} agency {place} may be asked"),
        },
    }
}

/// The path from a place to the agency, with a leading space: ` 440600 → 440000`. Empty for the
/// place of the agency complained of, which only the owner may see.
fn path(factor: Factor, located: &Located<'_>) -> String {
    if factor == Factor::ComplainedOf {
        return String::new();
    }
    let codes = located.via.iter().chain(&located.climb);
    let mut path = String::new();
    for (i, code) in codes.enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(path, "{}{code}", if i == 0 { " " } else { " → " });
    }
    path
}
