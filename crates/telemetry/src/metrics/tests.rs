use std::collections::HashSet;
use std::time::Duration;

use super::*;
use crate::conventions::OTHER;

crate::label! {
    /// How it ended.
    enum Ended("remit.outcome") {
        Well = "well",
        Badly = "badly",
        Unsaid = "",
    }
}

static COLOURS: Known = Known::new(3);

/// A label whose values are learnt.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Colour(&'static str);

impl Label for Colour {
    const INFO: LabelInfo = LabelInfo {
        key: "colour",
        values: Values::AtMost(3, "colours of the paint that is in stock"),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

crate::instruments! {
    /// What the tests measure.
    struct Instruments {
        /// Things
        /// painted.
        painted: Counter<(Colour, Ended)> = ("test.painted", "{thing}"),
        /// Time that it took.
        took: Histogram<(Ended,)> = ("test.took", "s", SECONDS),
        /// Things that wait.
        waiting: Level<(Colour,)> = ("test.waiting", "{thing}"),
        /// Age of the oldest that waits.
        age: Level<(Service,)> = ("test.age", "s"),
        /// Litres used.
        used: Total<()> = ("test.used", "By"),
    }
}

/// The lines of a metric.
fn lines(name: &str) -> Vec<String> {
    let text = text().unwrap();
    text.lines()
        .filter(|line| line.starts_with(name))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_was_measured_is_read_as_prometheus_wants_it() {
    let this = Instruments::get();
    COLOURS.learn(["red", "green"]);
    this.painted.add(2, (Colour(COLOURS.get("red")), Ended::Well));
    this.painted.add(1, (Colour(COLOURS.get("green")), Ended::Unsaid));
    this.took.took(Duration::from_millis(3), (Ended::Badly,));
    this.used.watch((), || Some(7.5));
    let mut painted = lines("test_painted_total{");
    painted.retain(|line| !line.contains(OTHER));
    assert_eq!(painted.len(), 2, "{painted:?}");
    assert!(
        painted.contains(&r#"test_painted_total{colour="red",remit_outcome="well"} 2"#.to_owned()),
        "{painted:?}"
    );
    assert!(
        painted.contains(&r#"test_painted_total{colour="green"} 1"#.to_owned()),
        "{painted:?}"
    );
    assert_eq!(lines("test_used"), ["test_used_bytes_total 7.5"]);
    assert_eq!(
        lines("test_took_seconds_count"),
        [r#"test_took_seconds_count{remit_outcome="badly"} 1"#]
    );
    assert_eq!(
        lines("test_took_seconds_bucket").len(),
        SECONDS.len() + 1,
        "the declared boundaries"
    );
    let help = text().unwrap();
    assert!(help.contains("# HELP test_painted_total Things painted.\n"), "{help}");
    // The name that papers and alerts are written with is the one that is served.
    for instrument in Instruments::ALL {
        let expected = format!("# TYPE {} {}", instrument.prometheus_name(), instrument.kind);
        let is_measured = instrument.kind != Kind::Gauge;
        assert!(!is_measured || help.contains(&expected), "{expected}");
    }
}

#[test]
fn a_gauge_is_the_last_number_and_ends_when_it_is_forgotten() {
    let this = Instruments::get();
    COLOURS.learn(["red"]);
    let red = (Colour(COLOURS.get("red")),);
    this.waiting.set(3, red);
    this.waiting.set(2, red);
    assert_eq!(lines("test_waiting{"), [r#"test_waiting{colour="red"} 2"#]);
    this.waiting.forget(red);
    assert!(lines("test_waiting{").is_empty());
    let there = std::sync::Arc::new(());
    let weak = std::sync::Arc::downgrade(&there);
    this.waiting.watch(red, move || weak.upgrade().map(|_| 9.0));
    assert_eq!(lines("test_waiting{"), [r#"test_waiting{colour="red"} 9"#]);
    drop(there);
    assert!(lines("test_waiting{").is_empty(), "what is gone has no number");
}

/// A tick that hangs must not look like one that finds nothing.
#[test]
fn an_age_grows_by_itself() {
    let this = Instruments::get();
    this.age.age(Duration::from_secs(100), (Service::named("intake"),));
    let read = || {
        lines("test_age_seconds{remit_service=\"intake\"")[0]
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse::<f64>()
            .unwrap()
    };
    let first = read();
    assert!((100.0..200.0).contains(&first), "{first}");
    let begun = std::time::Instant::now();
    while read() <= first {
        assert!(begun.elapsed() < Duration::from_secs(10), "it stays {first}");
        std::thread::yield_now();
    }
}

#[test]
fn random_words_make_no_series() {
    let this = Instruments::get();
    COLOURS.learn(["red", "green"]);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..10_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let word = format!("{random:x}");
        this.painted.add(1, (Colour(COLOURS.get(&word)), Ended::Well));
        this.age.age(Duration::ZERO, (Service::named(&word),));
    }
    let (painted, ages) = (lines("test_painted_total{"), lines("test_age_seconds{"));
    assert!(painted.len() <= Instruments::ALL[0].most(), "{}", painted.len());
    assert!(painted.iter().any(|line| line.contains(OTHER)));
    assert!(ages.len() <= SERVICES.len() + 1, "{ages:?}");
    assert_eq!(Service::named("Intake").value(), OTHER);
}

#[test]
fn what_is_learnt_is_bounded() {
    static WORDS: Known = Known::new(50);
    let words: Vec<_> = (0..1_000).map(|word| word.to_string()).collect();
    WORDS.learn(words.iter().map(String::as_str));
    WORDS.learn(words.iter().map(String::as_str));
    let seen: HashSet<_> = words.iter().map(|word| WORDS.get(word)).collect();
    assert_eq!(seen.len(), 51);
    assert!(seen.contains(OTHER));
}

#[tokio::test]
async fn the_process_measures_itself() {
    for name in [
        "remit_runtime_tasks",
        "process_memory_usage_bytes",
        "process_cpu_time_seconds_total",
    ] {
        let lines = lines(&format!("{name} "));
        let [line] = &lines[..] else {
            panic!("{name}: {lines:?}")
        };
        assert!(
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() >= 0.0,
            "{line}"
        );
    }
    assert!(
        RuntimeInstruments::ALL
            .iter()
            .all(|instrument| !lines(&instrument.prometheus_name()).is_empty())
    );
}

#[test]
fn papers_name_every_instrument_and_label() {
    let table = markdown(Instruments::ALL);
    assert!(
        table.contains("| `test.painted` | `test_painted_total` | counter | `{thing}` | `colour`, `remit.outcome` | Things painted. |"),
        "{table}"
    );
    let labels = markdown_labels(Instruments::ALL);
    assert!(
        labels.contains(
            "| `colour` | `colour` | colours of the paint that is in stock; at most 3, others are `_OTHER` |"
        ),
        "{labels}"
    );
    assert!(labels.contains("`intake`, `routing`, `audit`"), "{labels}");
}
