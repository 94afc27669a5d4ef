//! What the codes of each engine mean: a retry, an outage, or a fault of ours.

use std::sync::atomic::{AtomicU32, Ordering};

use sql::{Db, Engine, Error, Value, transact};
use testkit::{Backend, on_each_backend};

on_each_backend!(
    each_engines_codes_are_read_as_its_own,
    a_transaction_that_collided_is_tried_again,
    a_full_disk_is_known_until_there_is_room_for_more_than_a_row,
);

/// How a caller is answered: retry now, retry later, or not at all.
#[derive(Debug, PartialEq)]
enum Means {
    Retry,
    Outage,
    Fault,
}

fn meaning(error: &Error) -> Means {
    match (error.is_transient(), error.is_outage()) {
        (true, false) => Means::Retry,
        (false, true) => Means::Outage,
        (false, false) => Means::Fault,
        (true, true) => panic!("both: {error}"),
    }
}

async fn each_engines_codes_are_read_as_its_own(backend: Backend) {
    const RAISE: &str = "CREATE FUNCTION raise_state(state text) RETURNS void LANGUAGE plpgsql \
                         AS $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = state; END $$";
    let db = Db::open(backend.url(), &[]).await.unwrap();
    let fails = async |statement, values| db.fetch(statement, values).await.unwrap_err();
    match db.engine() {
        Engine::Postgres => {
            let mut tx = db.begin().await.unwrap();
            tx.execute(RAISE, Vec::new()).await.unwrap();
            tx.commit().await.unwrap();
            for (state, expected) in [
                // As numbers of SQLite, the first six are "busy", "locked" or "disk full".
                ("22021", Means::Fault),
                ("42501", Means::Fault),
                ("22022", Means::Fault),
                ("42502", Means::Fault),
                ("00005", Means::Fault),
                ("00013", Means::Fault),
                ("08P01", Means::Fault),
                ("40001", Means::Retry),
                ("40P01", Means::Retry),
                ("55P03", Means::Retry),
                ("53100", Means::Outage),
                ("57P03", Means::Outage),
                ("08006", Means::Outage),
            ] {
                let error = fails("SELECT raise_state($1)", vec![state.into()]).await;
                assert_eq!(meaning(&error), expected, "{state}");
            }
            // What the state 22021 is for: a character that the database does not take.
            let error = fails("SELECT $1::text", vec![Value::from("a\0b")]).await;
            assert_eq!(meaning(&error), Means::Fault);
        }
        Engine::Sqlite => {
            for statement in ["SELECT * FROM no_such", "SELECT json('{')"] {
                assert_eq!(
                    meaning(&fails(statement, Vec::new()).await),
                    Means::Fault,
                    "{statement}"
                );
            }
        }
    }
}

/// Two statements of one transaction did not see the same row. Nobody is answered with an internal
/// error for it: the next try sees the row as it is, and after the last the answer is to retry.
async fn a_transaction_that_collided_is_tried_again(backend: Backend) {
    let db = Db::open(backend.url(), &[]).await.unwrap();
    let tries = AtomicU32::new(0);
    let attempt = |failures: u32| {
        let tried = tries.fetch_add(1, Ordering::SeqCst);
        async move {
            match tried < failures {
                true => Err(Error::Collided("a request id")),
                false => Ok(tried),
            }
        }
    };
    let done = transact!(db, |tx| async {
        tx.fetch("SELECT 1", Vec::new()).await?;
        attempt(2).await
    });
    assert_eq!(done.unwrap(), 2);
    let failed: Result<u32, Error> = transact!(db, |tx| async {
        tx.fetch("SELECT 1", Vec::new()).await?;
        attempt(u32::MAX).await
    });
    assert_eq!(meaning(&failed.unwrap_err()), Means::Retry);
    // What another load took over stays so, however often it is tried.
    assert_eq!(meaning(&Error::Raced("the abandoned load")), Means::Fault);
}

/// Not until a change of a row succeeds: that may fit into pages that are there.
async fn a_full_disk_is_known_until_there_is_room_for_more_than_a_row(backend: Backend) {
    const RAISE: &str = "CREATE FUNCTION raise_state(state text) RETURNS void LANGUAGE plpgsql \
                         AS $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = state; END $$";
    const CANNOT_GROW: &str = "CREATE FUNCTION cannot_grow() RETURNS event_trigger LANGUAGE plpgsql \
                               AS $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = '53100'; END $$";
    let db = Db::open(backend.url(), &[]).await.unwrap();
    let run = async |statement: &'static str| sql::transact!(&db, |tx| tx.fetch(statement, Vec::new()));
    let fails = match db.engine() {
        Engine::Postgres => {
            run(RAISE).await.unwrap();
            "SELECT raise_state('53100')"
        }
        Engine::Sqlite => {
            run("PRAGMA max_page_count = 1").await.unwrap();
            "CREATE TABLE more (id INTEGER)"
        }
    };
    assert!(!db.is_full().await);
    let error = run(fails).await.unwrap_err();
    assert!(
        error.is_full() && error.is_outage() && !error.is_transient(),
        "{error:?}"
    );
    assert!(db.is_full().await);
    // Another failure tells nothing about room.
    run("SELECT * FROM no_such").await.unwrap_err();
    assert!(db.is_full().await);
    // Small writes succeed, and the database cannot grow.
    let small = match db.engine() {
        Engine::Postgres => {
            run(CANNOT_GROW).await.unwrap();
            run(
                "CREATE EVENT TRIGGER cannot_grow ON ddl_command_start WHEN TAG IN ('CREATE TABLE AS') \
                 EXECUTE FUNCTION cannot_grow()",
            )
            .await
            .unwrap();
            "SELECT 1"
        }
        Engine::Sqlite => "PRAGMA max_page_count = 100",
    };
    for _ in 0..3 {
        run(small).await.unwrap();
        assert!(db.is_full().await);
    }
    let room = match db.engine() {
        Engine::Postgres => "DROP EVENT TRIGGER cannot_grow",
        Engine::Sqlite => "PRAGMA max_page_count = 100000",
    };
    run(room).await.unwrap();
    assert!(!db.is_full().await);
    let left = db.fetch("SELECT * FROM room_trial", Vec::new()).await;
    assert!(left.is_err(), "the trial leaves nothing behind");
    // Its neighbours, and the number of the other engine, are something else.
    if db.engine() == Engine::Postgres {
        for other in ["SELECT raise_state('53200')", "SELECT raise_state('00013')"] {
            assert!(!run(other).await.unwrap_err().is_full(), "{other}");
        }
    }
}
