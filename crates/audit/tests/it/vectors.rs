//! The test vectors of bundles and details, made by an independent program. `bundle-v1.json` is for
//! other languages too.

use api::event::{Actor, Clock, ClockKind, ClockUnit, ConnectingFactor, Detail, Reading, Route};
use audit::{
    Edge,
    tiles::{Content, TilePath, put_entry, put_openings, take_entry, take_openings},
};
use journal::{Bytes32, Openings, Opens, Time};
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tlog_tiles::record_hash;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../vectors/bundle-v1.json")).unwrap()
}

fn hex(text: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER
        .decode(text.as_str().unwrap().as_bytes())
        .unwrap()
}

fn salt(text: &Value) -> Bytes32 {
    hex(text).try_into().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// The opening that a vector gives: salts and contents of chain and detail; none for a mark.
type Opening = Option<[Vec<u8>; 4]>;

fn openings(opening: &Opening) -> Option<Openings<'_>> {
    let [chain_salt, chain, detail_salt, detail] = opening.as_ref()?;
    Some(Openings {
        chain: Opens {
            salt: chain_salt,
            content: chain,
        },
        detail: Opens {
            salt: detail_salt,
            content: detail,
        },
    })
}

/// The bundles, the tile and the root of some entries and their openings.
fn made(entries: &[Vec<u8>], details: &[Opening]) -> [Vec<u8>; 4] {
    let (mut bundle, mut beside, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        put_entry(&mut bundle, entry);
        leaves.push(record_hash(entry).0);
    }
    for opening in details {
        put_openings(&mut beside, openings(opening));
    }
    let root = Edge::empty().grow(&leaves).unwrap().0.head().root.to_vec();
    [bundle, beside, leaves.concat(), root]
}

#[test]
fn bundles_are_read_and_written_as_the_vectors_say() {
    let vectors = vectors();
    for vector in list(&vectors["valid"]) {
        let entries: Vec<_> = list(&vector["entries"]).iter().map(hex).collect();
        let details: Vec<Opening> = list(&vector["openings"])
            .iter()
            .map(|opening| {
                let part = |name: &str| hex(&opening[name]);
                (!opening.is_null()).then(|| ["chain_salt", "chain", "detail_salt", "detail"].map(part))
            })
            .collect();
        let [bundle, beside, tile, root] = made(&entries, &details);
        assert_eq!(bundle, hex(&vector["entry_bundle"]), "{}", vector["name"]);
        assert_eq!(beside, hex(&vector["detail_bundle"]), "{}", vector["name"]);
        assert_eq!(tile, hex(&vector["tile"]), "{}", vector["name"]);
        assert_eq!(root, hex(&vector["root"]), "{}", vector["name"]);
        let (mut bundle, mut beside) = (&bundle[..], &beside[..]);
        let read: Vec<_> = std::iter::from_fn(|| take_entry(&mut bundle).map(<[u8]>::to_vec)).collect();
        assert_eq!((&read, bundle), (&entries, &[][..]), "{}", vector["name"]);
        let read: Vec<_> = std::iter::from_fn(|| take_openings(&mut beside)).collect();
        let expected: Vec<_> = details.iter().map(openings).collect();
        assert_eq!((&read, beside), (&expected, &[][..]), "{}", vector["name"]);
    }
    let full = &vectors["full"];
    let entries: Vec<_> = (0..256_u16).map(|i| i.to_be_bytes().to_vec()).collect();
    let details: Vec<Opening> = (0..=255_u8)
        .map(|i| {
            let n = usize::from(i);
            Some([vec![i; 32], vec![i; n + 1], vec![i; 32], vec![i; n]])
        })
        .collect();
    let [bundle, beside, tile, root] = made(&entries, &details);
    for (made, name) in [
        (bundle, "entry_bundle_sha256"),
        (beside, "detail_bundle_sha256"),
        (tile, "tile_sha256"),
    ] {
        assert_eq!(Sha256::digest(made).to_vec(), hex(&full[name]), "{name}");
    }
    assert_eq!(root, hex(&full["root"]));
}

#[test]
fn what_the_vectors_call_malformed_is_not_read() {
    for vector in list(&vectors()["malformed"]) {
        let bytes = hex(&vector["bytes"]);
        let mut rest = &bytes[..];
        match vector["bundle"].as_str().unwrap() {
            "entries" => while take_entry(&mut rest).is_some() {},
            _ => while take_openings(&mut rest).is_some() {},
        }
        assert!(!rest.is_empty(), "{}", vector["name"]);
    }
}

#[test]
fn paths_are_those_of_the_vectors() {
    for vector in list(&vectors()["paths"]) {
        let content = match vector["content"].as_str().unwrap() {
            "entries" => Content::Entries,
            "detail" => Content::Details,
            level => Content::Hashes(level.parse().unwrap()),
        };
        let path = TilePath {
            content,
            n: vector["n"].as_u64().unwrap(),
            width: vector["width"].as_u64().unwrap().try_into().unwrap(),
        };
        assert_eq!(path.to_string(), vector["path"]);
        assert_eq!(vector["path"].as_str().unwrap().parse(), Ok(path));
    }
}

/// The expected meaning of a vector's detail.
fn meant(means: &Value) -> Detail {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bytes = |value: &Value| if value.is_null() { Vec::new() } else { hex(value) }.into();
    let time = |value: &Value| {
        let time: jiff::Timestamp = value.as_str()?.parse().unwrap();
        Some(Time(time.as_microsecond()).to_proto())
    };
    let set = |value: &Value| (!value.is_null()).then(|| value.clone());
    Detail {
        from_state: text(&means["fromState"]),
        to_state: text(&means["toState"]),
        actor: set(&means["actor"]).map(|actor| Actor {
            agency: text(&actor["agency"]),
            system: text(&actor["system"]),
            officer_commitment: bytes(&actor["officerCommitment"]),
        }),
        purpose: text(&means["purpose"]),
        content_commitment: bytes(&means["contentCommitment"]),
        route: set(&means["route"]).map(|route| Route {
            facts_digest: bytes(&route["factsDigest"]),
            rule_set_digest: bytes(&route["ruleSetDigest"]),
            directory_digest: bytes(&route["directoryDigest"]),
            row: text(&route["row"]),
            factor: ConnectingFactor::from_str_name(&text(&route["factor"])).unwrap().into(),
            lead: text(&route["lead"]),
            supporting: list(&route["supporting"]).iter().map(text).collect(),
        }),
        clocks: set(&means["clocks"])
            .iter()
            .flat_map(list)
            .map(|clock| Clock {
                kind: ClockKind::from_str_name(&text(&clock["kind"])).unwrap().into(),
                generation: clock["generation"].as_i64().unwrap(),
                owner: text(&clock["owner"]),
                due_time: time(&clock["dueTime"]),
                budget_count: clock["budgetCount"].as_i64().unwrap().try_into().unwrap(),
                unit: ClockUnit::from_str_name(&text(&clock["unit"])).unwrap().into(),
                provisional: clock["provisional"].as_bool().unwrap_or_default(),
                ..Clock::default()
            })
            .collect(),
        reading: set(&means["reading"]).map(|reading| Reading {
            first_index: reading["firstIndex"].as_i64().unwrap_or_default(),
            end_index: reading["endIndex"].as_i64(),
            record: text(&reading["record"]),
            start_time: time(&reading["startTime"]),
            ..Reading::default()
        }),
        ..Detail::default()
    }
}

#[test]
fn details_mean_and_are_committed_to_what_the_vectors_say() {
    for vector in list(&vectors()["details"]) {
        let detail = hex(&vector["detail"]);
        assert_eq!(
            Detail::decode(&*detail).unwrap(),
            meant(&vector["means"]),
            "{}",
            vector["name"]
        );
        let commitment = journal::detail_commitment(&salt(&vector["salt"]), &detail);
        assert_eq!(commitment.to_vec(), hex(&vector["commitment"]), "{}", vector["name"]);
    }
}
