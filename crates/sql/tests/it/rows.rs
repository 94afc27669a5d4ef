//! Columns of rows: by name, and what an error says of them.

use sql::{Db, Error, Insert, Kind, Schema, Value, transact};
use testkit::{Backend, on_each_backend};

const SCHEMAS: &[Schema] = &[Schema {
    base: 1,
    changes: &[(
        "things",
        "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL)",
        "CREATE TABLE things (id TEXT NOT NULL PRIMARY KEY, size BIGINT NOT NULL)",
    )],
}];

const THINGS: Insert = Insert::into("things", &[("id", Kind::Text), ("size", Kind::Int)])
    .then("ON CONFLICT DO NOTHING RETURNING id, size");

on_each_backend!(columns_are_found_by_name_and_errors_name_column_and_statement);

async fn columns_are_found_by_name_and_errors_name_column_and_statement(backend: Backend) {
    let db = Db::open(backend.url(), SCHEMAS).await.unwrap();
    let put = || vec![["thing".into(), Value::Int(7)]];
    let returned = transact!(db, |tx| THINGS.rows(&mut tx, put())).unwrap();
    let read = db
        .fetch("SELECT size, id, count(*) OVER () AS of FROM things", Vec::new())
        .await
        .unwrap();
    for row in returned.iter().chain(&read) {
        assert_eq!(row.get::<String>("id").unwrap(), "thing");
        assert_eq!(row.count("size", "size").unwrap(), 7);
    }
    assert_eq!(read[0].get::<i64>("of").unwrap(), 1);

    let count = db.fetch("SELECT count(*) FROM things", Vec::new()).await.unwrap();
    assert_eq!(count[0].only::<i64>().unwrap(), 1);
    assert!(read[0].only::<i64>().is_err(), "which of three?");

    let wrong = |error: Error| match error {
        Error::Decode { column, from, .. } => (column, from),
        other => panic!("{other}"),
    };
    let statement = "SELECT size, id, count(*) OVER ()".to_owned();
    assert_eq!(
        wrong(read[0].get::<i64>("id").unwrap_err()),
        ("id".to_owned(), statement.clone())
    );
    assert_eq!(
        wrong(read[0].get::<i64>("gone").unwrap_err()),
        ("gone".to_owned(), statement)
    );
    assert_eq!(
        wrong(returned[0].get::<String>("size").unwrap_err()),
        ("size".to_owned(), "things".to_owned())
    );
}
