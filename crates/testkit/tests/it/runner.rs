//! `with-postgres` as a process, and the fate of its server when the process dies.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::Connection as _;
use testkit::postgres::SERVER_VARIABLE;

/// `with-postgres sh -c script`, with no server supplied.
fn with_postgres(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    command
        .args(["sh", "-c", script])
        .env_remove(SERVER_VARIABLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Reads the server's URL from a script that begins with `echo "$REMIT_TEST_POSTGRES"`. Empty
/// without a server.
fn url_said_by(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    line.trim().to_owned()
}

#[test]
fn the_exit_code_is_passed_on() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let status = with_postgres(script)
            .env(SERVER_VARIABLE, "postgres://elsewhere/postgres")
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{script}");
    }
}

#[test]
fn a_supplied_server_is_used() {
    let given = "postgres://elsewhere/postgres";
    let output = with_postgres(r#"echo "$REMIT_TEST_POSTGRES""#)
        .env(SERVER_VARIABLE, given)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), given);
}

#[tokio::test]
async fn a_server_does_not_outlive_a_killed_runner() -> Result<(), sqlx::Error> {
    if testkit::postgres::database().is_none() {
        return Ok(());
    }
    // The script ends when its stdin closes, which this test holds open.
    let mut runner = with_postgres(r#"echo "$REMIT_TEST_POSTGRES"; cat"#).spawn().unwrap();
    let url = url_said_by(&mut runner);
    let mut connection = sqlx::PgConnection::connect(&url).await?;
    let (folder,): (String,) = sqlx::query_as("SELECT current_setting('data_directory')")
        .fetch_one(&mut connection)
        .await?;
    assert!(std::path::Path::new(&folder).is_dir());

    let waiting = tokio::spawn(async move { sqlx::query("SELECT pg_sleep(600)").execute(&mut connection).await });
    runner.kill().unwrap();
    runner.wait().unwrap();
    let cut_off = tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the server stops");
    assert!(cut_off.unwrap().is_err());
    Ok(())
}
