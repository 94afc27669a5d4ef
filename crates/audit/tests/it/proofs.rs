//! Proofs, from the service to the verifier.

use api::audit::{GetConsistencyProofRequest, GetInclusionProofRequest};
use audit::{
    TreeHead, open_checkpoint,
    verify::{Fault, verify_consistency, verify_inclusion},
};
use journal::{Bytes32, SeededEntropy};
use signed_note::{Note, StandardSigner};
use testkit::Backend;
use tlog_tiles::{Checkpoint, Hash};
use tonic::{Code, Request};

use crate::fixture::{Files, Producer, Served, decoded, execute};

testkit::on_each_backend!(
    every_entry_is_proven_at_every_size_and_nothing_else_is,
    any_two_sizes_are_proven_consistent,
    roots_of_forged_tiles_are_not_told,
);

async fn every_entry_is_proven_at_every_size_and_nothing_else_is(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let vkey = log.audit.vkey().to_owned();
    let mut client = log.client("inspector");
    let (mut intake, mut changes) = (Producer::intake(), Vec::new());
    for size in [1, 2, 3, 5, 8, 13, 33, 64, 257] {
        let new = intake.many(size - changes.len());
        log.append(&new).await;
        changes.extend(new);
        let checkpoint = log.published(size as u64).await;
        let head = open_checkpoint(&checkpoint, &vkey).unwrap();
        assert_eq!(head.size, size as u64);
        let forged = TreeHead {
            root: flipped(&head.root, size).try_into().unwrap(),
            ..head
        };
        let forged = resigned(&files, forged);

        for (index, change) in changes.iter().enumerate() {
            let event_id = decoded(change).event_id.to_string();
            let proof = client
                .get_inclusion_proof(Request::new(GetInclusionProofRequest {
                    event_id,
                    ..Default::default()
                }))
                .await;
            let proof = proof.unwrap().into_inner();
            assert_eq!(
                (proof.index, &proof.entry, &proof.checkpoint),
                (index as i64, &change.entry, &checkpoint)
            );
            let path: Vec<Bytes32> = proof.path.iter().map(|hash| (&**hash).try_into().unwrap()).collect();
            let index = index as u64;
            let verify = |entry: &[u8], index, path: &[Bytes32], checkpoint: &str| {
                verify_inclusion(entry, index, path, checkpoint, &vkey)
            };
            assert_eq!(verify(&proof.entry, index, &path, &checkpoint).unwrap(), head);

            // One forgery of each kind in turn.
            let at = (index as usize) * 31 + size;
            let mut other = path.clone();
            let fault = match index % 5 {
                0 => verify(&flipped(&proof.entry, at), index, &path, &checkpoint),
                1 => verify(&proof.entry, index, &path, &forged),
                2 => verify(&proof.entry, index + 1, &path, &checkpoint),
                3 => {
                    let hash = at % path.len();
                    other[hash] = flipped(&path[hash], at).try_into().unwrap();
                    verify(&proof.entry, index, &other, &checkpoint)
                }
                _ => {
                    other.pop();
                    verify(&proof.entry, index, &other, &checkpoint)
                }
            };
            assert!(
                matches!(fault, Err(Fault::Proof { .. })),
                "entry {index} of {size}: {fault:?}"
            );
        }
    }
    log.stop().await;
}

async fn any_two_sizes_are_proven_consistent(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    let mut client = log.client("inspector");
    let (mut intake, mut heads) = (Producer::intake(), Vec::new());
    for step in [1, 1, 5, 93, 155, 2, 43] {
        log.append(&intake.many(step)).await;
        let size = heads.last().map_or(0, |head: &TreeHead| head.size) + step as u64;
        heads.push(open_checkpoint(&log.published(size).await, log.audit.vkey()).unwrap());
    }
    for (i, old) in heads.iter().enumerate() {
        for new in &heads[i..] {
            let request = GetConsistencyProofRequest {
                old_size: old.size as i64,
                new_size: new.size as i64,
            };
            let proof = client.get_consistency_proof(request).await.unwrap().into_inner();
            assert_eq!(
                (&*proof.old_root_hash, &*proof.new_root_hash),
                (&old.root[..], &new.root[..])
            );
            let path: Vec<Bytes32> = proof.path.iter().map(|hash| (&**hash).try_into().unwrap()).collect();
            verify_consistency(&path, *old, *new).unwrap();
            // A proof of another tree, with a flipped bit, cut, and lengthened.
            let other = TreeHead { root: [9; 32], ..*old };
            let fault = verify_consistency(&path, other, *new).unwrap_err();
            // Only equal sizes prove two histories.
            match old.size == new.size {
                true => assert!(matches!(fault, Fault::Fork { .. }), "{fault}"),
                false => assert!(matches!(fault, Fault::Consistency { .. }), "{fault}"),
            }
            for at in 0..path.len() {
                let mut forged = path.clone();
                forged[at][at % 32] ^= 1;
                let fault = verify_consistency(&forged, *old, *new).unwrap_err();
                assert!(matches!(fault, Fault::Consistency { .. }), "{fault}");
                assert!(verify_consistency(&path[..at], *old, *new).is_err());
            }
            assert!(verify_consistency(&[&path[..], &[[0; 32]]].concat(), *old, *new).is_err());
            if old.size < new.size {
                assert!(verify_consistency(&path, *new, *old).is_err());
            }
        }
    }
    // The proof for an entry in any tree that has it, by its index.
    for head in &heads {
        for index in [0, head.size / 2, head.size - 1] {
            let request = GetInclusionProofRequest {
                index: Some(index as i64),
                tree_size: head.size as i64,
                ..Default::default()
            };
            let proof = client.get_inclusion_proof(request).await.unwrap().into_inner();
            let path = proof
                .path
                .iter()
                .map(|hash| Hash((&**hash).try_into().unwrap()))
                .collect();
            let leaf = tlog_tiles::record_hash(&proof.entry);
            tlog_tiles::check_record(&path, head.size, Hash(head.root), index, leaf).unwrap();
            assert_eq!((proof.tree_size as u64, &*proof.root_hash), (head.size, &head.root[..]));
        }
    }
    for (old_size, new_size, field) in [
        (0, 0, "old_size"),
        (301, 0, "old_size"),
        (5, 3, "old_size"),
        (-1, 0, "old_size"),
        (1, 301, "new_size"),
    ] {
        let request = GetConsistencyProofRequest { old_size, new_size };
        let status = client.get_consistency_proof(request).await.unwrap_err();
        let fields = tonic_types::StatusExt::get_details_bad_request(&status)
            .unwrap()
            .field_violations;
        assert!(fields.iter().any(|violation| violation.field == field), "{status:?}");
    }
    log.stop().await;
}

/// The root of a tree without a signed checkpoint comes from the tiles alone: it is returned only
/// if it leads to a signed one.
async fn roots_of_forged_tiles_are_not_told(backend: Backend) {
    let files = Files::new();
    let log = Served::start(files.config(backend.url())).await;
    log.append(&Producer::intake().many(600)).await;
    log.published(600).await;
    let mut client = log.client("inspector");
    let mut consistency = async |old_size, new_size| {
        let request = GetConsistencyProofRequest { old_size, new_size };
        client.get_consistency_proof(request).await
    };
    // Both within the forged tile, so that they agree with each other; and one beyond it.
    consistency(100, 150).await.unwrap();
    let forge = "UPDATE tiles SET hashes = (SELECT hashes FROM tiles WHERE place = 1) WHERE place = 0";
    execute(backend.url(), forge).await;
    for (old_size, new_size) in [(100, 150), (100, 100), (100, 600), (150, 500)] {
        let status = consistency(old_size, new_size).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{old_size} and {new_size}");
    }
    consistency(512, 600).await.unwrap();
    let mut client = log.client("inspector");
    for (index, tree_size) in [(7, 100), (7, 600), (99, 100)] {
        let request = GetInclusionProofRequest {
            index: Some(index),
            tree_size,
            ..Default::default()
        };
        let status = client.get_inclusion_proof(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal, "{index} in {tree_size}");
    }
    log.stop().await;
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

/// Another head, signed by the log's own key: only the hashes can show it.
fn resigned(files: &Files, head: TreeHead) -> String {
    let seed = std::fs::read(files.key()).unwrap();
    let (origin, base64) = ("remit.test/log", data_encoding::BASE64);
    let public = ed25519_dalek::SigningKey::from_bytes(seed.as_slice().try_into().unwrap()).verifying_key();
    let id = signed_note::key_id(origin, &[&[1], &public.to_bytes()[..]].concat());
    let key = format!(
        "PRIVATE+KEY+{origin}+{id:08x}+{}",
        base64.encode(&[&[1], &seed[..]].concat())
    );
    let text = Checkpoint::new(origin, head.size, Hash(head.root), "")
        .unwrap()
        .to_bytes();
    let mut note = Note::new(&text, &[]).unwrap();
    note.add_sigs(&[&StandardSigner::new(&key).unwrap()]).unwrap();
    String::from_utf8(note.to_bytes()).unwrap()
}

/// Both ends agree on the signer: a note by the reference implementation opens like the log's own.
#[tokio::test]
async fn a_log_signs_as_the_standard_says() {
    let (files, backend) = (Files::new(), Backend::sqlite());
    let log = Served::start(files.config(backend.url())).await;
    let note = log.published(0).await;
    let head = open_checkpoint(&note, log.audit.vkey()).unwrap();
    assert_eq!(
        head,
        TreeHead {
            size: 0,
            root: tlog_tiles::EMPTY_HASH.0
        }
    );
    // The next line says when.
    assert!(note.starts_with(&resigned(&files, head)), "{note}");
    // The seed comes from the injected entropy.
    let mut seed = [0; 32];
    journal::Entropy::fill(&SeededEntropy::new(7), &mut seed);
    assert_eq!(std::fs::read(files.key()).unwrap(), seed);
    log.stop().await;
}
