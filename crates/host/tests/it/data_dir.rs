//! The data directory: locking and content.

use std::{
    collections::BTreeSet,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use host::{
    config::Service,
    data_dir::{DataDir, Layout},
    token_file::{TokenFile, find_token},
    tokens::{Followed, LOOK, REMIND},
};
use journal::SystemEntropy;
use rpc::Authenticate as _;

use testkit::eventually;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("new/data");
    (parent, folder)
}

#[test]
fn it_belongs_to_one_process() {
    let (_parent, folder) = folder();
    let first = DataDir::open(&folder).unwrap();
    let error = DataDir::open(&folder).unwrap_err().to_string();
    assert!(error.contains(&folder.display().to_string()), "{error}");
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(first);
    // A process just started by another test holds a copy of the lock until it executes its
    // program.
    eventually("the folder is not free", || DataDir::open(&folder).ok());
}

#[test]
fn secrets_are_private_and_created_once() {
    let (_parent, folder) = folder();
    let agencies = BTreeSet::from(["police-CN".to_owned()]);
    let make = |agencies: &BTreeSet<String>| {
        let data_dir = DataDir::open(&folder).unwrap();
        let key = data_dir.receipt_key(None, &SystemEntropy).unwrap();
        let tokens = data_dir.tokens(agencies, &SystemEntropy).unwrap();
        for secret in [&key, &data_dir.layout().tokens(), &folder.join("lock")] {
            assert_eq!(mode(secret), 0o600, "{}", secret.display());
        }
        (std::fs::read(key).unwrap(), tokens)
    };
    let (key, tokens) = make(&agencies);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(key.len(), 32);
    // The operator, the auditor, three services, one agency.
    assert_eq!(tokens.len(), 6);
    assert!(find_token(&tokens, "operator").unwrap().len() >= 32);
    assert_eq!(find_token(&tokens, "intake"), None);

    let more = BTreeSet::from(["police-CN".to_owned(), "police-110000".to_owned()]);
    let (key_again, tokens_again) = make(&more);
    assert_eq!(key_again, key);
    for who in ["operator", "police-CN"] {
        assert_eq!(find_token(&tokens_again, who), find_token(&tokens, who));
    }
    assert!(find_token(&tokens_again, "police-110000").is_some());
    rpc::Tokens::new(&tokens_again).unwrap();
}

#[test]
fn a_lost_key_is_not_replaced_over_records() {
    let (_parent, folder) = folder();
    let data_dir = DataDir::open(&folder).unwrap();
    let database = data_dir.layout().database(Service::Intake).unwrap();
    data_dir.receipt_key(Some(&database), &SystemEntropy).unwrap();
    std::fs::write(folder.join("intake.db"), "records").unwrap();
    data_dir.receipt_key(Some(&database), &SystemEntropy).unwrap();
    std::fs::remove_file(folder.join("receipt.key")).unwrap();
    let error = data_dir
        .receipt_key(Some(&database), &SystemEntropy)
        .unwrap_err()
        .to_string();
    assert!(error.contains("put it back from a backup"), "{error}");
}

#[test]
fn lost_tokens_are_not_replaced_over_records() {
    let (_parent, folder) = folder();
    let data_dir = DataDir::open(&folder).unwrap();
    let agencies = BTreeSet::from(["police-CN".to_owned()]);
    let first = data_dir.tokens(&agencies, &SystemEntropy).unwrap();
    let file = data_dir.layout().tokens();
    for records in ["intake.db", "audit.db", "log.checkpoint"] {
        std::fs::remove_file(&file).unwrap();
        // An empty database is a start that got no further.
        std::fs::write(folder.join(records), "").unwrap();
        data_dir.tokens(&agencies, &SystemEntropy).unwrap();
        std::fs::remove_file(&file).unwrap();
        std::fs::write(folder.join(records), "records").unwrap();
        let error = data_dir.tokens(&agencies, &SystemEntropy).unwrap_err().to_string();
        assert!(
            error.contains("put it back from a backup") && error.contains(records),
            "{error}"
        );
        assert!(!file.exists());
        // Only somebody who says so makes new ones.
        let renewed = data_dir.renew_tokens(&agencies, &SystemEntropy).unwrap();
        assert_eq!(renewed.len(), first.len());
        assert!(data_dir.renew_tokens(&agencies, &SystemEntropy).is_err());
        std::fs::remove_file(folder.join(records)).unwrap();
    }
}

#[test]
fn a_revoked_token_is_not_made_anew() {
    let (_parent, folder) = folder();
    let data_dir = DataDir::open(&folder).unwrap();
    let agencies = BTreeSet::from(["police-CN".to_owned()]);
    let mut tokens = data_dir.tokens(&agencies, &SystemEntropy).unwrap();
    tokens.last_mut().unwrap().token.clear();
    write_tokens(&data_dir.layout().tokens(), &tokens).unwrap();
    let again = data_dir.tokens(&agencies, &SystemEntropy).unwrap();
    assert!(again.len() == tokens.len() && again.last().unwrap().is_revoked());
    assert_eq!(find_token(&again, "police-CN"), None);
}

#[test]
fn paths_survive_in_database_urls() {
    let url = Layout::new("/tmp/100% of #1?").database(Service::Audit).unwrap();
    assert_eq!(url.expose(), "sqlite:///tmp/100%25 of %231%3F/audit.db");
}

fn write_tokens(path: &Path, tokens: &[rpc::Token]) -> anyhow::Result<()> {
    TokenFile::hold(path)?.write(tokens)
}

/// Paused time advances only for awaited timers, so each wait checks the file deterministically.
#[tokio::test(start_paused = true)]
async fn the_token_file_is_reloaded_and_a_bad_one_changes_nothing() {
    let (_parent, folder) = folder();
    let data_dir = DataDir::open(&folder).unwrap();
    let tokens = data_dir
        .tokens(&BTreeSet::from(["police-CN".to_owned()]), &SystemEntropy)
        .unwrap();
    let file = data_dir.layout().tokens();
    let followed = Followed::new(&file, &tokens).unwrap();
    let knows = |token: &rpc::Token| {
        let mut headers = http::HeaderMap::new();
        let bearer = format!("Bearer {}", token.token);
        headers.insert(http::header::AUTHORIZATION, bearer.parse().unwrap());
        followed
            .authenticate(&rpc::Presented::headers(&headers))
            .is_some_and(|caller| caller.system == token.system)
    };
    let (operator, agency) = (&tokens[0], tokens.last().unwrap());
    let added = rpc::Token {
        token: "of-a-system-that-was-added".to_owned(),
        system: "added".to_owned(),
        ..agency.clone()
    };
    assert!(knows(agency) && !knows(&added));

    // One token more, and one removed.
    let mut others: Vec<_> = tokens
        .iter()
        .filter(|token| token.system != agency.system)
        .cloned()
        .collect();
    others.push(added.clone());
    let with_added = others;
    write_tokens(&file, &with_added).unwrap();
    tokio::time::sleep(2 * LOOK).await;
    assert!(knows(operator) && knows(&added) && !knows(agency));

    assert_eq!(followed.trouble(), None);

    let others = file.with_file_name("elsewhere");
    for (break_it, expected) in [
        (
            Box::new(|| std::fs::write(&file, r#"["a-secret"]"#).unwrap()) as Box<dyn Fn()>,
            "line 1, column 11",
        ),
        (Box::new(|| std::fs::rename(&file, &others).unwrap()), "No such file"),
        (
            Box::new(|| std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap()),
            "chmod 600",
        ),
    ] {
        break_it();
        // What is written keeps the file's mode.
        let mend_it = || {
            if file.exists() {
                std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            }
        };
        tokio::time::sleep(2 * LOOK).await;
        assert!(knows(operator) && knows(&added), "what cannot be read changes nothing");
        let trouble = followed.trouble().unwrap();
        assert!(
            trouble.contains(expected) && trouble.contains("tokens.json"),
            "{trouble}"
        );
        assert!(!trouble.contains("a-secret"), "status and log show this: {trouble}");
        // It stays an alarm, however long.
        tokio::time::sleep(2 * REMIND).await;
        assert_eq!(followed.trouble(), Some(trouble));
        mend_it();
        write_tokens(&file, &tokens).unwrap();
        tokio::time::sleep(2 * LOOK).await;
        assert_eq!(followed.trouble(), None);
        write_tokens(&file, &with_added).unwrap();
        tokio::time::sleep(2 * LOOK).await;
    }
    write_tokens(&file, &tokens).unwrap();
    tokio::time::sleep(2 * LOOK).await;
    assert!(knows(agency) && !knows(&added));
}
