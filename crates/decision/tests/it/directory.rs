//! The directory: the shipped one, the climb, superiors, and the messages for faulty files.

use std::collections::BTreeSet;

use decision::directory::difference::Difference;
use decision::directory::{AgencyId, ConfigError, Directory, Finding, Function, LIMIT, Search};
use places::Territories;

fn id(text: &str) -> AgencyId {
    AgencyId::new(text).expect("an id")
}

fn locate(function: &str, place: &str, excluded: &[&str]) -> (Vec<String>, Option<String>) {
    let excluded: BTreeSet<_> = excluded.iter().map(|text| id(text)).collect();
    let function = Function::new(function).expect("a name");
    let located = Directory::shipped().locate(
        &Search {
            excluded: &excluded,
            ..Search::of(&function)
        },
        place.parse().expect("a code"),
    );
    let climb = located
        .via
        .iter()
        .chain(&located.climb)
        .map(ToString::to_string)
        .collect();
    (climb, located.agency.map(|agency| agency.id.to_string()))
}

#[track_caller]
fn check(function: &str, place: &str, excluded: &[&str], climb: &str, agency: Option<&str>) {
    let (climbed, found) = locate(function, place, excluded);
    assert_eq!((climbed.join(" ").as_str(), found.as_deref()), (climb, agency));
}

#[test]
fn climbs_to_the_nearest_agency_that_is_not_excluded() {
    check("police", "450100", &[], "450100", Some("police-450100"));
    check("police", "520100", &[], "520100 520000 CN", Some("police-CN"));
    check(
        "police",
        "320504",
        &[],
        "320504 320508 320500 320000",
        Some("police-320000"),
    );
    check(
        "police",
        "450100",
        &["police-450100"],
        "450100 450000",
        Some("police-450000"),
    );
    check(
        "police",
        "450100",
        &["police-450000"],
        "450100 450000 CN",
        Some("police-CN"),
    );
    check("police", "450100", &["police-CN"], "450100 450000 CN", None);
    check("no-such", "450100", &[], "450100 450000 CN", None);
    check("police", "999999", &[], "", None);
}

#[test]
fn superiors() {
    let directory = Directory::shipped();
    let common = |a: &str, b: &str| directory.lowest_common_superior(&id(a), &id(b)).to_string();
    assert_eq!(common("police-450100", "police-450200"), "police-450000");
    assert_eq!(common("police-210200", "police-350200"), "police-CN");
    assert_eq!(common("police-450100", "police-450000"), "police-450000");
    assert_eq!(common("police-450000", "police-450100"), "police-450000");
    assert_eq!(common("police-450100", "police-450100"), "police-450000");
    assert_eq!(common("police-450100", "market-regulator-450000"), "conference-CN");
    assert_eq!(common("police-CN", "police-CN"), "conference-CN");
    assert_eq!(common("police-450100", "nobody"), "conference-CN");
    assert_eq!(
        directory.superior(&id("police-330100")).map(|above| above.id.as_str()),
        Some("police-CN")
    );
    assert!(directory.is_under(&id("police-450100"), &id("police-CN")));
    assert!(directory.is_under(&id("police-450100"), &id("police-450100")));
    assert!(!directory.is_under(&id("police-CN"), &id("police-450100")));
}

#[test]
fn the_digest_covers_both_files() {
    let header = "code,name_zh,name_en,pinyin,valid_from,valid_to,successor,parts,formerly\n";
    let tree = |name: &str| Territories::parse(&format!("{header}CN,中国,{name},Zhongguo,,,\n")).expect("a tree");
    let agencies = |name: &str| {
        let name = format!("name: {{zh: 会, en: {name}}}");
        format!("last_resort: c\nagencies:\n  - {{id: c, functions: [conference], territory: CN, {name}}}\n")
    };
    let digest = |tree: &Territories, agencies: &str| Directory::parse(agencies, tree).expect("a directory").digest();
    let first = digest(&tree("China"), &agencies("A"));
    assert_eq!(first, digest(&tree("China"), &agencies("A")));
    assert_ne!(first, digest(&tree("Cina"), &agencies("A")));
    assert_ne!(first, digest(&tree("China"), &agencies("B")));
}

#[test]
fn all_faults_are_reported_at_once() {
    let yaml = "\
last_resort: nobody
agencies:
  - {id: a, functions: [police], territory: '320000', name: {zh: 甲, en: A}, superior: b}
  - {id: b, functions: [police], territory: '320000', name: {zh: 乙, en: B}, superior: a, size: 3}
  - {id: c, functions: [], territory: '999999', name: {zh: 丙}, superior: x}
  - {id: a, functions: [police], territory: '330000', name: {zh: 丁, en: D}}
  - {id: d d, functions: [police], territory: '320504', name: {zh: 戊, en: E}}
  - {id: e, functions: [press], territory: CN, name: {zh: 己, en: F}, superior: x}
  - {id: f, functions: [press, press], territory: CN, name: {zh: 庚, en: G}, hours: all day, categories: [Fraud], valid_to: soon}
";
    let error = Directory::parse(yaml, Territories::shipped())
        .expect_err("bad")
        .to_string();
    for part in [
        "line 4, agency `b`: unknown key `size`",
        "line 5, agency `c`: it has no function",
        "line 5, agency `c`: a name is missing",
        "line 5, agency `c`: territory: the tree has no territory 999999",
        "line 7, agency `d d`: `d d` is not an id",
        "territory 320504 ends on 2011-12-31, before the agency; use one that stays in force, such as 320508, or give the agency a last day",
        "agency `e`: superior: the agency `x` does not exist",
        "agency `f`: the function `press` occurs twice",
        "agency `f`: `all day` is not valid",
        "agency `f`: `Fraud` is not a category",
        "agency `f`: valid_to: `soon` is not a date",
        "agency `a`: the id is used twice",
        "agency `b`: superior: the agency is above itself (b → a → b)",
        "agency `b`: functions, categories: `a` also has the function `police` at 320000 江苏省, for all categories",
        "last_resort: the agency `nobody` does not exist",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_file_of_another_structure_is_refused_with_the_position() {
    let error = Directory::parse("last_resort: c\nagencies: 3\n", Territories::shipped()).expect_err("bad");
    let ConfigError::Shape { source, .. } = error else {
        panic!("{error}")
    };
    assert!(source.location().is_some());
    assert!(Directory::parse("last_resort: c\nagencies: []\nmore: 1\n", Territories::shipped()).is_err());
}

#[test]
fn what_is_written_without_a_value_or_cut_when_read_is_refused_with_its_place() {
    let x = |rest: &str| agency("x", rest);
    let column = x("@").chars().position(|c| c == '@').unwrap() + 1;
    for (rest, problem) in [
        ("hours: ~", format!("line 5, column {column}: `hours` has no value")),
        (
            "categories:",
            format!("line 5, column {column}: `categories` has no value"),
        ),
        ("categories: []", "categories: the list is empty".to_owned()),
        ("calendar: ''", "calendar: the text is empty".to_owned()),
        ("hours: ' '", "hours: the text is empty".to_owned()),
        ("contact: ''", "contact: the text is empty".to_owned()),
        ("superior: ''", "is not an id".to_owned()),
        ("successor: null", "`successor` has no value".to_owned()),
        (
            "valid_to: 2026-12-31T23:00:00+08:00",
            "valid_to: `2026-12-31T23:00:00+08:00` is not a date".to_owned(),
        ),
        ("valid_to: 2026-12-31T24:00", "is not a date".to_owned()),
        ("valid_from: 20261231", "is not a date".to_owned()),
        ("valid_from: '2026-12-31 '", "is not a date".to_owned()),
    ] {
        let error = read(&x(rest)).expect_err(rest);
        assert!(error.contains(&problem), "{rest}: {error}");
        assert!(error.contains("line 5"), "{rest}: {error}");
    }
    let error = read(&x("valid_to: 2026-12-31Z")).expect_err("a zone");
    let value = format!("line 5, column {}, agency `x`: valid_to", column + "valid_to: ".len());
    assert!(error.contains(&value), "{error}");
}

#[test]
fn an_agency_is_put_or_removed_once() {
    let directory = read(&agency("x", "contact: door 3")).unwrap();
    let x = |contact: &str| agency("x", &format!("contact: {contact}"));
    for changes in [
        format!("put:\n{}{}", x("door 4"), x("door 5")),
        format!("put:\n{}remove: [x]\n", x("door 4")),
        format!("remove: [x]\nput:\n{}", x("door 4")),
        "remove: [x, x]\n".to_owned(),
    ] {
        let error = directory.with_changes(&changes).expect_err(&changes).to_string();
        assert!(
            error.contains("the agency `x` is already put or removed in line "),
            "{changes}: {error}"
        );
        assert!(error.contains("column "), "{changes}: {error}");
    }
    let error = directory
        .with_changes("remove: [y]\n")
        .expect_err("unknown")
        .to_string();
    assert!(
        error.contains("line 1, column 10: remove: the agency `y` does not exist"),
        "{error}"
    );
    directory.with_changes(&format!("put:\n{}", x("door 4"))).unwrap();
}

/// A directory with a conference, a national desk `top`, and these agencies below it.
fn read(agencies: &str) -> Result<Directory, String> {
    let yaml = format!(
        "last_resort: c\nagencies:\n  \
         - {{id: c, functions: [conference], territory: CN, name: {{zh: 会, en: C}}}}\n  \
         - {{id: top, functions: [police], territory: CN, name: {{zh: 部, en: Top}}}}\n{agencies}"
    );
    Directory::parse(&yaml, Territories::shipped()).map_err(|error| error.to_string())
}

/// An agency with the function police in Jiangsu, below `top`; `rest` adds fields.
fn agency(id: &str, rest: &str) -> String {
    let superior = if rest.contains("superior:") {
        ""
    } else {
        ", superior: top"
    };
    let territory = if rest.contains("territory:") {
        ""
    } else {
        ", territory: '320000'"
    };
    format!("  - {{id: {id}, functions: [police], name: {{zh: 甲, en: A}}{superior}{territory}, {rest}}}\n")
}

#[track_caller]
fn refused(agencies: &[String], parts: &[&str]) {
    let error = read(&agencies.concat()).expect_err("bad");
    for part in parts {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn superiors_in_a_cycle_are_all_reported() {
    refused(
        &[
            agency("x", "superior: y, categories: [a]"),
            agency("y", "superior: z, categories: [b]"),
            agency("z", "superior: x, categories: [d]"),
            agency("below", "superior: x, categories: [e]"),
            agency("own", "superior: own, categories: [f]"),
        ],
        &[
            "has 4 fault(s)",
            "agency `x`: superior: the agency is above itself (x → y → z → x)",
            "agency `y`: superior: the agency is above itself (y → z → x → y)",
            "agency `z`: superior: the agency is above itself",
            "agency `own`: superior: the agency is above itself (own → own)",
        ],
    );
}

#[test]
fn an_agency_below_the_nation_needs_a_superior() {
    refused(
        &[
            "  - {id: x, functions: [police], name: {zh: 甲, en: A}, territory: '320000'}\n".to_owned(),
            agency("y", "superior: nobody, categories: [b]"),
        ],
        &[
            "agency `x`: superior: missing for an agency below the nation",
            "agency `y`: superior: the agency `nobody` does not exist",
        ],
    );
    refused(
        &[
            agency("x", "valid_to: 2026-06-30, categories: [a]"),
            agency("y", "superior: x, categories: [b]"),
        ],
        &["agency `y`: superior: `x` ends on 2026-06-30, before this agency"],
    );
}

#[test]
fn two_agencies_never_match_the_same_query() {
    // What the first accepts, what the second accepts, and what both accept.
    for (first, second, both) in [
        ("hours: '08:00-18:00'", "contact: door 3", Some("all categories")),
        ("hours: '08:00-18:00'", "categories: [fraud]", Some("fraud")),
        ("categories: [fraud]", "categories: [fraud.loan]", Some("fraud.loan")),
        ("categories: [fraud.loan]", "categories: [fraud]", Some("fraud.loan")),
        ("categories: [fraud]", "categories: [fraudulent]", None),
        ("categories: [fraud]", "categories: [gambling, harm]", None),
        ("except: [fraud]", "categories: [fraud.loan]", None),
        ("except: [fraud.loan]", "categories: [fraud]", Some("fraud")),
        ("except: [fraud]", "except: [gambling]", Some("all categories")),
        ("valid_to: 2026-06-30", "valid_from: 2026-07-01", None),
        ("valid_to: 2026-06-30", "valid_from: 2026-06-30", Some("all categories")),
        ("valid_from: 2026-07-01", "valid_to: 2026-06-30", None),
    ] {
        let agencies = [agency("x", first), agency("y", second)];
        match both {
            Some(both) => refused(
                &agencies,
                &[&format!(
                    "agency `y`: functions, categories: `x` also has the function `police` at 320000 江苏省, for {both}"
                )],
            ),
            None => drop(read(&agencies.concat()).expect(first)),
        }
    }
}

#[test]
fn a_successor_can_take_over() {
    refused(
        &[
            agency("v", "valid_to: 2026-06-30, valid_from: 2026-07-30"),
            agency("w", "successor: x, territory: '330000'"),
            agency("x", "valid_to: 2026-06-30, successor: nobody, territory: '110000'"),
            agency("y", "valid_to: 2026-06-30, successor: z, territory: '120000'"),
            agency("z", "valid_to: 2026-06-30, successor: c, territory: '130000'"),
            agency("u", "valid_to: 2026-06-30, successor: t, territory: '140000'"),
            agency("t", "valid_from: 2026-07-02, territory: '140000'"),
        ],
        &[
            "agency `v`: valid_to: it ends on 2026-06-30, before it begins on 2026-07-30",
            "agency `w`: successor: the agency has no last day",
            "agency `x`: successor: the agency `nobody` does not exist",
            "agency `y`: successor: `z` ends no later than this agency",
            "agency `z`: successor: `c` lacks the function `police`",
            "agency `u`: successor: `t` begins after 2026-07-01: the cases would have no owner in between",
        ],
    );
    let ends = "last_resort: c\nagencies:\n  \
                - {id: c, functions: [conference], territory: CN, name: {zh: 会, en: C}, valid_to: 2026-01-01}\n";
    let error = Directory::parse(ends, Territories::shipped())
        .expect_err("bad")
        .to_string();
    assert!(error.contains("last_resort: `c` has a first or last day"), "{error}");
}

#[test]
fn the_agency_found_depends_on_category_and_day() {
    let directory = read(
        &[
            agency("general", "except: [fraud], valid_to: 2026-06-30, successor: new"),
            agency("new", "except: [fraud], valid_from: 2026-07-01"),
            agency("fraud", "categories: [fraud]"),
        ]
        .concat(),
    )
    .unwrap();
    let police = Function::new("police").unwrap();
    let found = |category: Option<&str>, day: Option<&str>| {
        let search = Search {
            category,
            day: day.map(|day| day.parse().unwrap()),
            ..Search::of(&police)
        };
        let located = directory.locate(&search, "320508018".parse().unwrap());
        located.agency.map(|agency| agency.id.to_string()).unwrap()
    };
    assert_eq!(found(Some("fraud.loan"), Some("2026-06-30")), "fraud");
    assert_eq!(found(Some("gambling"), Some("2026-06-30")), "general");
    assert_eq!(found(Some("gambling"), Some("2026-07-01")), "new");
    assert_eq!(found(Some("gambling"), None), "new", "which has no end");
    let day = |text: &str| text.parse().unwrap();
    let heir = |on| {
        directory
            .heir(&id("general"), Some(day(on)))
            .map(|heir| heir.id.to_string())
    };
    assert_eq!(heir("2026-06-30"), None);
    assert_eq!(heir("2026-07-01").as_deref(), Some("new"));
    assert!(directory.lasts(&id("general")) && directory.lasts(&id("new")) && !directory.lasts(&id("nobody")));
}

#[test]
fn territories_without_an_agency_are_found() {
    let directory = read(
        &[
            "  - {id: p1, functions: [press], territory: '320000', name: {zh: 报, en: P}, superior: c}\n".to_owned(),
            "  - {id: p2, functions: [press], territory: '330000', name: {zh: 报, en: P}, superior: c, categories: [x]}\n"
                .to_owned(),
            agency("old", "valid_to: 2026-06-30, territory: '310000'"),
        ]
        .concat(),
    )
    .unwrap();
    let functions: Vec<_> = ["police", "press"]
        .iter()
        .map(|text| Function::new(text).unwrap())
        .collect();
    let findings = directory.findings(&functions);
    let [unreached, partly, ends] = &findings[..] else {
        panic!("{findings:?}")
    };
    let Finding::Unreached { function, territories } = unreached else {
        panic!("{unreached:?}")
    };
    let codes: Vec<_> = territories.iter().map(ToString::to_string).collect();
    assert_eq!(
        (function.as_str(), codes.len()),
        ("press", 1 + 29),
        "the nation, and provinces without one"
    );
    assert!(codes.contains(&"110000".to_owned()) && !codes.contains(&"320000".to_owned()));
    let Finding::PartlyReached { territories, .. } = partly else {
        panic!("{partly:?}")
    };
    assert_eq!(
        territories.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["330000"]
    );
    let Finding::EndsWithoutSuccessor { agency, .. } = ends else {
        panic!("{ends:?}")
    };
    assert_eq!(agency.as_str(), "old");
    assert!(
        Directory::shipped()
            .findings(Directory::shipped().functions())
            .is_empty()
    );
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    let bytes = usize::try_from(LIMIT).unwrap() + 1;
    let error = Directory::parse(&"#".repeat(bytes), Territories::shipped()).expect_err("large");
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the agency file has 16 MB, more than 16 MB: is it the right file?"
    );
}

#[test]
fn changes_make_a_directory_and_are_listed() {
    let old = Directory::shipped();
    let changes = "\
put:
  - {id: police-320508, functions: [police], territory: '320508', name: {zh: 姑苏区 \"受理点\", en: 'Gusu: desk'}, superior: police-320000, hours: '08:30-12:00, 14:00-17:30', contact: 0512-110, calendar: CN, except: [fraud], valid_from: 2026-07-01}
  - {id: police-320100, functions: [police], territory: '320100', name: {zh: 南京市公安局网安支队举报受理点, en: Nanjing desk}, superior: police-320000}
remove: [police-320600]
";
    let new = old.with_changes(changes).unwrap();
    let differences = new.differences(old);
    let changed = Difference::Changed {
        agency: id("police-320100"),
        field: "name",
        before: "{zh: \"南京市公安局网安支队举报受理点\", en: \"Nanjing network-police desk\"}".to_owned(),
        after: "{zh: \"南京市公安局网安支队举报受理点\", en: \"Nanjing desk\"}".to_owned(),
    };
    let expected = [
        changed,
        Difference::Added(id("police-320508")),
        Difference::Removed(id("police-320600")),
    ];
    assert_eq!(differences, expected);
    let added = new.agency(&id("police-320508")).unwrap();
    assert_eq!(added.title_zh, "姑苏区 \"受理点\"");
    assert_eq!(
        added.desk.hours.as_ref().unwrap().to_string(),
        "08:30-12:00, 14:00-17:30"
    );
    assert!(old.differences(old).is_empty());
    // The file round-trips.
    let again = Directory::parse(new.source(), Territories::shipped()).unwrap();
    assert!(again.differences(&new).is_empty());
    let error = old
        .with_changes("remove: [nobody, police-450000]")
        .unwrap_err()
        .to_string();
    assert!(error.contains("remove: the agency `nobody` does not exist"), "{error}");
    let error = old.with_changes("remove: [police-450000]").unwrap_err().to_string();
    assert!(
        error.contains("agency `police-450100`: superior: the agency `police-450000` does not exist"),
        "{error}"
    );
}

/// County 110101 moves from one city to the other on the first day of 2027.
const ANNOUNCED: &str = "code,name_zh,name_en,pinyin,valid_from,valid_to,successor,parts,formerly\n\
    CN,中国,China,Zhongguo,,,\n110000,京,B,B,,,\n110100,一,A,A,,,\n110101,甲,C,C,,2026-12-31,110201\n\
    110200,二,D,D,,,\n110201,甲,C,C,2027-01-01,,\n";

fn over_announced(agencies: &str) -> Result<Directory, ConfigError> {
    let tree = Territories::parse(ANNOUNCED).expect("a tree");
    let line = |id: &str, territory: &str, more: &str| {
        format!(
            "  - {{id: {id}, functions: [police], territory: '{territory}', name: {{zh: 警, en: P}}, superior: {more}}}\n"
        )
    };
    let shared = [
        line("c", "CN", "null"),
        line("one", "110100", "c"),
        line("two", "110200", "c"),
    ]
    .concat()
    .replace(", superior: null", "");
    Directory::parse(&format!("last_resort: c\n{agencies}\nagencies:\n{shared}"), &tree)
}

/// Lists of differences are cut at their end: thousands of territories hide no agency there.
#[test]
fn p7_territories_come_last_among_differences() {
    let old = over_announced("").expect("a directory");
    let tree = Territories::parse(&ANNOUNCED.replace(",一,A,A,", ",一,A1,A,")).expect("a tree");
    let file = old
        .source()
        .replace("last_resort: c", "last_resort: one")
        .replace("警", "员");
    let new = Directory::parse(&file, &tree).expect("a directory");
    let differences = new.differences(&old);
    assert!(
        matches!(differences.first(), Some(Difference::LastResort { .. })),
        "{differences:?}"
    );
    let is_territory: Vec<_> = differences
        .iter()
        .map(|found| matches!(found, Difference::Territory(_)))
        .collect();
    assert!(
        is_territory.is_sorted() && is_territory.contains(&true),
        "{differences:?}"
    );
    assert!(differences.len() >= 5, "{differences:?}");
}

#[test]
fn a_change_of_territory_that_is_announced_is_honoured_on_its_day() {
    let directory = over_announced("").expect("a directory");
    let police = Function::new("police").unwrap();
    let found = |day: &str, place: &str| {
        let search = Search {
            day: Some(day.parse().unwrap()),
            ..Search::of(&police)
        };
        let located = directory.locate(&search, place.parse().unwrap());
        located.agency.map(|agency| agency.id.to_string()).unwrap()
    };
    for place in ["110101", "110201"] {
        let before = if place == "110101" { "one" } else { "two" };
        assert_eq!(found("2026-12-31", place), before, "{place}");
        assert_eq!(found("2027-01-01", place), "two", "{place}");
    }
}

#[test]
fn an_agency_ends_no_later_than_its_territory() {
    let tree = Territories::parse(ANNOUNCED).expect("a tree");
    let read = |more: &str| {
        let line = |id: &str, territory: &str, more: &str| {
            format!(
                "  - {{id: {id}, functions: [police], territory: '{territory}', name: {{zh: 警, en: P}}, superior: {more}}}\n"
            )
        };
        let file = [line("c", "CN", "null"), line("county", "110101", more)]
            .concat()
            .replace(", superior: null", "");
        Directory::parse(&format!("last_resort: c\nagencies:\n{file}"), &tree)
    };
    let error = read("c").expect_err("it outlives the county").to_string();
    assert!(
        error.contains("line 4, agency `county`: territory: territory 110101 ends on 2026-12-31, before the agency"),
        "{error}"
    );
    assert!(error.contains("such as 110201"), "{error}");
    assert!(read("c, valid_to: 2027-01-01, successor: c").is_err());
    assert!(read("c, valid_to: 2026-12-31, successor: c").is_ok());
}

#[test]
fn today_is_one_day_by_the_zone_of_directory_and_calendar() {
    use decision::calendar::Calendars;
    // 17:00 in UTC is the next day in China, not yet in India at 18:00.
    let time = |text: &str| moment::Time(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
    let china = over_announced("").unwrap();
    assert_eq!(china.day(time("2026-12-31T16:00:00Z")).to_string(), "2027-01-01");
    let india = over_announced("utc_offset: '+05:30'").unwrap();
    assert_eq!(india.day(time("2026-12-31T18:29:59Z")).to_string(), "2026-12-31");
    assert_eq!(india.day(time("2026-12-31T18:30:00Z")).to_string(), "2027-01-01");

    assert!(Calendars::shipped().check(&china).is_ok());
    let error = Calendars::shipped().check(&india).expect_err("two zones").to_string();
    assert!(
        error.contains("the directory counts days in +05:30, the main calendar `CN` in +08:00"),
        "{error}"
    );
    let error = over_announced("utc_offset: '+-8:00'").expect_err("no zone").to_string();
    assert!(
        error.contains("line 2, column 13: utc_offset: `+-8:00` is not an offset"),
        "{error}"
    );

    // Changes keep the zone, or change it; the difference says so.
    let kept = india.with_changes("put: []").unwrap();
    assert_eq!(kept.zone(), india.zone());
    let changed = india.with_changes("utc_offset: '+08:00'").unwrap();
    assert_eq!(changed.zone(), china.zone());
    let zone = Difference::Zone {
        before: "+05:30".to_owned(),
        after: "+08:00".to_owned(),
    };
    assert!(changed.differences(&india).contains(&zone));
}
