//! Tests of the tree: the shipped file, climbing, successors, and the messages for faulty files.

use places::{Country, CountryError, Level, Reading, Territories, TerritoryCode};

fn code(text: &str) -> TerritoryCode {
    text.parse().expect("a code")
}

fn climb(text: &str) -> Vec<String> {
    Territories::shipped()
        .ancestors(code(text))
        .map(|code| code.to_string())
        .collect()
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
        let resolved = tree.resolve(territory.code).expect("listed");
        assert!(tree.in_force(resolved.code), "{:?} ends in force", territory.code);
        assert_eq!(
            resolved.reading == Reading::InForce,
            territory.valid_to.is_none(),
            "{territory:?}"
        );
        assert!(
            !territory.name_en.is_empty() && !territory.pinyin.is_empty(),
            "{territory:?}"
        );
        assert_eq!(tree.ancestors(resolved.code).last(), Some(TerritoryCode::ROOT));
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
    let resolved = Territories::shipped().resolve(code("320504")).expect("listed");
    assert_eq!((resolved.code, resolved.via), (code("320508"), vec![code("320504")]));
    assert_eq!(resolved.reading, Reading::Successor);
    let live = Territories::shipped().resolve(code("320508")).expect("listed");
    assert_eq!(
        (live.code, live.via, live.reading),
        (code("320508"), vec![], Reading::InForce)
    );
}

#[test]
fn an_abolished_code_without_a_certain_successor_resolves_to_its_parent() {
    let resolve = |text| Territories::shipped().resolve(code(text)).expect("listed");
    // Xuanwu was merged into Xicheng, which the yearly lists do not say.
    let xuanwu = resolve("110104");
    assert_eq!(
        (xuanwu.code, xuanwu.via, xuanwu.reading),
        (code("110100"), vec![code("110104")], Reading::Parent)
    );
    // A county that became a district of the same name in the same city.
    let miyun = resolve("110228");
    assert_eq!((miyun.code, miyun.reading), (code("110118"), Reading::Successor));
    // The parent was abolished, too, and has a successor.
    let prefecture = resolve("142300");
    assert_eq!(prefecture.code, code("141100"));
    let tree = "CN,中国,China,Zhongguo,,,\n110000,京,B,B,,,\n110200,一,A,A,,2004-12-31,110300\n\
                110201,甲,C,C,,2004-12-31,\n110300,二,D,D,2005-01-01,,\n";
    let tree = Territories::parse(&format!("{HEADER}{tree}")).expect("a tree");
    let county = tree.resolve(code("110201")).expect("listed");
    assert_eq!(
        (county.code, county.via, county.reading),
        (code("110300"), vec![code("110201"), code("110200")], Reading::Parent)
    );
}

#[test]
fn every_code_of_the_yearly_lists_resolves_and_one_that_never_existed_does_not() {
    let tree = Territories::shipped();
    let abolished: Vec<_> = tree.iter().filter(|territory| territory.valid_to.is_some()).collect();
    assert_eq!(abolished.len(), 794, "codes of 2002 to 2014 that were abolished");
    for never in ["110199", "999999", "320599", "110101999", "830000", "710000"] {
        assert_eq!(tree.resolve(code(never)), None, "{never}");
    }
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
    let below = |text| -> Vec<String> { tree.children(code(text)).map(|child| child.code.to_string()).collect() };
    assert_eq!(below("CN").len(), 31);
    assert_eq!(below("441900")[0], "441900003");
    assert!(!below("320500").contains(&"320504".to_owned()), "abolished");
    assert!(below("320500").contains(&"320508".to_owned()));
    assert!(below("320508018").is_empty() && below("999999").is_empty());
    let all: usize = tree.iter().map(|territory| tree.children(territory.code).count()).sum();
    let in_force = tree.iter().filter(|territory| territory.valid_to.is_none()).count();
    assert_eq!(all + 1, in_force, "each has one parent");
}

#[test]
fn contains_and_lowest_common_follow_the_tree() {
    let tree = Territories::shipped();
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

const HEADER: &str = "code,name_zh,name_en,pinyin,valid_from,valid_to,successor\n";

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
                110000001,乡,,,,,\n110000,京,B,B,2012-01-01,2011-12-31,\n110000,京,B,B,,,,\n";
    assert_eq!(
        faults(rows),
        ["4/1", "4/6", "5/2", "5/6", "7/1", "8/3", "9/6", "10/8"].map(str::to_owned)
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
