//! Contract messages for territories, agencies and differences between directories.

use api::routing::{
    self as proto, ApplyDirectoryResponse, DirectoryDifference, DirectoryFinding, LocateAgencyResponse,
};
use data_encoding::HEXLOWER;
use jiff::civil::Date;
use places::{Reading, Territories, Territory, TerritoryCode};

use super::{Agency, AgencyId, Directory, Finding, Function, Search, difference::Difference};

/// Maximum number of differences in a response.
const DIFFERENCES: usize = 2_000;
/// Maximum number of territories in a finding.
const TERRITORIES: usize = 100;

/// Converts a territory.
#[must_use]
pub fn territory(tree: &Territories, territory: &Territory<'_>) -> proto::Territory {
    let name = |code: Option<TerritoryCode>| code.map(TerritoryCode::resource_name).unwrap_or_default();
    proto::Territory {
        name: territory.code.resource_name(),
        title_zh: territory.name_zh.to_owned(),
        title_en: territory.name_en.to_string(),
        pinyin: territory.pinyin.to_owned(),
        level: territory.code.level().as_str().to_owned(),
        parent: name(tree.parent(territory.code)),
        valid_from: territory.valid_from.unwrap_or_default().to_owned(),
        valid_to: territory.valid_to.unwrap_or_default().to_owned(),
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
        title_zh: agency.title_zh.clone(),
        title_en: agency.title_en.clone(),
        territory: agency.territory.resource_name(),
        functions: agency.functions.iter().map(ToString::to_string).collect(),
        categories: agency.takes.only.clone(),
        except: agency.takes.except.clone(),
        superior: name(&agency.superior),
        calendar: agency.desk.calendar.clone(),
        hours: agency.desk.hours.as_ref().map(ToString::to_string).unwrap_or_default(),
        contact: agency.desk.contact.clone(),
        valid_from: agency.valid_from.map(|day| day.to_string()).unwrap_or_default(),
        valid_to: agency.valid_to.map(|day| day.to_string()).unwrap_or_default(),
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
    let read = match (located.reading, located.climb.first()) {
        (Some(Reading::Successor), Some(code)) => format!("{place} is abolished, resolved to its successor {code};  "),
        (Some(Reading::Parent), Some(code)) => {
            format!("{place} is abolished, its successor is uncertain, resolved to {code}, the territory above;  ")
        }
        _ => String::new(),
    };
    LocateAgencyResponse {
        agency: located.agency.map(agency),
        via: located.via.iter().map(ToString::to_string).collect(),
        climb: located.climb.iter().map(ToString::to_string).collect(),
        outcome: match located.agency {
            Some(agency) => format!("{read}gave {}", agency.id),
            None => format!("{read}no {function} agency up to the nation"),
        },
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn difference(difference: Difference, old: &Directory, new: &Directory) -> DirectoryDifference {
    let of = |kind: &str, resource: String| DirectoryDifference {
        kind: kind.to_owned(),
        resource,
        ..Default::default()
    };
    match difference {
        Difference::Added(id) => of("added", id.resource_name()),
        Difference::Removed(id) => of("removed", id.resource_name()),
        Difference::Changed {
            agency,
            field,
            before,
            after,
        } => DirectoryDifference {
            field: field.to_owned(),
            before,
            after,
            ..of("changed", agency.resource_name())
        },
        Difference::LastResort { before, after } => DirectoryDifference {
            before: before.resource_name(),
            after: after.resource_name(),
            ..of("changed", "last_resort".to_owned())
        },
        Difference::Territory(code) => {
            let kind = match (old.territories().get(code), new.territories().get(code)) {
                (None, _) => "added",
                (_, None) => "removed",
                _ => "changed",
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
            function: function.to_string(),
            ..about(&territories)
        },
        Finding::PartlyReached { function, territories } => DirectoryFinding {
            description: format!(
                "{} reach agencies with the function `{function}` for some categories or days only",
                counted(&territories)
            ),
            function: function.to_string(),
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
