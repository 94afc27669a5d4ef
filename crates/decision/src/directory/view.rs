//! Contract messages for territories, agencies and differences between directories.

use api::routing::{
    self as proto, ApplyDirectoryResponse, DifferenceKind, DirectoryDifference, DirectoryFinding, LocateAgencyResponse,
    TerritoryLevel,
};
use data_encoding::HEXLOWER;
use jiff::civil::Date;
use places::{Level, OnDay, Reading, Territory, TerritoryCode};

use super::{Agency, AgencyId, Directory, Finding, Function, Search, difference::Difference};

/// Maximum number of differences in a response.
const DIFFERENCES: usize = 2_000;
/// Maximum number of territories in a finding.
const TERRITORIES: usize = 100;

/// Converts a territory, as it stands on a day.
#[must_use]
pub fn territory(tree: OnDay<'_>, territory: &Territory<'_>) -> proto::Territory {
    let name = |code: Option<TerritoryCode>| code.map(TerritoryCode::resource_name).unwrap_or_default();
    proto::Territory {
        name: territory.code.resource_name(),
        titles: api::bilingual(territory.name_zh, territory.name_en.to_string()),
        pinyin: territory.pinyin.to_owned(),
        level: level(territory.code.level()).into(),
        parent: name(tree.parent(territory.code)),
        valid_from_date: territory.valid_from.map(api::date),
        valid_to_date: territory.valid_to.map(api::date),
        successor: name(territory.successor),
        read_as: name(tree.resolve(territory.code).map(|resolved| resolved.code)),
    }
}

/// Converts an agency.
#[must_use]
pub fn agency(agency: &Agency) -> proto::Agency {
    let name = |id: &Option<AgencyId>| id.as_ref().map(AgencyId::resource_name).unwrap_or_default();
    proto::Agency {
        name: agency.id.resource_name(),
        titles: api::bilingual(&agency.title_zh, &agency.title_en),
        territory: agency.territory.resource_name(),
        functions: agency.functions.iter().map(ToString::to_string).collect(),
        categories: categories(&agency.takes.only),
        excluded_categories: categories(&agency.takes.except),
        superior: name(&agency.superior),
        calendar: agency.desk.calendar.clone(),
        hours: agency.desk.hours.as_ref().map(ToString::to_string).unwrap_or_default(),
        contact: agency.desk.contact.clone(),
        valid_from_date: agency.valid_from.map(api::date),
        valid_to_date: agency.valid_to.map(api::date),
        successor: name(&agency.successor),
    }
}

/// The changes of a proposed directory, and its warnings for the functions that a rule set uses.
#[must_use]
pub fn applied(next: &Directory, old: &Directory, functions: &[Function]) -> ApplyDirectoryResponse {
    let differences = next.differences(old);
    ApplyDirectoryResponse {
        etag: HEXLOWER.encode(&next.digest()),
        applied: false,
        difference_count: count(differences.len()),
        differences: differences
            .into_iter()
            .take(DIFFERENCES)
            .map(|found| difference(found, old, next))
            .collect(),
        findings: next.findings(functions).into_iter().map(finding).collect(),
        ownerless: Vec::new(),
        proposed: false,
    }
}

/// The agency with a function at a place, and the path.
#[must_use]
pub fn located(
    directory: &Directory,
    function: &Function,
    category: Option<&str>,
    day: Date,
    place: TerritoryCode,
) -> LocateAgencyResponse {
    let search = Search {
        category,
        day: Some(day),
        ..Search::of(function)
    };
    let located = directory.locate(&search, place);
    let read = match read_as(directory.tree_on(Some(day)), place) {
        Some(read) => format!("{read};  "),
        None => String::new(),
    };
    let ended: String = located.ended.iter().map(|ended| format!("{ended};  ")).collect();
    LocateAgencyResponse {
        agency: located.agency.map(agency),
        via: located.via.iter().map(|code| code.resource_name()).collect(),
        climb: located.climb.iter().map(|code| code.resource_name()).collect(),
        outcome: match located.agency {
            Some(agency) => format!("{read}{ended}leads to {}", agency.id),
            None => format!("{read}{ended}no {function} agency there or above, up to the nation"),
        },
    }
}

/// How a code was read that is not in force, or that was given to another unit: a sentence for each
/// step, since the first of a chain may be certain and the second not. `None` for any other code.
pub(crate) fn read_as(tree: OnDay<'_>, place: TerritoryCode) -> Option<String> {
    let territories = tree.territories();
    let mut sentences = Vec::new();
    let mut at = place;
    while let Some((next, how)) = tree.onward(at) {
        sentences.push(format!("{at} {}", step(tree, at, next, how)));
        at = next;
    }
    if sentences.is_empty() {
        let formerly = territories.get(place)?.formerly?;
        return Some(format!(
            "{place} is read as it stands today; the code was once that of what is {formerly} now"
        ));
    }
    Some(sentences.join("; "))
}

/// How a code that is not in force is read as the next: the predicate of a sentence about it.
fn step(tree: OnDay<'_>, at: TerritoryCode, next: TerritoryCode, how: Reading) -> String {
    let codes = |codes: &[TerritoryCode]| codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let parts = tree
        .territories()
        .get(at)
        .map(|of| codes(&of.parts))
        .unwrap_or_default();
    let lies = if tree.in_force(next) { "lies" } else { "lay" };
    match how {
        Reading::InForce => "is in force".to_owned(),
        Reading::Successor => {
            let city = |code: TerritoryCode| code.to_string().get(..4).map(str::to_owned);
            let moved = match city(at) == city(next) {
                true => "",
                false => ", under another city",
            };
            let rest = match parts.as_str() {
                "" => String::new(),
                parts => format!("; parts of it went to {parts}"),
            };
            format!("is abolished, resolved to its successor {next}{moved}{rest}")
        }
        Reading::Divided => match parts.as_str() {
            "" => format!("is abolished and was divided, resolved to {next}, which holds the parts"),
            parts => format!("is abolished and was divided among {parts}, resolved to {next}, which holds them"),
        },
        Reading::Parent => format!("is abolished without a single successor, resolved to {next}, in which it {lies}"),
        Reading::NotYet => format!("is not in force yet, resolved to {next}, in which it lies"),
    }
}

fn categories(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("categories/{id}")).collect()
}

fn level(level: Level) -> TerritoryLevel {
    match level {
        Level::Nation => TerritoryLevel::Nation,
        Level::Province => TerritoryLevel::Province,
        Level::City => TerritoryLevel::City,
        Level::County => TerritoryLevel::County,
        Level::Township => TerritoryLevel::Township,
    }
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn difference(difference: Difference, old: &Directory, new: &Directory) -> DirectoryDifference {
    let of = |kind: DifferenceKind, resource: String| DirectoryDifference {
        kind: kind.into(),
        resource,
        ..Default::default()
    };
    match difference {
        Difference::Added(id) => of(DifferenceKind::Added, id.resource_name()),
        Difference::Removed(id) => of(DifferenceKind::Removed, id.resource_name()),
        Difference::Changed {
            agency,
            field,
            before,
            after,
        } => DirectoryDifference {
            field: field.to_owned(),
            before,
            after,
            ..of(DifferenceKind::Changed, agency.resource_name())
        },
        Difference::LastResort { before, after } => DirectoryDifference {
            field: "last_resort".to_owned(),
            before: before.resource_name(),
            after: after.resource_name(),
            ..of(DifferenceKind::Changed, String::new())
        },
        Difference::Zone { before, after } => DirectoryDifference {
            field: "utc_offset".to_owned(),
            before,
            after,
            ..of(DifferenceKind::Changed, String::new())
        },
        Difference::Territory(code) => {
            let kind = match (old.territories().get(code), new.territories().get(code)) {
                (None, _) => DifferenceKind::Added,
                (_, None) => DifferenceKind::Removed,
                _ => DifferenceKind::Changed,
            };
            of(kind, code.resource_name())
        }
    }
}

fn finding(finding: Finding) -> DirectoryFinding {
    match finding {
        Finding::Unreached { function, territories } => DirectoryFinding {
            description: format!(
                "{} reach no agency with the function `{function}`, which the rule set uses",
                counted(&territories)
            ),
            agency_function: function.to_string(),
            ..about(&territories)
        },
        Finding::PartlyReached { function, territories } => DirectoryFinding {
            description: format!(
                "{} reach agencies with the function `{function}` for some categories or days only",
                counted(&territories)
            ),
            agency_function: function.to_string(),
            ..about(&territories)
        },
        Finding::EndsWithoutSuccessor { agency, valid_to } => DirectoryFinding {
            description: format!(
                "agency `{agency}` ends on {valid_to} without a successor: its remaining cases then go to its superior for designation"
            ),
            agency: agency.resource_name(),
            ..Default::default()
        },
    }
}

fn counted(territories: &[TerritoryCode]) -> String {
    match territories {
        [one] => format!("territory {one} and all below without their own"),
        several => format!("{} territories and all below without their own", several.len()),
    }
}

fn about(territories: &[TerritoryCode]) -> DirectoryFinding {
    DirectoryFinding {
        territories: territories
            .iter()
            .take(TERRITORIES)
            .map(|code| code.resource_name())
            .collect(),
        territory_count: count(territories.len()),
        ..Default::default()
    }
}
