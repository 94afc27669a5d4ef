//! One forged byte in a tile that proofs of a few entries need: every reader of the log that meets
//! it must notice.
//!
//! Readers that authenticate a tile only along the path to the requested entry miss it
//! (CVE-2026-56865).

use api::audit::{GetConsistencyProofRequest, GetInclusionProofRequest};
use audit::{SqlStore, Store as _, TileId, verify::verify_inclusion};
use journal::Bytes32;
use testkit::Backend;
use tonic::Code;

use crate::{
    fixture::{Files, Producer, Served, call, start},
    http,
};

testkit::on_each_backend!(a_forged_byte_of_tile_0_100_is_noticed_by_whoever_meets_it);

const SIZE: usize = 70_000;
/// Entries 25,600 to 25,855 are below it; the byte belongs to the 129th.
const FORGED: TileId = TileId { level: 0, n: 100 };
const BYTE: usize = 128 * 32 + 3;

async fn forge(database: &str) {
    let store = SqlStore::open(database).await.unwrap();
    let mut hashes = store.tiles([FORGED].into()).await.unwrap().take(&FORGED).unwrap();
    store.close().await;
    hashes[BYTE] ^= 1;
    let db = sql::Db::open(database, audit::SCHEMAS).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let update = "UPDATE tiles SET hashes = $1 WHERE place = 100";
    assert_eq!(tx.execute(update, vec![hashes.into()]).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

async fn a_forged_byte_of_tile_0_100_is_noticed_by_whoever_meets_it(backend: Backend) {
    let (files, changes) = (Files::new(), Producer::intake().many(SIZE));
    start(files.config(backend.url())).await.unwrap().stop().await;
    let store = SqlStore::open(backend.url()).await.unwrap();
    for changes in changes.chunks(5_000) {
        store.append(&[call(changes)]).await.unwrap();
    }
    store.close().await;
    let log = Served::start(files.config(backend.url())).await;
    let note = log.published(SIZE as u64).await;
    forge(backend.url()).await;

    // Verifiers of the log's files.
    let fault = http::verify(&log, &note).await.unwrap_err();
    assert!(fault.starts_with("entry 25728: tile/0/100 has another hash"), "{fault}");

    // Clients that request proofs. Proofs whose path avoids the byte stay valid; an entry's path
    // has its neighbours' leaves.
    let mut client = log.client("inspector");
    for (index, is_met) in [
        (25_599, false),
        (25_600, true),
        (25_728, false),
        (25_729, true),
        (25_855, true),
        (69_999, false),
    ] {
        let request = GetInclusionProofRequest {
            index: Some(index),
            ..Default::default()
        };
        match client.get_inclusion_proof(request).await {
            Err(status) => assert!(is_met && status.code() == Code::Internal, "{index}: {status:?}"),
            Ok(proof) => {
                assert!(!is_met, "{index} is said to be proven");
                let proof = proof.into_inner();
                let path: Vec<Bytes32> = proof.path.iter().map(|hash| (&**hash).try_into().unwrap()).collect();
                let index = index.cast_unsigned();
                verify_inclusion(&proof.entry, index, &path, &note, log.audit.vkey()).unwrap();
            }
        }
    }
    for (old_size, is_met) in [
        (25_600, false),
        (25_729, true),
        (25_700, true),
        (25_856, false),
        (69_999, false),
    ] {
        let request = GetConsistencyProofRequest { old_size, new_size: 0 };
        match client.get_consistency_proof(request).await {
            Err(status) => assert!(is_met && status.code() == Code::Internal, "{old_size}: {status:?}"),
            Ok(_) => assert!(!is_met, "{old_size} is said to be proven"),
        }
    }
    log.stop().await;
}
