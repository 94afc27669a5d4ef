//! Tests of the tree: the shipped file, climbing, successors, and the messages for faulty files.

use std::collections::BTreeSet;

use jiff::civil::{Date, date};
use places::{Country, CountryError, Level, OnDay, Reading, Resolved, Territories, TerritoryCode};

fn code(text: &str) -> TerritoryCode {
    text.parse().expect("a code")
}

/// The shipped tree as it stands on the day of its last change.
fn today() -> OnDay<'static> {
    Territories::shipped().on(date(2026, 4, 18))
}

fn resolve(text: &str) -> Resolved {
    today().resolve(code(text)).expect("listed")
}

fn climb(text: &str) -> Vec<String> {
    today().ancestors(code(text)).map(|code| code.to_string()).collect()
}

#[test]
fn the_shipped_tree_loads() {
    let tree = Territories::shipped();
    assert!(tree.count() > 44_000);
    let townships = tree
        .iter()
        .filter(|territory| territory.code.level() == Level::Township);
    assert_eq!(townships.count(), 41_351);
    assert_eq!(tree.name(code("320500")).map(|(zh, _)| zh), Some("苏州市"));
    assert_eq!(tree.name(TerritoryCode::ROOT), Some(("中国", "China".into())));
    assert_eq!(tree.get(code("999999")), None);
    for territory in tree.iter() {
        let resolved = resolve(&territory.code.to_string());
        assert!(today().in_force(resolved.code), "{:?} ends in force", territory.code);
        assert_eq!(
            resolved.reading == Reading::InForce,
            territory.valid_to.is_none(),
            "{territory:?}"
        );
        assert!(
            !territory.name_en.is_empty() && !territory.pinyin.is_empty(),
            "{territory:?}"
        );
        assert_eq!(today().ancestors(resolved.code).last(), Some(TerritoryCode::ROOT));
    }
}

#[test]
fn climbs_by_zeroing_pairs_of_digits() {
    assert_eq!(climb("320508"), ["320508", "320500", "320000", "CN"]);
    assert_eq!(climb("320500"), ["320500", "320000", "CN"]);
    assert_eq!(climb("CN"), ["CN"]);
    assert_eq!(climb("110101001"), ["110101001", "110101", "110100", "110000", "CN"]);
    assert_eq!(
        climb("441900003"),
        ["441900003", "441900", "440000", "CN"],
        "a city without counties"
    );
    assert!(climb("999999").is_empty());
}

#[test]
fn missing_levels_are_skipped() {
    // The province administers Xiantao directly: the file has no row 429000 in force, or has one
    // and it is climbed.
    let path = climb("429004");
    assert_eq!(path.first().map(String::as_str), Some("429004"));
    assert_eq!(path.last().map(String::as_str), Some("CN"));
}

#[test]
fn an_abolished_code_resolves_to_its_successor() {
    let resolved = resolve("320504");
    assert_eq!((resolved.code, resolved.via), (code("320508"), vec![code("320504")]));
    assert_eq!(resolved.reading, Reading::Successor);
    let live = resolve("320508");
    assert_eq!(
        (live.code, live.via, live.reading),
        (code("320508"), vec![], Reading::InForce)
    );
    for (ended, now) in [
        // Within the city, across the borders of cities, and from a city into another.
        ("110104", "110102"),
        ("110228", "110118"),
        ("341421", "340124"),
        ("341402", "340181"),
        ("371200", "370100"),
        ("371202", "370116"),
        ("469034", "469028"),
        ("500105", "500157"),
        // The unit of that name in the province is another one: mining areas, suburbs.
        ("140203", "140214"),
        ("140411", "140403"),
        // Two offices' codes for one unit.
        ("500181", "500116"),
        ("500381", "500116"),
        // What data_location says of these is wrong.
        ("420321", "420304"),
        ("370802", "370811"),
        ("139001", "130682"),
        // The unit that keeps the name, although parts went elsewhere.
        ("341424", "340523"),
        ("440582", "440513"),
    ] {
        let resolved = resolve(ended);
        assert_eq!(
            (resolved.code, resolved.reading),
            (code(now), Reading::Successor),
            "{ended}"
        );
    }
}

#[test]
fn a_divided_territory_is_read_as_what_holds_its_parts() {
    let tree = Territories::shipped();
    for (ended, now, parts) in [
        ("320304", "320300", &["320302", "320311", "320312"][..]),
        ("640222", "640000", &["640104", "640221"]),
        ("341400", "340000", &["340100", "340200", "340500"]),
        // Hebei's one Qiaodong of today is in another city.
        ("130103", "130100", &["130102", "130104"]),
        ("511721", "511700", &["511702", "511703"]),
    ] {
        let resolved = resolve(ended);
        assert_eq!(
            (resolved.code, resolved.reading),
            (code(now), Reading::Divided),
            "{ended}"
        );
        let ended = tree.get(code(ended)).expect("listed");
        assert_eq!(ended.successor, None);
        assert_eq!(ended.parts, parts.iter().map(|part| code(part)).collect::<Vec<_>>());
    }
    let kept = tree.get(code("440582")).expect("listed");
    assert_eq!(kept.parts, [code("440514")], "the rest of Chaoyang");
}

#[test]
fn an_abolished_code_without_a_certain_successor_resolves_to_what_it_lay_in() {
    for (ended, now) in [
        ("110200", "110000"),
        ("130101", "130100"),
        ("371201", "370100"),
        ("231071", "231000"),
        // A prefecture's group of units, and a township in a county that ended.
        ("500105001", "500157"),
    ] {
        let resolved = resolve(ended);
        assert_eq!(
            (resolved.code, resolved.reading),
            (code(now), Reading::Parent),
            "{ended}"
        );
    }
    let tree = "CN,中国,China,Zhongguo,,,\n110000,京,B,B,,,\n110200,一,A,A,,2004-12-31,110300\n\
                110201,甲,C,C,,2004-12-31,\n110300,二,D,D,2005-01-01,,\n";
    let tree = Territories::parse(&format!("{HEADER}{tree}")).expect("a tree");
    let county = tree.on(Date::MAX).resolve(code("110201")).expect("listed");
    assert_eq!(
        (county.code, county.via, county.reading),
        (code("110300"), vec![code("110201"), code("110200")], Reading::Parent)
    );
}

#[test]
fn every_code_ever_published_lands_in_force_and_says_how() {
    let tree = Territories::shipped();
    let lists = include_str!("../../../../deploy/tools/published-codes.txt");
    let published: BTreeSet<_> = lists
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| {
            let (prefix, rest) = line.split_once(' ').expect("a prefix and its codes");
            rest.split(' ').map(move |last| code(&format!("{prefix}{last}")))
        })
        .collect();
    assert_eq!(published.len(), 4_203, "codes of 2002-12 to 2026-04");
    for published in &published {
        let territory = tree.get(*published).unwrap_or_else(|| panic!("{published} is missing"));
        let resolved = resolve(&published.to_string());
        assert!(today().in_force(resolved.code));
        if territory.valid_to.is_none() {
            assert_eq!(resolved.code, *published);
            continue;
        }
        // Nothing is left to chance: the file says where each one lies.
        assert!(
            territory.successor.is_some() || !territory.parts.is_empty(),
            "{published} ended, and the file does not say where it lies"
        );
        let province = code(&format!("{}0000", &published.to_string()[..2]));
        assert!(
            today().contains(province, resolved.code),
            "{published} left its province"
        );
        for next in territory.successor.iter().chain(&territory.parts) {
            assert!(today().in_force(*next), "{published} names {next}, which ended");
        }
    }
    let ended = tree.iter().filter(|territory| territory.valid_to.is_some());
    let units = ended.filter(|territory| territory.code.level() != Level::Township);
    assert_eq!(units.count(), 859, "codes that ended");
    for never in ["110199", "999999", "320599", "110101999", "830000", "710000"] {
        assert_eq!(today().resolve(code(never)), None, "{never}");
    }
}

#[test]
fn units_of_today_are_there() {
    for (new, name) in [
        ("653132", "岑岭县"),
        ("653228", "和康县"),
        ("653229", "和安县"),
        ("659013", "草湖市"),
        ("500157", "两江新区"),
        ("460302", "西沙区"),
        ("460303", "南沙区"),
    ] {
        let territory = Territories::shipped().get(code(new)).expect("listed");
        assert_eq!(territory.name_zh, name);
        assert!(today().in_force(code(new)), "{name}");
    }
    let tanchang = Territories::shipped().get(code("621223")).expect("listed");
    assert_eq!((&*tanchang.name_en, tanchang.pinyin), ("Tanchang", "Tanchang Xian"));
}

#[test]
fn a_reused_code_says_whose_it_was() {
    let formerly = |text| Territories::shipped().get(code(text)).expect("listed").formerly;
    for (reused, now) in [("469025", "469021"), ("232701", "232761"), ("410307", "410311")] {
        assert_eq!(formerly(reused), Some(code(now)), "{reused}");
        assert_eq!(resolve(reused).reading, Reading::InForce, "read as it stands today");
    }
    // A new name for the same place is no other unit.
    for same in ["210112", "420600", "320508"] {
        assert_eq!(formerly(same), None, "{same}");
    }
}

/// A county that moves to another city next year, and one that is set up then.
fn announced() -> Territories {
    let rows = "CN,中国,China,Zhongguo,,,\n110000,京,B,B,,,\n110100,一,A,A,,,\n110101,甲,C,C,,2026-12-31,110201\n\
                110101001,乡,,Xiang,,,\n110200,二,D,D,,,\n110201,甲,C,C,2027-01-01,,\n110202,乙,E,E,2027-01-01,,,,110101\n";
    Territories::parse(&format!("{HEADER}{rows}")).expect("a tree")
}

#[test]
fn a_change_that_is_announced_ahead_is_honoured_on_its_day() {
    let tree = announced();
    let read = |day: Date, text: &str| {
        let resolved = tree.on(day).resolve(code(text)).expect("listed");
        (resolved.code.to_string(), resolved.reading)
    };
    let (before, after) = (date(2026, 12, 31), date(2027, 1, 1));
    assert_eq!(read(before, "110101"), ("110101".to_owned(), Reading::InForce));
    assert_eq!(read(after, "110101"), ("110201".to_owned(), Reading::Successor));
    assert_eq!(read(before, "110201"), ("110200".to_owned(), Reading::NotYet));
    assert_eq!(read(after, "110201"), ("110201".to_owned(), Reading::InForce));
    assert_eq!(read(before, "110101001"), ("110101001".to_owned(), Reading::InForce));
    assert_eq!(read(after, "110101001"), ("110201".to_owned(), Reading::Parent));

    let children = |day, of: &str| -> Vec<String> {
        let children = tree.on(day).children(code(of));
        children.map(|child| child.code.to_string()).collect()
    };
    assert_eq!(children(before, "110100"), ["110101"]);
    assert!(children(after, "110100").is_empty());
    assert!(children(before, "110200").is_empty());
    assert_eq!(children(after, "110200"), ["110201", "110202"]);
    assert!(tree.on(before).contains(code("110100"), code("110101001")));
    let township = tree.get(code("110101001")).expect("listed");
    assert_eq!(township.valid_to, Some(before), "it ends with its county");
}

#[test]
fn a_township_has_a_name_in_english() {
    let name = |text| Territories::shipped().name(code(text)).expect("listed");
    assert_eq!(name("110101001"), ("东华门街道", "Donghuamen Subdistrict".into()));
    assert_eq!(name("130722101"), ("公会镇", "Gonghui Town".into()));
}

#[test]
fn children_are_the_territories_in_force_directly_below() {
    let tree = Territories::shipped();
    let below = |text| -> Vec<String> {
        today()
            .children(code(text))
            .map(|child| child.code.to_string())
            .collect()
    };
    assert_eq!(below("CN").len(), 31);
    assert_eq!(below("441900")[0], "441900003");
    assert!(!below("320500").contains(&"320504".to_owned()), "abolished");
    assert!(below("320500").contains(&"320508".to_owned()));
    assert!(below("320508018").is_empty() && below("999999").is_empty());
    let all: usize = tree
        .iter()
        .map(|territory| today().children(territory.code).count())
        .sum();
    let in_force = tree.iter().filter(|territory| territory.valid_to.is_none()).count();
    assert_eq!(all + 1, in_force, "each has one parent");
}

#[test]
fn contains_and_lowest_common_follow_the_tree() {
    let tree = today();
    assert!(tree.contains(code("320000"), code("320508")));
    assert!(tree.contains(code("320508"), code("320508")));
    assert!(!tree.contains(code("320508"), code("320000")));
    assert_eq!(tree.lowest_common(code("450100"), code("450200")), Some(code("450000")));
    assert_eq!(
        tree.lowest_common(code("450100"), code("110000")),
        Some(TerritoryCode::ROOT)
    );
    assert_eq!(tree.lowest_common(code("450100"), code("999999")), None);
}

#[test]
fn codes_and_resource_names() {
    for bad in [
        "",
        "cn",
        "32050",
        "3205080",
        "000000",
        "32050a",
        "３２０５０８",
        "320508000",
        "000000001",
        "+32050",
        "3205080011",
    ] {
        assert!(bad.parse::<TerritoryCode>().is_err(), "{bad}");
    }
    assert_eq!(
        TerritoryCode::from_resource_name("territories/320200"),
        Ok(code("320200"))
    );
    assert!(TerritoryCode::from_resource_name("320200").is_err());
    assert_eq!(code("CN").resource_name(), "territories/CN");
    assert_eq!(code("320508001").resource_name(), "territories/320508001");
}

#[test]
fn countries_outside_the_tree() {
    for good in ["US", "NL", "HK", "MO", "TW"] {
        assert_eq!(good.parse::<Country>().map(Country::as_str), Ok(good));
    }
    assert_eq!("CN".parse::<Country>(), Err(CountryError::InsideTree));
    assert!(matches!("us".parse::<Country>(), Err(CountryError::Unknown(_))));
    assert!(matches!("ZZ".parse::<Country>(), Err(CountryError::Unknown(_))));
}

const HEADER: &str = "code,name_zh,name_en,pinyin,valid_from,valid_to,successor,parts,formerly\n";

/// The faults of a file, each as `line/column`.
fn faults(rows: &str) -> Vec<String> {
    let error = Territories::parse(&format!("{HEADER}{rows}")).expect_err("a bad file");
    error
        .faults
        .iter()
        .map(|fault| format!("{}/{}", fault.line, fault.column))
        .collect()
}

#[test]
fn all_faults_are_reported_at_once_with_line_and_column() {
    let rows = "CN,中国,China,Zhongguo,,,\n# note\n32,苏,Su,Su,,2012,\n110000,,Beijing,,,,110100\n110000,京,B,B,,,\nx\n\
                110000001,乡,,,,,\n110000,京,B,B,2012-01-01,2011-12-31,\n110000,京,B,B,,,,,,,\n\
                110000,京,B,B,2012-02-30,2012-12-31T00:00,\n110000,京,B,B,,2012-12-31,110000,,x\n110000,京,B,B,,,,110000,\n\
                110000,京,B,B,,2012-12-31,,110000 110000,110000\n";
    assert_eq!(
        faults(rows),
        [
            "4/1", "4/6", "5/2", "5/6", "7/1", "8/3", "9/6", "10/10", "11/5", "11/6", "12/8", "12/9", "13/6", "13/8",
            "14/8", "14/9"
        ]
        .map(str::to_owned)
    );
    assert_eq!(faults("CN,\"a\",b,c,,,\n"), ["2/2"]);
}

#[test]
fn faults_that_span_rows() {
    let root = "CN,中国,China,Zhongguo,,,\n";
    assert_eq!(faults(""), ["1/1"], "no nation");
    assert_eq!(faults(&format!("{root}320500,苏,Su,Su,,,\n")), ["3/1"], "no province");
    let township = "320000,苏,Su,Su,,,\n320508001,乡,,Xiang,,,\n";
    assert_eq!(faults(&format!("{root}{township}")), ["4/1"], "no county");
    assert_eq!(
        faults(&format!("{root}110000,京,B,B,,,\n110000,京,B,B,,,\n")),
        ["4/1"],
        "twice"
    );
    assert_eq!(
        faults(&format!("{root}110000,京,B,B,,2000-01-01,120000\n")),
        ["3/7"],
        "unknown successor"
    );
    assert_eq!(
        faults(&format!("{root}110000,京,B,B,,2000-01-01,,120000 130000,140000\n")),
        ["3/8", "3/8", "3/9"],
        "unknown parts"
    );
    assert_eq!(
        faults("CN,中国,China,Zhongguo,,2027-01-01,\n"),
        ["2/6"],
        "the nation ends"
    );
    assert_eq!(
        faults("CN,中国,China,Zhongguo,2027-01-01,,\n"),
        ["2/5"],
        "the nation begins"
    );
    let circle = "110000,京,B,B,,2000-01-01,120000\n120000,津,T,T,,2000-01-01,110000\n";
    assert_eq!(faults(&format!("{root}{circle}")), ["3/7", "4/7"], "circle");
}

#[test]
fn a_fault_says_how_to_fix_it() {
    let error =
        Territories::parse(&format!("{HEADER}CN,中国,China,Zhongguo,,,\n320500,苏,Su,Su,,,\n")).expect_err("bad");
    let text = error.to_string();
    assert!(
        text.contains("line 3, column 1 (code): 320500 lies in 320000, which is missing from the file; add its row"),
        "{text}"
    );
    assert!(Territories::parse("").is_err());
    assert!(Territories::parse("a,b\n").is_err());
}
