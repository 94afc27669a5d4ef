//! The directory of a whole country: load time, memory, and look-up time.

use std::{fmt::Write as _, hint::black_box, time::Instant};

use anyhow::Context as _;
use decision::{
    directory::{Directory, Function, Search},
    rules::RuleSet,
};
use journal::{Entropy as _, SeededEntropy};
use places::{Territories, TerritoryCode};

use crate::memory;

/// Number of agencies besides the shipped ones.
const AGENCIES: usize = 10_000;
const LOOKS: usize = 1_000_000;
const RULES: [&str; 2] = [
    include_str!("../../../../deploy/config/rules/ranked.yaml"),
    include_str!("../../../../deploy/config/rules/first-receiver.yaml"),
];
/// Seed of the generated agencies.
const SEED: u64 = 7;

pub fn run() -> anyhow::Result<()> {
    println!("\nThe directory: {AGENCIES} agencies (seed {SEED}) over the shipped tree");
    let tree = Territories::shipped().source().to_owned();
    let agencies = agencies(Territories::shipped())?;
    let before = memory::resident("self")?;
    let begun = Instant::now();
    let territories = Territories::parse(&tree)?;
    let parsed = begun.elapsed();
    let directory = Directory::parse(&agencies, &territories)?;
    let read = begun.elapsed();
    let rules = RULES.map(|source| RuleSet::parse(source, &directory));
    let loaded = begun.elapsed();
    let after = memory::resident("self")?;
    println!(
        "  loaded and compiled in {loaded:.1?}: {} territories {parsed:.1?}, {} agencies {:.1?}, both rule sets {:.1?}",
        territories.count(),
        directory.agencies().count(),
        read.checked_sub(parsed).unwrap_or_default(),
        loaded.checked_sub(read).unwrap_or_default(),
    );
    println!("  resident memory grew by {:.1} MiB", (after - before) as f64 / 1024.0);
    for rules in rules {
        rules.context("a shipped rule set goes with every directory that has its functions")?;
    }
    look(&directory, &territories);
    Ok(())
}

/// Look-ups at places all over the tree, mostly townships, as in reports, for the directory's
/// functions.
fn look(directory: &Directory, territories: &Territories) {
    let entropy = SeededEntropy::new(SEED + 1);
    let codes: Vec<TerritoryCode> = territories.iter().map(|territory| territory.code).collect();
    let functions: Vec<Function> = directory.functions().into_iter().cloned().collect();
    let asked: Vec<(TerritoryCode, &Function)> = (0..LOOKS)
        .map(|_| {
            (
                codes[below(&entropy, codes.len())],
                &functions[below(&entropy, functions.len())],
            )
        })
        .collect();
    for _ in 0..2 {
        let begun = Instant::now();
        let mut steps = 0;
        for (code, function) in &asked {
            let search = Search {
                category: Some("fraud.investment"),
                day: Some(directory.day(journal::Time(1_782_900_000_000_000))),
                ..Search::of(function)
            };
            steps += black_box(directory.locate(&search, *code)).climb.len();
        }
        let each = begun.elapsed().as_nanos() as f64 / LOOKS as f64;
        println!(
            "  one look {each:.0} ns, {:.1} territories climbed",
            steps as f64 / LOOKS as f64
        );
    }
}

/// The shipped file with more agencies: police desks for some categories, and a market regulator in
/// each of many counties and townships.
fn agencies(territories: &Territories) -> anyhow::Result<String> {
    let entropy = SeededEntropy::new(SEED);
    let mut file = Directory::shipped().source().trim_end().to_owned();
    let mut places: Vec<_> = territories
        .iter()
        .filter(|territory| territory.valid_to.is_none() && territory.code.to_string().len() == 9)
        .map(|territory| (territory.code, territory.name_zh, territory.name_en.into_owned()))
        .collect();
    for n in 0..AGENCIES {
        anyhow::ensure!(!places.is_empty(), "there are more agencies than townships");
        let (code, zh, en) = places.swap_remove(below(&entropy, places.len()));
        let (function, superior) = match n % 3 {
            0 => ("police", "police-CN"),
            1 => ("market-regulator", "market-regulator-CN"),
            _ => ("content-regulator", "content-regulator-CN"),
        };
        let takes = if n % 2 == 0 { ", except: [drugs]" } else { "" };
        write!(
            file,
            "\n  - {{id: {function}-{code}, functions: [{function}], territory: \"{code}\", \
             name: {{zh: {zh}受理点, en: \"{en} desk\"}}, superior: {superior}{takes}, hours: \"08:30-12:00, 14:00-17:30\"}}"
        )?;
    }
    file.push('\n');
    Ok(file)
}

fn below(entropy: &SeededEntropy, limit: usize) -> usize {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    usize::try_from(u64::from_le_bytes(bytes) % limit as u64).unwrap_or(0)
}
