//! Proofs, from the service to the verifier.

use api::audit::GetInclusionProofRequest;
use audit::{
    TreeHead, open_checkpoint,
    verify::{Fault, verify_inclusion},
};
use journal::{Bytes32, SeededEntropy};
use signed_note::{Note, StandardSigner};
use testkit::Backend;
use tlog_tiles::{Checkpoint, Hash};
use tonic::Request;

use crate::support::{Files, Producer, Served, decoded};

testkit::on_each_backend!(every_entry_is_proven_at_every_size_and_nothing_else_is);

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
                .get_inclusion_proof(Request::new(GetInclusionProofRequest { event_id }))
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

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at % bytes.len();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

/// Another head, signed by the log's own key: what only the arithmetic can notice.
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

/// Both ends agree on who signs: a note of the standard implementation opens like the log's own.
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
    // What follows says when.
    assert!(note.starts_with(&resigned(&files, head)), "{note}");
    // The seed comes from the injected entropy.
    let mut seed = [0; 32];
    journal::Entropy::fill(&SeededEntropy::new(7), &mut seed);
    assert_eq!(std::fs::read(files.key()).unwrap(), seed);
    log.stop().await;
}
