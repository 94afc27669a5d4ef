use sqlx::postgres::PgArguments;

use crate::{Engine, Error, Kind, Row, Tx, Value};

/// Name and type of an inserted column.
pub type Column = (&'static str, Kind);

/// A bulk insert of any number of rows into one table.
#[derive(Clone, Copy, Debug)]
pub struct Insert {
    table: &'static str,
    columns: &'static [Column],
    rest: &'static str,
}

/// SQLite binds at most 32,766 parameters.
const SQLITE_PARAMETERS: usize = 32_766;
/// Larger statements gain nothing.
const SQLITE_ROWS: usize = 256;

impl Insert {
    /// An insert into these columns of a table.
    pub const fn into(table: &'static str, columns: &'static [Column]) -> Self {
        Self {
            table,
            columns,
            rest: "",
        }
    }

    /// Appends `ON CONFLICT …` or `RETURNING …`.
    pub const fn then(self, rest: &'static str) -> Self {
        Self { rest, ..self }
    }

    /// Inserts rows, each with one value per column, and returns the rows of `RETURNING`.
    pub async fn rows<const N: usize>(&self, tx: &mut Tx, rows: Vec<[Value; N]>) -> Result<Vec<Row>, Error> {
        debug_assert_eq!(N, self.columns.len(), "insert into {}", self.table);
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match tx.engine() {
            Engine::Postgres => {
                let rows: Vec<&[Value]> = rows.iter().map(<[Value; N]>::as_slice).collect();
                let statement = self.postgres(1);
                let arguments = array_arguments(&statement, &[(self, rows)])?;
                tx.fetch_arrays(&statement, self.table, arguments).await
            }
            Engine::Sqlite => {
                let mut answers = Vec::new();
                let mut rows = rows.into_iter();
                while rows.len() > 0 {
                    let n = chunk(rows.len(), N);
                    let values = rows.by_ref().take(n).flatten().collect();
                    answers.extend(tx.fetch_text(self.sqlite(n), self.table, values).await?);
                }
                Ok(answers)
            }
        }
    }

    pub(crate) fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn head(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("INSERT INTO {} ({})", self.table, names.join(", "))
    }

    /// The PostgreSQL statement, with one array parameter per column, numbered from `first`.
    pub(crate) fn postgres(&self, first: usize) -> String {
        let arrays: Vec<_> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, (_, kind))| {
                let kind = match kind {
                    Kind::Text => "TEXT",
                    Kind::Int => "BIGINT",
                    Kind::Bytes => "BYTEA",
                };
                format!("${}::{kind}[]", first + i)
            })
            .collect();
        // `WHERE true` keeps `ON CONFLICT` after a SELECT unambiguous.
        format!(
            "{} SELECT * FROM UNNEST({}) WHERE true {}",
            self.head(),
            arrays.join(", "),
            self.rest
        )
    }

    pub(crate) fn sqlite(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
        format!("{} VALUES {} {}", self.head(), vec![row; rows].join(", "), self.rest)
    }
}

/// An insert and its rows.
pub(crate) type Part<'a> = (&'a Insert, Vec<&'a [Value]>);

/// Builds one array parameter per column of every part.
pub(crate) fn array_arguments(statement: &str, parts: &[Part<'_>]) -> Result<PgArguments, Error> {
    use sqlx::Arguments as _;
    let mut arguments = PgArguments::default();
    for (insert, rows) in parts {
        for (i, (_, kind)) in insert.columns().iter().enumerate() {
            let column = rows.iter().map(|row| &row[i]);
            match kind {
                Kind::Text => arguments.add(column.map(Value::as_text).collect::<Vec<Option<&str>>>()),
                Kind::Int => arguments.add(column.map(Value::as_int).collect::<Vec<Option<i64>>>()),
                Kind::Bytes => arguments.add(column.map(Value::as_bytes).collect::<Vec<Option<&[u8]>>>()),
            }
            .map_err(|source| Error::execute(statement, sqlx::Error::Encode(source)))?;
        }
    }
    Ok(arguments)
}

/// Returns the largest of 1, 2, 3, 4, 6, 8, 12, 16, … within the limits. Few distinct statements
/// are prepared, so the statement cache hits, and no group needs many of them.
pub(crate) fn chunk(rows: usize, columns: usize) -> usize {
    let most = rows.min(SQLITE_PARAMETERS / columns).min(SQLITE_ROWS);
    let power = 1 << most.ilog2();
    if most >= power + power / 2 {
        power + power / 2
    } else {
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_few_and_within_limits() {
        for (rows, columns, expected) in [
            (1, 5, 1),
            (3, 5, 3),
            (5, 5, 4),
            (7, 5, 6),
            (64, 5, 64),
            (100, 5, 96),
            (9_999, 5, 256),
            (9_999, 1_000, 32),
        ] {
            assert_eq!(chunk(rows, columns), expected, "{rows} rows of {columns}");
        }
    }

    #[test]
    fn statements_name_columns_and_types() {
        const INSERT: Insert = Insert::into("t", &[("id", Kind::Text), ("n", Kind::Int), ("b", Kind::Bytes)])
            .then("ON CONFLICT DO NOTHING");
        assert_eq!(
            INSERT.postgres(1),
            "INSERT INTO t (id, n, b) SELECT * FROM UNNEST($1::TEXT[], $2::BIGINT[], $3::BYTEA[]) WHERE true ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            INSERT.sqlite(2),
            "INSERT INTO t (id, n, b) VALUES (?, ?, ?), (?, ?, ?) ON CONFLICT DO NOTHING"
        );
    }
}
