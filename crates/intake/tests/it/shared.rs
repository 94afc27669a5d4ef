//! What replicas must have in common, and room for evidence.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use api::operations::{EvidenceStatus, GetStatusRequest};
use intake::{
    Intake,
    evidence::{Folder, Limits, Vault as _, verify},
    shared::{self, Unshared},
    store::evidence::EvidenceStore as _,
};
use journal::Entropy;
use testkit::Backend;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::{
    evidence_store::upload,
    fixture::{NOW, Served, Site, entropy, good, open, serve_at},
};

testkit::on_each_backend!(
    a_replica_with_another_receipt_key_is_refused,
    an_empty_or_foreign_evidence_folder_is_refused,
    every_stored_file_is_compared_with_its_row,
);

async fn a_replica_with_another_receipt_key_is_refused(backend: Backend) {
    let entropy: Arc<dyn Entropy> = entropy();
    let db = Intake::open(backend.url()).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let vault = Folder::open(root.path()).await.unwrap();
    // The first start, a sibling at the same time, and a restart.
    let (first, sibling) = tokio::join!(
        shared::check(&db, &[9; 32], &vault, &entropy),
        shared::check(&db, &[9; 32], &vault, &entropy)
    );
    first.unwrap();
    sibling.unwrap();
    shared::check(&db, &[9; 32], &vault, &entropy).await.unwrap();
    let mut other = [9; 32];
    other[31] = 8;
    let refused = shared::check(&db, &other, &vault, &entropy).await.unwrap_err();
    assert!(matches!(refused, Unshared::OtherReceiptKey), "{refused}");
    assert!(refused.to_string().contains("receipt_key_file"), "{refused}");
    shared::check(&db, &[9; 32], &vault, &entropy).await.unwrap();

    // Another database stores something else for the same key: the stored value does not reveal it.
    let elsewhere = Backend::sqlite();
    let second = Intake::open(elsewhere.url()).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let vault = Folder::open(root.path()).await.unwrap();
    shared::check(&second, &[9; 32], &vault, &entropy).await.unwrap();
    let kept = async |db: &sql::Db| -> Vec<u8> {
        let rows = db
            .fetch("SELECT proof FROM shared WHERE name = 'receipt-key'", Vec::new())
            .await;
        rows.unwrap()[0].get("proof").unwrap()
    };
    assert_ne!(kept(&db).await, kept(&second).await);
}

async fn an_empty_or_foreign_evidence_folder_is_refused(backend: Backend) {
    let (db, store, seeded) = open(backend.url()).await;
    let entropy: Arc<dyn Entropy> = seeded;
    let folder = async || {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path()).await.unwrap();
        (root, folder)
    };
    let check = async |folder: &Folder| shared::check(&db, &[9; 32], folder, &entropy).await;
    let (_first_root, first) = folder().await;
    check(&first).await.unwrap();
    // While nothing is stored, any empty folder is accepted.
    let (root, own) = folder().await;
    check(&own).await.unwrap();
    store.record_upload(&upload(&*entropy, None, 1), NOW).await.unwrap();
    check(&own).await.unwrap();

    let (_empty_root, empty) = folder().await;
    let refused = check(&empty).await.unwrap_err().to_string();
    assert!(refused.contains("it has no marker"), "{refused}");
    assert_eq!(empty.mark().await.unwrap(), None, "the refusal leaves no marker");
    let (_foreign_root, foreign) = folder().await;
    foreign.set_mark("another").await.unwrap();
    let refused = check(&foreign).await.unwrap_err().to_string();
    assert!(refused.contains("another intake's"), "{refused}");
    // The way out given in the message.
    let id = own.mark().await.unwrap().unwrap();
    assert!(refused.contains(&id), "{refused}");
    empty.set_mark(&id).await.unwrap();
    check(&empty).await.unwrap();
    drop(root);
}

async fn status(served: &Served) -> EvidenceStatus {
    let status = served.operations().get_status(GetStatusRequest {}).await;
    status.unwrap().into_inner().evidence.unwrap()
}

#[tokio::test]
async fn status_notices_a_folder_that_was_replaced_under_a_running_intake() {
    let backend = Backend::sqlite();
    let site = Site::new(Limits::default());
    let entropy: Arc<dyn Entropy> = entropy();
    let db = Intake::open(backend.url()).await.unwrap();
    let folder = Folder::open(site.folder.path()).await.unwrap();
    shared::check(&db, &[9; 32], &folder, &entropy).await.unwrap();
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    assert_eq!(status(&served).await.storage_fault, "");
    std::fs::remove_file(site.folder.path().join("marker")).unwrap();
    let fault = status(&served).await.storage_fault;
    assert!(fault.contains("it has no marker"), "{fault}");
}

async fn every_stored_file_is_compared_with_its_row(backend: Backend) {
    let site = Site::new(Limits::default());
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let folder = Folder::open(site.folder.path()).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..5 {
        names.push(
            crate::evidence::upload_bytes(&served, b"0123456789")
                .await
                .unwrap()
                .name,
        );
    }
    let verified = async || {
        let mut told = 0;
        let verified = verify(&served.faults.inner, &folder, NOW, |_| told += 1).await.unwrap();
        assert_eq!(told, verified.files);
        verified
    };
    let sound = verified().await;
    assert_eq!(
        (sound.files, sound.bytes, sound.wrong, sound.first.len()),
        (5, 50, 0, 0)
    );

    let path = |name: &str| {
        let id = name.strip_prefix("evidence/").unwrap();
        site.files().into_iter().find(|file| file.ends_with(id)).unwrap()
    };
    std::fs::write(path(&names[0]), b"012345678").unwrap();
    std::fs::write(path(&names[1]), b"01234567890").unwrap();
    std::fs::write(path(&names[2]), b"0123456780").unwrap();
    std::fs::remove_file(path(&names[3])).unwrap();
    let wrong = verified().await;
    assert_eq!((wrong.files, wrong.wrong), (5, 4));
    let mut found: Vec<_> = wrong
        .first
        .iter()
        .map(|(name, why)| (name.as_str(), why.as_str()))
        .collect();
    found.sort_by_key(|(name, _)| names.iter().position(|known| known == name));
    let expected = [
        "it has 9 bytes; 10 are recorded",
        "it is longer than the recorded 10 bytes",
        "its SHA-256 is not the recorded one",
        "it is missing",
    ];
    for (i, why) in expected.into_iter().enumerate() {
        assert_eq!(found[i], (names[i].as_str(), why));
    }
    // Expired files need not exist.
    served.faults.inner.expire(NOW, NOW).await.unwrap();
    assert_eq!(verified().await.files, 0);
}

#[tokio::test]
async fn uploads_are_refused_before_the_reserve_is_used_and_reports_are_taken_meanwhile() {
    let backend = Backend::sqlite();
    let site = Site::new(Limits::default());
    let served = serve_at(backend.url(), rpc::Limits::default(), &site).await;
    let send = async || crate::evidence::upload_bytes(&served, b"0123456789").await;
    let reserve = Limits::default().reserve_bytes;
    *site.free.lock().unwrap() = Some(reserve + 10);
    send().await.unwrap();
    let rows = served.rows().await;
    *site.free.lock().unwrap() = Some(reserve + 9);
    for _ in 0..2 {
        let refused = send().await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "STORAGE_FULL");
        let retry = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(retry.as_secs(), 60);
    }
    assert_eq!(
        (served.rows().await, site.files().len()),
        (rows, 1),
        "it leaves nothing"
    );
    for free in [reserve + 9, reserve] {
        *site.free.lock().unwrap() = Some(free);
        let refusal = status(&served).await.refusal;
        assert!(refusal.contains("evidence.reserve_bytes"), "{refusal}");
    }
    served.client("hotline").submit_report(good()).await.unwrap();
    *site.free.lock().unwrap() = Some(2 * reserve);
    assert_eq!(status(&served).await.refusal, "");
    send().await.unwrap();
}

#[tokio::test]
async fn health_turns_while_the_database_cannot_be_written() {
    let backend = Backend::sqlite();
    let served = serve_at(backend.url(), rpc::Limits::default(), &Site::new(Limits::default())).await;
    let channel = tonic::transport::Endpoint::new(served.address.clone()).unwrap();
    let channel = channel.connect().await.unwrap();
    let reaches = async |wanted: ServingStatus| {
        let request = HealthCheckRequest {
            service: "remit.intake.v1.IntakeService".to_owned(),
        };
        let mut watch = HealthClient::new(channel.clone())
            .watch(request)
            .await
            .unwrap()
            .into_inner();
        let turned = async { while watch.message().await.unwrap().unwrap().status() != wanted {} };
        let within = Duration::from_secs(60);
        tokio::time::timeout(within, turned).await.expect("health turns");
    };
    reaches(ServingStatus::Serving).await;
    served.faults.unwritable.store(true, Ordering::SeqCst);
    reaches(ServingStatus::NotServing).await;
    served.faults.unwritable.store(false, Ordering::SeqCst);
    reaches(ServingStatus::Serving).await;
}
