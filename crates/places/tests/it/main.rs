//! Tests of the tree: the shipped file, the climb, successors, and what a bad file is told.

use places::{Country, CountryError, Territories, TerritoryCode};

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
    assert!(tree.iter().count() > 3_000);
    assert_eq!(tree.name(code("320500")).map(|(zh, _)| zh), Some("苏州市"));
    assert_eq!(tree.name(TerritoryCode::ROOT), Some(("中国", "China")));
    assert_eq!(tree.get(code("999999")), None);
    for territory in tree.iter() {
        let resolved = tree.resolve(territory.code).expect("listed");
        assert_eq!(
            tree.get(resolved.code).and_then(|end| end.valid_to),
            None,
            "{:?} ends in force",
            territory.code
        );
        assert_eq!(tree.ancestors(resolved.code).last(), Some(TerritoryCode::ROOT));
    }
}

#[test]
fn climbs_by_zeroing_pairs_of_digits() {
    assert_eq!(climb("320508"), ["320508", "320500", "320000", "CN"]);
    assert_eq!(climb("320500"), ["320500", "320000", "CN"]);
    assert_eq!(climb("CN"), ["CN"]);
    assert!(climb("999999").is_empty());
}

#[test]
fn levels_that_do_not_exist_are_left_out() {
    // Xiantao is administered by its province directly: the file has no live row 429000, or has one and it is climbed.
    let path = climb("429004");
    assert_eq!(path.first().map(String::as_str), Some("429004"));
    assert_eq!(path.last().map(String::as_str), Some("CN"));
}

#[test]
fn an_abolished_code_is_read_through_its_successor() {
    let resolved = Territories::shipped().resolve(code("320504")).expect("listed");
    assert_eq!((resolved.code, resolved.via), (code("320508"), vec![code("320504")]));
    let live = Territories::shipped().resolve(code("320508")).expect("listed");
    assert_eq!((live.code, live.via), (code("320508"), vec![]));
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
    for bad in ["", "cn", "32050", "3205080", "000000", "32050a", "３２０５０８"] {
        assert!(bad.parse::<TerritoryCode>().is_err(), "{bad}");
    }
    assert_eq!(
        TerritoryCode::from_resource_name("territories/320200"),
        Ok(code("320200"))
    );
    assert!(TerritoryCode::from_resource_name("320200").is_err());
    assert_eq!(code("CN").resource_name(), "territories/CN");
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

const HEADER: &str = "code,name_zh,name_en,pinyin,valid_to,successor\n";

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
fn all_faults_are_named_at_once_with_line_and_column() {
    let rows = "CN,中国,China,Zhongguo,,\n# note\n32,苏,Su,Su,2012,\n110000,,Beijing,,,110100\n110000,京,B,B,,\nx\n";
    assert_eq!(faults(rows), ["4/1", "4/5", "5/2", "5/5", "7/1"].map(str::to_owned));
    assert_eq!(faults("CN,\"a\",b,c,,\n"), ["2/2"]);
}

#[test]
fn faults_between_rows() {
    let root = "CN,中国,China,Zhongguo,,\n";
    assert_eq!(faults(""), ["1/1"], "no nation");
    assert_eq!(faults(&format!("{root}320500,苏,Su,Su,,\n")), ["3/1"], "no province");
    assert_eq!(
        faults(&format!("{root}110000,京,B,B,,\n110000,京,B,B,,\n")),
        ["4/1"],
        "twice"
    );
    assert_eq!(
        faults(&format!("{root}110000,京,B,B,2000-01-01,120000\n")),
        ["3/6"],
        "unknown successor"
    );
    let circle = "110000,京,B,B,2000-01-01,120000\n120000,津,T,T,2000-01-01,110000\n";
    assert_eq!(faults(&format!("{root}{circle}")), ["3/6", "4/6"], "circle");
}

#[test]
fn a_fault_says_what_to_do() {
    let error = Territories::parse(&format!("{HEADER}CN,中国,China,Zhongguo,,\n320500,苏,Su,Su,,\n")).expect_err("bad");
    let text = error.to_string();
    assert!(
        text.contains("line 3, column 1 (code): 320500 lies in 320000, which the file lacks; add its row"),
        "{text}"
    );
    assert!(Territories::parse("").is_err());
    assert!(Territories::parse("a,b\n").is_err());
}
