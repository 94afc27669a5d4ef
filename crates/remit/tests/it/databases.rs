//! Databases and evidence, looked at without a server.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sqlx::Connection as _;

use crate::{cli::remit, process::Server};

const SERVE: [&str; 8] = [
    "serve",
    "all",
    "--intake-listen",
    "127.0.0.1:0",
    "--routing-listen",
    "127.0.0.1:0",
    "--audit-listen",
    "127.0.0.1:0",
];

fn run(args: &[&str], data_dir: &Path) -> (i32, serde_json::Value, String) {
    let output = remit(args).env("REMIT_DATA_DIR", data_dir).output().unwrap();
    let stdout = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stdout, stderr)
}

async fn execute(database: &Path, statement: &'static str) {
    let url = format!("sqlite://{}", database.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// All files under a folder with their contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            // SQLite makes them anew for every reader.
            false if path.to_string_lossy().ends_with("-shm") || path.to_string_lossy().ends_with("-wal") => {}
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn evidence_is_compared_read_only_with_what_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let server = Server::start(&data_dir);
    let file = folder.path().join("file");
    let mut names = Vec::new();
    for content in ["one", "two", "three"] {
        std::fs::write(&file, content).unwrap();
        let path = file.to_str().unwrap();
        let uploaded = server.json(&["evidence", "upload", path, "--as", "police-440000", "--json"]);
        names.push(uploaded["evidence"]["name"].as_str().unwrap().to_owned());
    }
    server.stop();
    let verify = ["evidence", "verify", "--json"];
    let before = contents(&data_dir);
    let (code, sound, stderr) = run(&verify, &data_dir);
    assert_eq!(
        (code, &sound["files"], &sound["wrong"], &sound["unknown"]),
        (0, &3.into(), &0.into(), &0.into()),
        "{stderr}"
    );
    assert_eq!(contents(&data_dir), before, "nothing is changed");
    // The configuration's data directory counts as well.
    let config = folder.path().join("remit.yaml");
    std::fs::write(&config, "data_dir: data\n").unwrap();
    let output = remit(&verify)
        .args(["--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let at = |name: &str| {
        let id = name.strip_prefix("evidence/").unwrap();
        let stored = contents(&data_dir.join("evidence"));
        stored.into_iter().find(|(path, _)| path.ends_with(id)).unwrap().0
    };
    std::fs::write(at(&names[0]), "onE").unwrap();
    std::fs::remove_file(at(&names[1])).unwrap();
    // An id that no row has, written long ago; and one that may be about to get a row.
    let foreign = at(&names[2]).with_file_name("0193a5e0-0000-7000-8000-000000000000");
    std::fs::write(&foreign, "foreign").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    std::fs::File::options()
        .write(true)
        .open(&foreign)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    std::fs::write(foreign.with_file_name("0193a5e0-0000-7000-8000-000000000001"), "young").unwrap();
    let (code, found, stderr) = run(&verify, &data_dir);
    assert_eq!(
        (code, &found["wrong"], &found["unknown"]),
        (5, &2.into(), &1.into()),
        "{stderr}"
    );
    let told = |name: &str| {
        let first = found["first"].as_array().unwrap();
        let told = first.iter().find(|told| told["name"] == name);
        told.map(|told| told["problem"].as_str().unwrap().to_owned())
    };
    assert_eq!(told(&names[0]).unwrap(), "its SHA-256 is not the recorded one");
    assert_eq!(told(&names[1]).unwrap(), "it is missing");
    assert_eq!(told(&names[2]), None);
    assert_eq!(
        found["firstUnknown"][0],
        "evidence/0193a5e0-0000-7000-8000-000000000000"
    );

    // Another intake's folder is not compared at all.
    std::fs::write(data_dir.join("evidence/marker"), "another\n").unwrap();
    let (code, _, stderr) = run(&verify, &data_dir);
    assert!(code == 2 && stderr.contains("is another intake's"), "{code} {stderr}");
    // Nor is a database of another version, and it stays what it is.
    let database = data_dir.join("intake.db");
    execute(&database, "DELETE FROM _sqlx_migrations WHERE version = 2005").await;
    let before = std::fs::read(&database).unwrap();
    let (code, _, stderr) = run(&verify, &data_dir);
    assert!(
        code == 2 && stderr.contains("older version of Remit") && stderr.contains("remit migrate"),
        "{code} {stderr}"
    );
    assert_eq!(std::fs::read(&database).unwrap(), before);
    // Where nothing is, nothing is made.
    let nowhere = folder.path().join("nowhere");
    let (code, ..) = run(&verify, &nowhere);
    assert_eq!((code, nowhere.exists()), (2, false));
    std::fs::create_dir_all(nowhere.join("evidence")).unwrap();
    let (code, _, stderr) = run(&verify, &nowhere);
    assert!(
        code == 2 && stderr.contains("intake.db does not exist"),
        "{code} {stderr}"
    );
    assert!(!nowhere.join("intake.db").exists());
}

#[tokio::test]
async fn databases_are_migrated_listed_and_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let check = ["migrate", "--check", "--json"];
    let (code, _, stderr) = run(&check, &data_dir);
    assert!(
        code == 2 && stderr.contains("intake.db does not exist"),
        "{code} {stderr}"
    );
    assert!(!data_dir.exists());
    Server::start(&data_dir).stop();
    let lacks = |found: &serde_json::Value| {
        let services = found["services"].as_array().unwrap();
        services
            .iter()
            .map(|service| service["changes"].as_array().unwrap().len())
            .collect::<Vec<_>>()
    };
    let files = || {
        let files = std::fs::read_dir(&data_dir).unwrap();
        files.map(|file| file.unwrap().file_name()).collect::<BTreeSet<_>>()
    };
    let before = files();
    let (code, found, _) = run(&check, &data_dir);
    assert_eq!((code, lacks(&found)), (0, vec![0, 0, 0]));
    assert_eq!(files(), before, "nothing is left beside the databases");

    // As before the last change of the journal.
    let routing = data_dir.join("routing.db");
    execute(&routing, "DROP TABLE time_mark").await;
    execute(&routing, "DELETE FROM _sqlx_migrations WHERE version = 1005").await;
    for _ in 0..2 {
        let (code, found, _) = run(&check, &data_dir);
        assert_eq!((code, lacks(&found)), (1, vec![0, 1, 0]), "a check changes nothing");
        assert_eq!(found["services"][1]["changes"][0], "the time mark");
    }
    let (code, found, stderr) = run(&["migrate", "intake", "--json"], &data_dir);
    assert_eq!((code, lacks(&found)), (0, vec![0]), "{stderr}");
    let (code, found, stderr) = run(&["migrate", "--json"], &data_dir);
    assert_eq!((code, lacks(&found)), (0, vec![0, 1, 0]), "{stderr}");
    assert_eq!(run(&check, &data_dir).0, 0);

    // Another service's, and a newer version's: by every way to open one.
    let own = std::fs::read(data_dir.join("intake.db")).unwrap();
    for other in ["routing", "audit"] {
        std::fs::copy(data_dir.join(format!("{other}.db")), data_dir.join("intake.db")).unwrap();
        let expected = format!("is {other}'s database, and intake was asked to open it");
        for args in [&check[..], &["migrate"], &["evidence", "verify"], &SERVE] {
            let (code, _, stderr) = run(args, &data_dir);
            assert!(code != 0 && stderr.contains(&expected), "{args:?}: {code} {stderr}");
        }
    }
    std::fs::write(data_dir.join("intake.db"), own).unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (2999, 'of tomorrow', true, x'00', 0)";
    execute(&data_dir.join("audit.db"), newer).await;
    for args in [&check[..], &["migrate"], &SERVE] {
        let (code, _, stderr) = run(args, &data_dir);
        assert!(
            code != 0 && stderr.contains("written by a newer version of Remit") && stderr.contains("of tomorrow"),
            "{args:?}: {code} {stderr}"
        );
    }
}
