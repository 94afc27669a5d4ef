//! Decides the table of `crates/decision/examples/figures` in zen-engine, and holds its time against Remit's.
//!
//! Takes the folder that the example was given: `rows.json`, `facts.ndjson` with the row that Remit found for each, and
//! `medians.json`, Remit's medians in nanoseconds. Any other answer than Remit's ends the comparison.
//!
//! Like is held against like: the row alone against an evaluation without trace, and the explained decision against one with
//! it. That zen-engine's trace names the cells that were evaluated, and Remit's explanation also the agency, with every
//! step of the search for it, is in zen-engine's favour. So is the rest: its table is compiled ahead, which indexes its
//! columns; the facts are already in its own values, where Remit reads them from the message of the contract within the
//! time that is counted; it has `remit`'s allocator. Both run one evaluation at a time on one thread.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::{Value, json};
use zen_engine::model::DecisionContent;
use zen_engine::{Decision, DecisionEngine, EvaluationOptions, Variable, ZEN_CONFIG};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How many times faster Remit has to be.
const FACTOR: f64 = 5.0;

/// How often each of the facts is decided, after once to compare the answers and to warm up.
const ROUNDS: usize = 50;

fn main() -> Fallible<()> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("name the folder that `figures` wrote to")?;
    let read = |name: &str| {
        let path = format!("{folder}/{name}");
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let rows: Vec<Value> = serde_json::from_str(&read("rows.json")?)?;
    let medians: Value = serde_json::from_str(&read("medians.json")?)?;
    let remit = |what: &str| medians[what].as_f64().ok_or(format!("medians.json: {what} is missing"));
    let (row, explained) = (remit("row")?, remit("explained")?);
    let facts: Vec<Value> = read("facts.ndjson")?
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;

    // What each node gave is not kept for the next: there is none.
    ZEN_CONFIG.nodes_in_context.store(false, Ordering::Relaxed);
    let content: DecisionContent = serde_json::from_value(table(&rows))?;
    let mut decision = DecisionEngine::default().create_decision(content.into())?;
    decision.compile();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let plain = runtime.block_on(median(&decision, &facts, false))?;
    let traced = runtime.block_on(median(&decision, &facts, true))?;

    println!(
        "the same {} rows and {} facts in zen-engine 2.1.6, the same answer to each; median of one decision:",
        rows.len(),
        facts.len()
    );
    let ratios = [
        compare("the row alone", row, plain),
        compare("explained, the agency found too", explained, traced),
    ];
    println!(
        "  (Remit's explained decision against zen-engine's row alone: {:.1} ×)",
        plain / explained
    );
    match ratios.iter().all(|ratio| *ratio >= FACTOR) {
        true => Ok(()),
        false => Err(format!("Remit is not {FACTOR} times faster than zen-engine").into()),
    }
}

/// Prints and returns how many times faster Remit is.
fn compare(what: &str, remit: f64, zen: f64) -> f64 {
    let ratio = zen / remit;
    println!(
        "  {what:<32} Remit {:>5.2} µs   zen-engine {:>6.2} µs   {ratio:>5.1} ×",
        remit / 1e3,
        zen / 1e3
    );
    ratio
}

/// The median of single evaluations, in nanoseconds.
async fn median(decision: &Decision, facts: &[Value], trace: bool) -> Fallible<f64> {
    let mut taken = Vec::with_capacity(facts.len() * ROUNDS);
    for round in 0..=ROUNDS {
        for facts in facts {
            let context = Variable::from(facts["situation"].clone());
            let options = EvaluationOptions { trace, max_depth: 1 };
            let started = Instant::now();
            let answer = decision.evaluate_with_opts(context, options).await;
            let elapsed = started.elapsed();
            let answer = answer.map_err(|error| format!("zen-engine refuses {facts}: {error}"))?;
            if round > 0 {
                taken.push(elapsed.as_nanos() as f64);
            } else if answer.result.dot("row") != Some(Variable::from(facts["row"].clone())) {
                return Err(format!("zen-engine answers {facts} with {}", answer.result).into());
            }
        }
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken[taken.len() / 2])
}

/// The table as zen-engine takes it: the first row whose columns all hold.
fn table(rows: &[Value]) -> Value {
    let mut rules: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            json!({
                "_id": format!("r{at}"),
                "category": row["category"].to_string(),
                "urgent": row["urgent"].to_string(),
                "loss": format!(">= {}", row["lossFrom"]),
                "relation": row["relation"].to_string(),
                "row": format!("\"row-{at}\""),
            })
        })
        .collect();
    rules.push(json!({"_id": "last", "category": "", "urgent": "", "loss": "", "relation": "", "row": "\"last\""}));
    let inputs = ["category", "urgent", "loss", "relation"].map(|id| json!({"id": id, "name": id, "field": id}));
    json!({
        "nodes": [
            {"id": "in", "name": "in", "type": "inputNode"},
            {"id": "table", "name": "table", "type": "decisionTableNode", "content": {
                "hitPolicy": "first",
                "inputs": inputs,
                "outputs": [{"id": "row", "name": "row", "field": "row"}],
                "rules": rules,
            }},
            {"id": "out", "name": "out", "type": "outputNode"},
        ],
        "edges": [
            {"id": "a", "sourceId": "in", "targetId": "table", "type": "edge"},
            {"id": "b", "sourceId": "table", "targetId": "out", "type": "edge"},
        ],
    })
}
