//! Random worlds: directories, rule sets and facts of all kinds, and properties that hold in each.
//!
//! `examples/figures` runs ten thousand of them; the test here runs fewer, or `REMIT_WORLDS`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use api::event::{ClockUnit, ConnectingFactor};
use api::intake::{Place, ReporterRelation, VictimKind, place::Location};
use api::routing::rule_condition::Column as Wire;
use api::routing::rule_row::Action as WireAction;
use api::routing::{
    AdviseAction, CategoryCondition, ClockNeed, DetailCondition, Facts, FlagCondition, HoldNeed, LeadAction,
    LossAgeCondition, LossCondition, PlaceCondition, ReporterRelationCondition, ReviewNeed, RouteFlag, RuleCondition,
    RuleRow, RuleTable, SubjectKindCondition, UrgentCondition, VictimKindCondition,
};
use decision::decide::{Decision, Destination, decide, rule};
use decision::directory::{Agency, AgencyId, Directory};
use decision::factor::Factor;
use decision::facts::Situation;
use decision::rules::{Action, Condition, Flag, PlaceIs, RuleSet};
use places::{Territories, TerritoryCode};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

const FUNCTIONS: [&str; 4] = ["police", "market", "inspection", "hotline"];
const CATEGORIES: [&str; 7] = [
    "fraud",
    "fraud.loan",
    "fraud.loan.app",
    "fraudulent",
    "drugs",
    "a.b",
    "nothing",
];
const PATHS: [&str; 2] = ["means", "threat.when"];
const VALUES: [&str; 3] = ["now", "later", "x"];
/// The last year in which agencies end is 2029: between and after the days of the facts.
const ENDS: usize = 9;
const COUNTRIES: [&str; 3] = ["US", "NL", "HK"];

/// Generates and examines worlds. A panic in one prints its seed.
pub fn examine(worlds: u64, seed: u64) {
    for world in 0..worlds {
        let seed = seed.wrapping_add(world);
        // Prints the seed if the world fails.
        let told = Seed(seed);
        one(&mut StdRng::seed_from_u64(seed));
        std::mem::forget(told);
    }
}

struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        eprintln!(
            "the world of seed {} fails: repeat with REMIT_SEED={} REMIT_WORLDS=1",
            self.0, self.0
        );
    }
}

fn one(random: &mut StdRng) {
    let yaml = directory(random);
    let directory = Directory::parse(&yaml, tree()).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    let rules = rule_set(random, &directory);
    // As stored: by text and canonical bytes.
    let kept_directory = Directory::parse(directory.source(), directory.territories()).unwrap();
    let kept_rules = RuleSet::decode(rules.canonical(), &kept_directory).unwrap();
    for _ in 0..4 {
        let facts = facts(random, &directory);
        let decision = decide(&facts, &rules, &directory);
        holds(&facts, &decision, &rules, &directory);
        let stored = Facts::decode(facts.encode_to_vec().as_slice()).unwrap();
        assert_eq!(
            decide(&stored, &kept_rules, &kept_directory),
            decision,
            "a replay is equal"
        );
    }
}

/// The codes used in worlds, the last one abolished; from the shipped tree, which takes a while to
/// parse.
const CODES: [&str; 9] = [
    "CN", "110000", "320000", "320500", "320508", "440000", "440300", "440600", "320504",
];

fn tree() -> &'static Territories {
    static TREE: LazyLock<Territories> = LazyLock::new(|| {
        let known = |line: &&str| {
            let code = line.split(',').next().unwrap_or_default();
            line.starts_with("code,") || CODES.contains(&code)
        };
        let lines: Vec<_> = Territories::shipped().source().lines().filter(known).collect();
        assert_eq!(lines.len(), CODES.len() + 1);
        Territories::parse(&(lines.join("\n") + "\n")).unwrap()
    });
    &TREE
}

/// Properties of every decision.
fn holds(facts: &Facts, decision: &Decision, rules: &RuleSet, directory: &Directory) {
    let excluded: BTreeSet<AgencyId> = facts
        .excluded
        .iter()
        .filter_map(|name| AgencyId::from_resource_name(name).ok())
        .filter(|id| directory.agency(id).is_some())
        .collect();
    let excluded = kept_out_with(excluded, directory);
    let kept_out = |id: &AgencyId| excluded.contains(id);
    let row = rules
        .rows()
        .iter()
        .find(|row| row.id == decision.explanation.row)
        .unwrap();
    let supporting: BTreeSet<_> = decision.supporting.iter().map(|(id, _)| id).collect();
    assert_eq!(supporting.len(), decision.supporting.len(), "each once");
    match (&decision.outcome, &row.action) {
        (Destination::Lead { agency, .. }, Action::Lead(lead)) => {
            assert!(
                !kept_out(agency) && supporting.iter().all(|id| !kept_out(id)),
                "never an excluded unit"
            );
            assert!(!supporting.contains(agency), "the lead does not support itself");
            let functions = |id: &AgencyId| directory.agency(id).unwrap().functions.clone();
            assert!(functions(agency).contains(&lead.function), "the lead has the function");
            for id in supporting.iter().copied().chain([agency]) {
                assert!(
                    directory.agency(id).unwrap().is_active(day(facts, directory)),
                    "{id} does not exist on the day"
                );
                assert!(
                    !functions(id).iter().any(|function| lead.exclude.contains(function)),
                    "{id} is excluded by the row"
                );
            }
        }
        (Destination::Designate { superior }, Action::Lead(_)) => {
            assert!(directory.agency(superior).is_some());
            let everybody = directory
                .agencies()
                .filter(|agency| agency.superior.is_none() && agency.valid_to.is_none())
                .all(|agency| kept_out(&agency.id));
            assert!(
                !kept_out(superior) || everybody,
                "never an excluded unit, but where there is no other"
            );
            assert!(supporting.is_empty());
        }
        (Destination::Advise { .. }, Action::Advise { .. }) => assert!(supporting.is_empty()),
        (outcome, _) => panic!("{outcome:?} is not what the row says"),
    }

    // The bitmaps agree with evaluating the conditions one by one.
    let situation = Situation::from(facts);
    let ruling = rule(&situation, rules, directory);
    let mut misses = ruling.misses().into_iter();
    for candidate in rules.rows() {
        match candidate
            .conditions
            .iter()
            .find(|condition| !satisfied(condition, facts, directory))
        {
            None => {
                assert_eq!(candidate.id, row.id, "the first row whose conditions all hold");
                break;
            }
            Some(condition) => {
                let (missed, column) = misses.next().unwrap();
                assert_eq!(
                    (missed.id.as_str(), column),
                    (candidate.id.as_str(), &condition.column())
                );
            }
        }
    }
    assert!(misses.next().is_none());
}

/// The excluded agencies, all under them and all who succeed them, found by repetition.
fn kept_out_with(mut excluded: BTreeSet<AgencyId>, directory: &Directory) -> BTreeSet<AgencyId> {
    loop {
        let is_new = |id: &AgencyId| {
            let follows = |unit: &AgencyId| {
                let successor = directory.agency(unit).and_then(|unit| unit.successor.as_ref());
                directory.is_under(id, unit) || successor == Some(id)
            };
            !excluded.contains(id) && excluded.iter().any(follows)
        };
        let new: Vec<_> = directory
            .agencies()
            .map(|agency| agency.id.clone())
            .filter(is_new)
            .collect();
        if new.is_empty() {
            return excluded;
        }
        excluded.extend(new);
    }
}

/// The day of the facts.
fn day(facts: &Facts, directory: &Directory) -> Option<jiff::civil::Date> {
    Situation::from(facts).accepted.map(|accepted| directory.day(accepted))
}

/// Evaluates a condition plainly, as documented.
fn satisfied(condition: &Condition, facts: &Facts, directory: &Directory) -> bool {
    match condition {
        Condition::Category(subtrees) => {
            let category = facts.category.trim_start_matches("categories/");
            let within = |subtree: &String| category == subtree || category.starts_with(&format!("{subtree}."));
            subtrees.iter().any(within)
        }
        Condition::Place(factor, is) => place_satisfied(*factor, is, facts, directory),
        Condition::Loss(currency, from, below) => {
            facts.loss_currency_code == *currency
                && facts.loss_minor_units >= *from
                && below.is_none_or(|below| facts.loss_minor_units < below)
        }
        Condition::LossAge(at_most) => facts.loss_age_seconds.is_some_and(|age| age <= *at_most),
        Condition::Urgent(urgent) => facts.urgent == *urgent,
        Condition::Flag(Flag::Publication, set) => facts.publication == *set,
        Condition::SubjectKind(kinds) => facts.subject_kinds().any(|kind| kinds.contains(&kind)),
        Condition::ReporterRelation(relations) => relations.contains(&facts.reporter_relation()),
        Condition::VictimKind(kinds) => kinds.contains(&facts.victim_kind()),
        Condition::Detail(path, values) => facts.details.get(path).is_some_and(|value| values.contains(value)),
    }
}

fn place_satisfied(factor: Factor, is: &PlaceIs, facts: &Facts, directory: &Directory) -> bool {
    let tree = directory.tree_on(day(facts, directory));
    let named = |name: &str| directory.agency(&AgencyId::from_resource_name(name).ok()?);
    let place_of = |agency: &Agency| Location::Territory(agency.territory.resource_name());
    let root = Location::Territory(TerritoryCode::ROOT.resource_name());
    let location = match factor {
        Factor::Received => named(&facts.received_by)
            .map(place_of)
            .filter(|location| *location != root),
        Factor::ComplainedOf => named(&facts.complained_of).map(|agency| {
            let heir = directory.heir(&agency.id, day(facts, directory));
            place_of(heir.unwrap_or(agency))
        }),
        _ => facts
            .places
            .iter()
            .find(|place| Factor::from_proto(place.factor()) == Some(factor))
            .and_then(|place| place.location.clone())
            // The tree's own country is its root.
            .map(|location| match location {
                Location::RegionCode(code) if code == "CN" => root,
                location => location,
            }),
    };
    let critic = facts.publication && matches!(facts.victim_kind(), VictimKind::Organisation | VictimKind::PublicBody);
    let ruled_out = critic && matches!(factor, Factor::Victim | Factor::Received);
    match location.filter(|_| !ruled_out) {
        Some(Location::RegionCode(code)) if code.parse::<places::Country>().is_ok() => {
            is.abroad || is.countries.iter().any(|country| country.as_str() == code)
        }
        Some(Location::Territory(name)) => {
            let code = TerritoryCode::from_resource_name(&name).ok();
            match code.and_then(|code| tree.resolve(code)) {
                Some(resolved) => is.within.iter().any(|wide| tree.contains(*wide, resolved.code)),
                None => is.absent,
            }
        }
        _ => is.absent,
    }
}

/// A few agencies anywhere; some functions exist at one place only.
fn directory(random: &mut StdRng) -> String {
    let count = random.random_range(FUNCTIONS.len()..24);
    let mut yaml = "last_resort: agency-0\nagencies:\n".to_owned();
    let mut desks = BTreeSet::new();
    let mut agencies: Vec<(usize, Vec<&str>)> = Vec::new();
    for at in 0..count {
        // Each function exists somewhere, so that rules can refer to it.
        let function = FUNCTIONS.get(at).copied().unwrap_or_else(|| pick(random, &FUNCTIONS));
        let place = if at == 0 || random.random_bool(0.3) {
            "CN".to_owned()
        } else {
            code(random)
        };
        let mut functions = vec![function];
        if random.random_bool(0.2) {
            functions.push(pick(random, &FUNCTIONS));
            functions.dedup();
        }
        functions.retain(|function| desks.insert((place.clone(), *function)));
        if functions.is_empty() {
            functions = vec!["other"];
            if !desks.insert((place.clone(), "other")) {
                continue;
            }
        }
        // Below the nation every agency has a superior; the last resort always exists.
        let superior = match at > 0 && (place != "CN" || random.random_bool(0.5)) {
            true => ", superior: agency-0",
            false => "",
        };
        // Some ended, or will: with or without a successor, which has their functions.
        let heirs: Vec<usize> = agencies
            .iter()
            .filter(|(_, has)| functions.iter().all(|function| has.contains(function)))
            .map(|(at, _)| *at)
            .collect();
        let ends = match at >= FUNCTIONS.len() && random.random_bool(0.3) {
            true => format!(", valid_to: 202{}-06-30", ENDS - agencies.len() % 3),
            false => String::new(),
        };
        let ends = match heirs
            .choose(random)
            .filter(|_| !ends.is_empty() && random.random_bool(0.8))
        {
            Some(heir) => format!("{ends}, successor: agency-{heir}"),
            None => ends,
        };
        let _ = writeln!(
            yaml,
            "  - {{id: agency-{at}, functions: [{}], territory: \"{place}\", name: {{zh: 甲, en: A}}{superior}{ends}}}",
            functions.join(", ")
        );
        if ends.is_empty() {
            agencies.push((at, functions));
        }
    }
    yaml
}

/// A code in force.
fn code(random: &mut StdRng) -> String {
    pick(random, &CODES[..CODES.len() - 1]).to_owned()
}

fn rule_set(random: &mut StdRng, directory: &Directory) -> RuleSet {
    for rows in (0..12).rev() {
        let mut table = RuleTable {
            id: "world".to_owned(),
            rows: (0..rows).map(|at| row(random, at + 1, true, directory)).collect(),
            last_resort: match random.random_bool(0.5) {
                true => (0..2)
                    .map(|_| format!("agencies/{}", lasting(random, directory)))
                    .collect(),
                false => Vec::new(),
            },
            ..RuleTable::default()
        };
        table.rows.push(row(random, 100, false, directory));
        // Rows that cover each other are refused: retry with fewer.
        if let Ok(rules) = RuleSet::from_table(table, directory) {
            return rules;
        }
    }
    unreachable!("a table of the last row alone is good")
}

fn row(random: &mut StdRng, priority: i32, conditions: bool, directory: &Directory) -> RuleRow {
    let mut columns: Vec<Wire> = Vec::new();
    if conditions {
        columns.push(Wire::Category(CategoryCondition {
            categories: vec![format!("categories/{}", pick(random, &CATEGORIES))],
        }));
        for _ in 0..random.random_range(0..4) {
            columns.push(condition(random));
        }
        columns.sort_by_key(column_key);
        columns.dedup_by_key(|column| column_key(column));
    }
    let present = |random: &mut StdRng| {
        let all: Vec<String> = directory
            .agencies()
            .flat_map(|agency| agency.functions.iter().map(ToString::to_string))
            .filter(|function| function != "other")
            .collect();
        all.choose(random).cloned().unwrap_or_default()
    };
    let clock = |value| {
        Some(ClockNeed {
            value,
            unit: ClockUnit::Hours.into(),
        })
    };
    let function = present(random);
    let mut factors: Vec<i32> = (1..=7).filter(|_| random.random_bool(0.6)).collect();
    if factors.is_empty() {
        factors.push(1);
    }
    let excluded = present(random);
    let keeps = random.random_bool(0.5);
    // Neither the receiver's own place nor that of the agency complained of.
    let receiver_factors: Vec<i32> = factors.iter().copied().filter(|factor| *factor <= 5).collect();
    let action = match random.random_bool(0.1) {
        true => WireAction::Advise(AdviseAction {
            texts: api::bilingual("甲", "a"),
        }),
        false => WireAction::Lead(LeadAction {
            factors,
            supporting: if random.random_bool(0.4) {
                vec![present(random)]
            } else {
                vec![]
            },
            supporting_abroad: if random.random_bool(0.4) {
                vec![present(random)]
            } else {
                vec![]
            },
            acknowledge: clock(24),
            result: clock(240),
            holds: match random.random_bool(0.2) {
                true => vec![HoldNeed {
                    agency_function: present(random),
                    clock: clock(1),
                }],
                false => vec![],
            },
            excluded_functions: if random.random_bool(0.3) && excluded != function {
                vec![excluded]
            } else {
                vec![]
            },
            first_receiver_keeps: keeps,
            first_receiver_factors: match keeps && random.random_bool(0.5) {
                true => receiver_factors,
                false => vec![],
            },
            without_place_support: random.random_bool(0.3),
            agency_function: function,
            review: ReviewNeed::None.into(),
        }),
    };
    RuleRow {
        id: format!("row-{priority}"),
        priority,
        conditions: columns
            .into_iter()
            .map(|column| RuleCondition { column: Some(column) })
            .collect(),
        action: Some(action),
        source: "ours".to_owned(),
    }
}

fn condition(random: &mut StdRng) -> Wire {
    match random.random_range(0..9) {
        0 => Wire::Place(PlaceCondition {
            factor: random.random_range(1..=7),
            territories: if random.random_bool(0.6) {
                vec![format!("territories/{}", code(random))]
            } else {
                vec![]
            },
            region_codes: if random.random_bool(0.4) {
                vec![pick(random, &COUNTRIES).to_owned()]
            } else {
                vec![]
            },
            abroad: random.random_bool(0.3),
            absent: true,
        }),
        1 => Wire::Loss(LossCondition {
            currency_code: "CNY".to_owned(),
            from_minor_units: random.random_range(1..50),
            below_minor_units: if random.random_bool(0.5) {
                random.random_range(50..99)
            } else {
                0
            },
        }),
        2 => Wire::LossAge(LossAgeCondition {
            at_most_seconds: random.random_range(1..100),
        }),
        3 => Wire::Urgent(UrgentCondition {
            urgent: random.random_bool(0.5),
        }),
        4 => Wire::Flag(FlagCondition {
            flag: RouteFlag::Publication.into(),
            set: random.random_bool(0.5),
        }),
        5 => Wire::SubjectKind(SubjectKindCondition {
            kinds: vec![random.random_range(1..=8), random.random_range(1..=8)],
        }),
        6 => Wire::ReporterRelation(ReporterRelationCondition {
            relations: vec![random.random_range(0..5), random.random_range(0..5)],
        }),
        7 => Wire::VictimKind(VictimKindCondition {
            kinds: vec![random.random_range(0..4)],
        }),
        _ => Wire::Detail(DetailCondition {
            path: pick(random, &PATHS).to_owned(),
            values: vec![pick(random, &VALUES).to_owned()],
        }),
    }
}

/// One condition per column.
fn column_key(column: &Wire) -> String {
    match column {
        Wire::Place(place) => format!("place {}", place.factor),
        Wire::Detail(detail) => format!("detail {}", detail.path),
        Wire::Category(_) => "category".to_owned(),
        Wire::Loss(_) => "loss".to_owned(),
        Wire::LossAge(_) => "age".to_owned(),
        Wire::Urgent(_) => "urgent".to_owned(),
        Wire::Flag(_) => "flag".to_owned(),
        Wire::SubjectKind(_) => "subject".to_owned(),
        Wire::ReporterRelation(_) => "relation".to_owned(),
        Wire::VictimKind(_) => "victim".to_owned(),
    }
}

fn facts(random: &mut StdRng, directory: &Directory) -> Facts {
    let mut places = Vec::new();
    for factor in 1..=5 {
        if random.random_bool(0.5) {
            let location = match random.random_range(0..10) {
                0 => Location::RegionCode("XX".to_owned()),
                1 => Location::Territory("territories/999999".to_owned()),
                2 => Location::Territory("territories/320504".to_owned()),
                3 => Location::RegionCode(pick(random, &COUNTRIES).to_owned()),
                4 => Location::RegionCode("CN".to_owned()),
                _ => Location::Territory(format!("territories/{}", code(random))),
            };
            let factor: ConnectingFactor = factor.try_into().unwrap();
            places.push(Place {
                factor: factor.into(),
                location: Some(location),
            });
        }
    }
    let complained_of = if random.random_bool(0.3) {
        format!("agencies/{}", agency(random, directory))
    } else {
        String::new()
    };
    let mut excluded = Vec::new();
    while random.random_bool(0.3) {
        excluded.push(format!("agencies/{}", agency(random, directory)));
    }
    excluded.extend(Some(complained_of.clone()).filter(|id| !id.is_empty()));
    Facts {
        category: format!("categories/{}", pick(random, &CATEGORIES)),
        urgent: random.random_bool(0.5),
        publication: random.random_bool(0.3),
        subject_kinds: (1..=8).filter(|_| random.random_bool(0.2)).collect::<Vec<i32>>(),
        places,
        loss_currency_code: pick(random, &["CNY", "USD", ""]).to_owned(),
        loss_minor_units: random.random_range(-1..120),
        loss_age_seconds: random.random_bool(0.5).then(|| random.random_range(0..120)),
        victim_kind: VictimKind::try_from(random.random_range(0..4)).unwrap().into(),
        reporter_relation: ReporterRelation::try_from(random.random_range(0..5)).unwrap().into(),
        received_by: if random.random_bool(0.6) {
            format!("agencies/{}", agency(random, directory))
        } else {
            String::new()
        },
        excluded,
        complained_of,
        accept_time: pick(random, &["", "2023-11-14", "2027-12-28"])
            .parse()
            .ok()
            .map(|day: jiff::civil::Date| {
                let noon = day.at(12, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
                moment::Time(noon.timestamp().as_microsecond()).to_proto()
            }),
        details: PATHS
            .into_iter()
            .filter_map(|path| {
                let value = pick(random, &VALUES).to_owned();
                random.random_bool(0.5).then(|| (path.to_owned(), value))
            })
            .collect(),
        ..Facts::default()
    }
}

fn agency(random: &mut StdRng, directory: &Directory) -> String {
    let ids: Vec<_> = directory.agencies().map(|agency| agency.id.to_string()).collect();
    ids.choose(random).cloned().unwrap_or_default()
}

/// One without a last day, as a rule set asks for.
fn lasting(random: &mut StdRng, directory: &Directory) -> String {
    let lasting = directory.agencies().filter(|agency| agency.valid_to.is_none());
    let ids: Vec<_> = lasting.map(|agency| agency.id.to_string()).collect();
    ids.choose(random).cloned().unwrap_or_default()
}

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(random).copied().unwrap_or_default()
}
