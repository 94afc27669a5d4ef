use crate::{
    Db, Engine, Error, Insert, Retry, Then, Tx, Value,
    insert::{Part, array_arguments, chunk},
};

/// Related rows of several tables, inserted in one durable transaction.
///
/// Inserts only. PostgreSQL runs the batch as one statement, so one round trip makes it durable;
/// SQLite takes a few calls.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    parts: Vec<Part<'a>>,
    then: Vec<Then>,
}

impl<'a> Batch<'a> {
    /// Adds rows, each with one value per column of the insert.
    #[must_use]
    pub fn with(mut self, insert: &'a Insert, rows: impl IntoIterator<Item = &'a [Value]>) -> Self {
        let rows: Vec<&[Value]> = rows.into_iter().collect();
        debug_assert!(rows.iter().all(|row| row.len() == insert.columns().len()));
        if !rows.is_empty() {
            self.parts.push((insert, rows));
        }
        self
    }

    /// Does this after the commit.
    #[must_use]
    pub fn then(mut self, then: Then) -> Self {
        self.then.push(then);
        self
    }

    /// One statement for all parts. PostgreSQL runs every insert of a `WITH` in one transaction; its
    /// relatives want each to return something.
    fn postgres(&self) -> String {
        let mut first = 1;
        let mut inserts: Vec<String> = Vec::with_capacity(self.parts.len());
        for (insert, _) in &self.parts {
            inserts.push(insert.postgres(first));
            first += insert.columns().len();
        }
        let last = inserts.pop().unwrap_or_default();
        if inserts.is_empty() {
            return last;
        }
        let named: Vec<String> = (0..)
            .zip(inserts)
            .map(|(i, insert)| match insert.contains(" RETURNING ") {
                true => format!("part{i} AS ({insert})"),
                false => format!("part{i} AS ({insert} RETURNING 1)"),
            })
            .collect();
        format!("WITH {} {last}", named.join(", "))
    }

    /// One multi-insert text per round, each with a chunk of every table's rows, so that few
    /// distinct texts are prepared.
    fn sqlite(&self) -> Vec<(String, Vec<Value>)> {
        let mut parts: Vec<(&Insert, &[&[Value]])> = self
            .parts
            .iter()
            .map(|(insert, rows)| (*insert, rows.as_slice()))
            .collect();
        let mut statements = Vec::new();
        while parts.iter().any(|(_, rows)| !rows.is_empty()) {
            let mut text = String::new();
            let mut values = Vec::new();
            for (insert, rows) in parts.iter_mut().filter(|(_, rows)| !rows.is_empty()) {
                let (now, later) = rows.split_at(chunk(rows.len(), insert.columns().len()));
                text.push_str(&insert.sqlite(now.len()));
                text.push(';');
                values.extend(now.iter().copied().flatten().cloned());
                *rows = later;
            }
            statements.push((text, values));
        }
        statements
    }
}

impl Db {
    /// Writes a batch.
    ///
    /// On `Ok`, all of it is durable. On an error nothing of it was written, unless the connection
    /// was lost during the commit.
    ///
    /// # Errors
    ///
    /// A row that already exists is [a unique violation](Error::is_unique_violation) and is not
    /// retried.
    pub async fn write(&self, batch: &Batch<'_>) -> Result<(), Error> {
        if batch.parts.is_empty() {
            return Ok(());
        }
        let mut retry = Retry::default();
        loop {
            match self.try_write(batch).await {
                Err(error) if !error.is_unique_violation() && retry.again(&error).await => {}
                outcome => {
                    self.wrote(&outcome);
                    return outcome;
                }
            }
        }
    }

    async fn try_write(&self, batch: &Batch<'_>) -> Result<(), Error> {
        match self.engine() {
            Engine::Postgres => {
                let statement = batch.postgres();
                let arguments = array_arguments(&statement, &batch.parts)?;
                self.execute_arrays(&statement, arguments).await?;
                batch.then.iter().for_each(Then::happen);
                Ok(())
            }
            Engine::Sqlite => {
                let mut tx = self.begin().await?;
                if let Err(error) = tx.write(batch).await {
                    // Roll back now: a dropped transaction releases its lock only later, in the
                    // background.
                    tx.rollback().await;
                    return Err(error);
                }
                tx.commit().await
            }
        }
    }
}

impl Tx {
    /// Writes a batch as part of this transaction.
    pub async fn write(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        for then in &batch.then {
            self.then(then.clone());
        }
        match self.engine() {
            _ if batch.parts.is_empty() => {}
            Engine::Postgres => {
                let statement = batch.postgres();
                let arguments = array_arguments(&statement, &batch.parts)?;
                self.fetch_arrays(&statement, "a batch", arguments).await?;
            }
            Engine::Sqlite => {
                for (text, values) in batch.sqlite() {
                    self.fetch_text(text, "a batch", values).await?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const HEADS: Insert = Insert::into("heads", &[("id", Kind::Text)]);
    const TAILS: Insert = Insert::into("tails", &[("head", Kind::Text), ("n", Kind::Int)]);

    #[test]
    fn postgres_gets_one_statement_with_its_own_parameters_for_every_table() {
        let head = [Value::from("a")];
        let tail = [Value::from("a"), Value::Int(1)];
        let batch = Batch::default()
            .with(&HEADS, [head.as_slice()])
            .with(&TAILS, [tail.as_slice(), tail.as_slice()]);
        assert_eq!(
            batch.postgres(),
            "WITH part0 AS (INSERT INTO heads (id) SELECT * FROM UNNEST($1::TEXT[]) WHERE true  RETURNING 1) \
             INSERT INTO tails (head, n) SELECT * FROM UNNEST($2::TEXT[], $3::BIGINT[]) WHERE true "
        );
    }

    #[test]
    fn sqlite_gets_a_chunk_of_every_table_at_once_until_all_rows_are_written() {
        let head = [Value::from("a")];
        let tail = [Value::from("a"), Value::Int(1)];
        let batch = Batch::default()
            .with(&HEADS, vec![head.as_slice(); 5])
            .with(&TAILS, vec![tail.as_slice(); 10]);
        let statements = batch.sqlite();
        let sizes: Vec<_> = statements
            .iter()
            .map(|(text, values)| (text.matches('(').count() - 2, values.len()))
            .collect();
        // Chunks of 4 and 8, then of 1 and 2.
        assert_eq!(sizes, [(12, 4 + 16), (3, 1 + 4)]);
    }
}
