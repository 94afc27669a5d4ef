//! What a connection to PostgreSQL has to be, and what is told where it is not: behind a pooler
//! that drops what a connection starts with, and on a standby.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
};

use sql::{Db, Error, Schema, transact};
use testkit::{Backend, postgres::Cluster};

const SCHEMAS: &[Schema] = &[Schema {
    base: 1,
    changes: &[
        ("numbers", "", "CREATE TABLE numbers (n BIGINT NOT NULL PRIMARY KEY)"),
        ("texts", "", "CREATE TABLE texts (t TEXT NOT NULL PRIMARY KEY)"),
    ],
}];

/// The number of an SSLRequest, which stands where the version of a start does.
const SSL: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// A proxy that drops the `options` of each start, as PgBouncer does. Returns the URL through it.
fn pooler(url: &str) -> String {
    let (rest, name) = url.rsplit_once('/').unwrap();
    let (user, server) = rest.rsplit_once('@').unwrap();
    let (server, name) = (server.to_owned(), name.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let through = format!("{user}@{}/{name}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            std::thread::spawn(move || relay(client, server));
        }
    });
    through
}

fn relay(mut client: TcpStream, mut server: TcpStream) {
    let start = loop {
        let mut length = [0; 4];
        if client.read_exact(&mut length).is_err() {
            return;
        }
        let mut content = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut content).unwrap();
        if content != SSL {
            break content;
        }
        client.write_all(b"N").unwrap();
    };
    let texts: Vec<&[u8]> = start[4..].split(|byte| *byte == 0).collect();
    let mut kept = start[..4].to_vec();
    for pair in texts.chunks_exact(2).filter(|pair| !pair[0].is_empty()) {
        if pair[0] != b"options" {
            kept.extend(pair.iter().flat_map(|text| [text, &b"\0"[..]].concat()));
        }
    }
    kept.push(0);
    let length = u32::try_from(kept.len() + 4).unwrap();
    server.write_all(&length.to_be_bytes()).unwrap();
    server.write_all(&kept).unwrap();
    let (mut back, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Both);
}

/// Sets a default of the database, for connections made from now on.
async fn set(operator: &Db, setting: &str) {
    let statement =
        format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {setting}', current_database()); END $$");
    let statement: &'static str = Box::leak(statement.into_boxed_str());
    operator.fetch(statement, Vec::new()).await.unwrap();
}

async fn put(db: &Db, n: i64) -> Result<u64, Error> {
    transact!(db, |tx| tx
        .execute("INSERT INTO numbers (n) VALUES ($1)", vec![n.into()]))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Remit asks for it, so only a pooler can be in the way; what it is asked for is then asked back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_connection_that_commits_before_the_disk_has_it_is_refused() {
    let Some(backend) = Backend::postgres() else { return };
    let operator = Db::open(backend.url(), SCHEMAS).await.unwrap();
    set(&operator, "synchronous_commit = off").await;
    // Asked for, it is given.
    put(&Db::open(backend.url(), SCHEMAS).await.unwrap(), 1).await.unwrap();
    let through = pooler(backend.url());
    for lie in ["off", "local", "remote_write"] {
        set(&operator, &format!("synchronous_commit = {lie}")).await;
        let refused = Db::open(&through, SCHEMAS).await.unwrap_err();
        let said = with_causes(&refused);
        assert!(
            said.contains(&format!("synchronous_commit={lie}")) && said.contains("ALTER ROLE"),
            "{said}"
        );
        assert!(refused.is_outage(), "a service that serves goes on once it is mended");
    }
    for sound in ["on", "remote_apply"] {
        set(&operator, &format!("synchronous_commit = {sound}")).await;
        Db::open(&through, SCHEMAS).await.unwrap();
    }
    // Who only reads acknowledges nothing.
    set(&operator, "synchronous_commit = off").await;
    Db::open_to_read(&through, SCHEMAS).await.unwrap();
}

/// Each connection, not only the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_later_connection_is_asked_too() {
    let Some(backend) = Backend::postgres() else { return };
    let operator = Db::open(backend.url(), SCHEMAS).await.unwrap();
    let db = Db::open(&pooler(backend.url()), SCHEMAS).await.unwrap();
    set(&operator, "synchronous_commit = off").await;
    let mut begun = Vec::new();
    let refused = loop {
        match db.begin().await {
            Ok(tx) => begun.push(tx),
            Err(error) => break error,
        }
        assert!(begun.len() < 4, "only those that were open before");
    };
    assert!(with_causes(&refused).contains("synchronous_commit=off"), "{refused:?}");
    assert!(refused.is_outage() && !refused.is_transient());
    for tx in begun {
        tx.commit().await.unwrap();
    }
}

/// The migration, too; and no statement has a name, which another session would not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_no_statement_outlives_its_transaction() {
    let Some(backend) = Backend::postgres() else { return };
    let operator = Db::open(backend.url(), &[]).await.unwrap();
    // As an operator mends what the pooler drops.
    set(&operator, "statement_timeout = ''30s''").await;
    const PREPARED: &str = "SELECT count(*) AS n FROM pg_prepared_statements WHERE name <> ''";
    let db = Db::open(&pooler(backend.url()), SCHEMAS).await.unwrap();
    // The session of the migration among them.
    let mut begun = Vec::new();
    for _ in 0..4 {
        let mut tx = db.begin().await.unwrap();
        let row = tx.fetch_optional(PREPARED, Vec::new()).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>("n").unwrap(), 0);
        begun.push(tx);
    }
    drop(begun);
    for n in 0..4 {
        put(&db, n).await.unwrap();
        let found = db.fetch("SELECT n FROM numbers ORDER BY n", Vec::new()).await.unwrap();
        assert_eq!(found.len() as i64, n + 1);
        assert!(put(&db, n).await.unwrap_err().is_unique_violation());
        assert!(db.fetch("SELECT nothing FROM nowhere", Vec::new()).await.is_err());
        let row = db.fetch_optional(PREPARED, Vec::new()).await.unwrap().unwrap();
        assert_eq!(row.get::<i64>("n").unwrap(), 0);
    }
    // Its own session keeps them.
    let own = Db::open(backend.url(), SCHEMAS).await.unwrap();
    let row = own.fetch_optional(PREPARED, Vec::new()).await.unwrap().unwrap();
    assert!(row.get::<i64>("n").unwrap() > 0);
}

/// An address that leads to a standby, as for a moment in a failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_reads_is_told_and_left() {
    let Some(backend) = Backend::postgres() else { return };
    let operator = Db::open(backend.url(), SCHEMAS).await.unwrap();
    let db = Db::open(backend.url(), SCHEMAS).await.unwrap();
    put(&db, 1).await.unwrap();
    set(&operator, "default_transaction_read_only = on").await;
    let refused = Db::open(backend.url(), SCHEMAS).await.unwrap_err();
    let said = with_causes(&refused);
    assert!(said.contains("takes reads only") && refused.is_outage(), "{said}");

    // Found while a connection serves: an outage, and no connection of before is used again.
    let mut tx = db.begin().await.unwrap();
    tx.fetch("SET TRANSACTION READ ONLY", Vec::new()).await.unwrap();
    let written = tx.execute("INSERT INTO numbers (n) VALUES (2)", Vec::new()).await;
    let error = written.unwrap_err();
    assert!(error.is_outage() && !error.is_transient(), "{error:?}");
    tx.rollback().await;
    let reopened = tokio::spawn({
        let db = db.clone();
        async move { put(&db, 2).await }
    });
    // Nothing of it leads to a leader; then something does, while a caller waits.
    tokio::time::timeout(std::time::Duration::from_millis(500), async {
        operator.ping().await.unwrap();
        std::future::pending::<()>().await;
    })
    .await
    .unwrap_err();
    assert!(!reopened.is_finished());
    let mut tx = operator.begin().await.unwrap();
    tx.fetch(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$",
        Vec::new(),
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(reopened.await.unwrap().unwrap(), 1);
}

/// Where a standby has to have what is acknowledged. A commit that waits for it is seen by nobody,
/// until the server crashes or its session is ended: then it is there, and only there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_a_repeat_promises_no_more_than_the_standby_has() {
    const WAITING: &str = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(error) if testkit::postgres::required() => panic!("{error}"),
        Err(_) => return,
    };
    let url = cluster.url().as_str();
    let (db, operator) = (
        Db::open(url, SCHEMAS).await.unwrap(),
        Db::open(url, SCHEMAS).await.unwrap(),
    );
    let standby = async |change: &'static str| {
        operator.fetch(change, Vec::new()).await.unwrap();
        operator.fetch("SELECT pg_reload_conf()", Vec::new()).await.unwrap();
    };
    standby("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    let waiting = async || operator.fetch(WAITING, Vec::new()).await.unwrap().len();
    // The setting reaches a session when it pleases.
    let mut first = tokio::spawn(std::future::ready(Ok(1)));
    let mut n = 1;
    while waiting().await == 0 {
        if first.is_finished() {
            n += 1;
            let db = db.clone();
            first = tokio::spawn(async move { put(&db, n).await });
        }
        tokio::task::yield_now().await;
    }
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    operator.fetch(ended, Vec::new()).await.unwrap();
    assert!(first.await.unwrap().unwrap_err().is_outage(), "nothing is acknowledged");

    let repeat = tokio::spawn({
        let db = db.clone();
        async move {
            transact!(db, |tx| tx
                .fetch_optional("SELECT n FROM numbers WHERE n = $1", vec![n.into()]))
        }
    });
    let begun = std::time::Instant::now();
    while waiting().await == 0 {
        assert!(!repeat.is_finished(), "the repeat waits for the standby, too");
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        tokio::task::yield_now().await;
    }
    // Who only looks waits for nothing.
    let seen = "SELECT n FROM numbers WHERE n = $1";
    assert!(operator.fetch_optional(seen, vec![n.into()]).await.unwrap().is_some());
    standby("ALTER SYSTEM RESET synchronous_standby_names").await;
    assert!(repeat.await.unwrap().unwrap().is_some());
}

/// Transactions that fail instead of waiting, as an operator can set it and as other engines do by
/// themselves: all get through, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_of_many_get_through_where_all_are_serializable() {
    let Some(backend) = Backend::postgres() else { return };
    let operator = Db::open(backend.url(), SCHEMAS).await.unwrap();
    set(&operator, "default_transaction_isolation = ''serializable''").await;
    let db = Db::open(backend.url(), SCHEMAS).await.unwrap();
    put(&db, 0).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let db = db.clone();
        writers.spawn(async move {
            for _ in 0..20 {
                transact!(db, |tx| tx.execute("UPDATE numbers SET n = n + 1", Vec::new())).unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let row = db
        .fetch_optional("SELECT n FROM numbers", Vec::new())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.get::<i64>("n").unwrap(), 160);
}
