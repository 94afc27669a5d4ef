//! The store of simulations and replays.

use api::routing::{Explanation, Facts};
use async_trait::async_trait;
use journal::{Bytes32, Change, Time};
use prost::Message as _;
use sql::{Error, Insert, Kind, Value};
use uuid::Uuid;

use super::{name, rows};
use crate::replay::{OpeningChange, Routed};

/// A comparison of a proposed rule set with another over a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Digest of the proposed rule set.
    pub proposed: Bytes32,
    /// Digest of the rule set it is compared with.
    pub against: Bytes32,
    /// Digest of the directory that both decide over.
    pub directory: Bytes32,
}

/// The facts of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseFacts {
    /// Id of the case.
    pub case: Uuid,
    /// The facts; `None` if they were erased.
    pub facts: Option<Facts>,
}

/// The store of simulations and replays. Each method is one atomic use case.
#[async_trait]
pub trait Simulations: Send + Sync + 'static {
    /// The facts of cases after one, in ascending order of ids, at most `limit`.
    async fn case_facts(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<CaseFacts>, Error>;

    /// The stored route of a case, with the change that logged it; `None` if there is none.
    /// `former` is the number of one that another took the place of.
    async fn routed(&self, case: Uuid, former: Option<u32>) -> Result<Option<Routed>, Error>;

    /// Records a finished simulation, in place of an earlier one of the same.
    async fn finish_simulation(
        &self,
        trial: &Trial,
        decided: u64,
        different: u64,
        by: &str,
        now: Time,
    ) -> Result<(), Error>;

    /// Whether a simulation has finished.
    async fn was_simulated(&self, trial: &Trial) -> Result<bool, Error>;
}

const FINISHED: Insert = Insert::into(
    "simulations",
    &[
        ("proposed", Kind::Bytes),
        ("against", Kind::Bytes),
        ("directory", Kind::Bytes),
        ("decided", Kind::Int),
        ("different", Kind::Int),
        ("finish_time", Kind::Int),
        ("finished_by", Kind::Text),
    ],
)
.then(
    "ON CONFLICT (proposed, against, directory) DO UPDATE SET decided = excluded.decided, different = excluded.different, \
     finish_time = excluded.finish_time, finished_by = excluded.finished_by",
);

/// Details of the changes that opened cases.
pub(super) const OPENINGS: Insert = Insert::into(
    "case_openings",
    &[("case_id", Kind::Text), ("salt", Kind::Bytes), ("detail", Kind::Bytes)],
);

/// The row of one.
pub(super) fn opening_row(case: Uuid, change: &Change) -> [Value; 3] {
    let detail = change.with_detail().detail.unwrap_or_default();
    [
        case.to_string().into(),
        detail.salt.to_vec().into(),
        detail.content.to_vec().into(),
    ]
}

#[async_trait]
impl Simulations for super::SqlStore {
    async fn case_facts(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<CaseFacts>, Error> {
        let after = after.map(|after| after.to_string()).unwrap_or_default();
        self.db
            .fetch(
                "SELECT id, facts FROM cases WHERE id > $1 ORDER BY id LIMIT $2",
                vec![after.into(), i64::from(limit).into()],
            )
            .await?
            .iter()
            .map(|row| {
                Ok(CaseFacts {
                    case: rows::uuid(row, "id")?,
                    facts: facts(&row.get::<Vec<u8>>("facts")?)?,
                })
            })
            .collect()
    }

    async fn routed(&self, case: Uuid, former: Option<u32>) -> Result<Option<Routed>, Error> {
        let in_force = "SELECT facts, explanation, entry, salt, detail FROM cases \
                        JOIN case_openings ON case_id = id \
                        JOIN journal ON record = $2 AND journal.sequence = case_openings.sequence WHERE id = $1";
        let superseded = "SELECT facts, explanation, entry, salt, detail FROM case_former_routes \
                          JOIN journal ON record = $2 AND journal.sequence = case_former_routes.sequence \
                          WHERE case_id = $1 AND number = $3";
        let mut values: Vec<Value> = vec![case.to_string().into(), name(case).into()];
        values.extend(former.map(|number| i64::from(number).into()));
        let statement = former.map_or(in_force, |_| superseded);
        let row = self.db.fetch_optional(statement, values).await?;
        let Some(row) = row else { return Ok(None) };
        let explanation: Vec<u8> = row.get("explanation")?;
        Ok(Some(Routed {
            facts: facts(&row.get::<Vec<u8>>("facts")?)?,
            explanation: Explanation::decode(explanation.as_slice())
                .map_err(|error| rows::damaged("explanation", error))?,
            opening: OpeningChange {
                entry: row.get("entry")?,
                salt: row.array("salt", "salt")?,
                detail: row.get("detail")?,
            },
        }))
    }

    async fn finish_simulation(
        &self,
        trial: &Trial,
        decided: u64,
        different: u64,
        by: &str,
        now: Time,
    ) -> Result<(), Error> {
        let row = || {
            [
                trial.proposed.into(),
                trial.against.into(),
                trial.directory.into(),
                decided.cast_signed().into(),
                different.cast_signed().into(),
                now.0.into(),
                by.into(),
            ]
        };
        sql::transact!(self.db, |tx| FINISHED.rows(&mut tx, vec![row()]))?;
        Ok(())
    }

    async fn was_simulated(&self, trial: &Trial) -> Result<bool, Error> {
        let found = self.db.fetch_optional(
            "SELECT 1 FROM simulations WHERE proposed = $1 AND against = $2 AND directory = $3",
            vec![trial.proposed.into(), trial.against.into(), trial.directory.into()],
        );
        Ok(found.await?.is_some())
    }
}

/// Erased facts are empty; all others have a category.
pub(super) fn facts(bytes: &[u8]) -> Result<Option<Facts>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Facts::decode(bytes)
        .map(Some)
        .map_err(|error| rows::damaged("facts", error))
}
