//! Senders' own ids of their reports: unique for who owns the report ([`Sender::owns`]), whichever
//! of its systems sent it, and known to nobody else.

use std::collections::BTreeMap;

use journal::{Bytes32, Time};
use sql::{Error, Row, Tx};
use uuid::Uuid;

use super::{Accepted, Sender, SqlStore, sql_store::parse_id};

/// A sender's own id of a report, and what tells a repeat from other content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    key: String,
    fingerprint: Bytes32,
}

impl External {
    /// The id of a report that this sender sends, in canonical form, with the keyed hash of what it
    /// submits.
    pub fn new(sender: &Sender, id: &str, fingerprint: Bytes32) -> Self {
        Self {
            key: key(sender, id),
            fingerprint,
        }
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn fingerprint(&self) -> Bytes32 {
        self.fingerprint
    }
}

/// Who owns a report with this id. External ids are single lines, so no two pairs have one key.
pub(super) fn key(sender: &Sender, id: &str) -> String {
    format!("{}\n{id}", sender.owner())
}

/// The external id of a row that has `external_key`; empty if it has none.
pub(super) fn id(row: &Row) -> Result<String, Error> {
    let key: Option<String> = row.get("external_key")?;
    Ok(key
        .and_then(|key| key.splitn(3, '\n').nth(2).map(str::to_owned))
        .unwrap_or_default())
}

/// Behind the commit that inserted them, like the answers to requests: a repeat is answered only
/// when PostgreSQL's standby has the report.
const FIND: &str = "SELECT id, accept_time, external_key, fingerprint FROM reports WHERE external_key = ANY($1) \
                    FOR KEY SHARE";

/// The reports that have these external ids.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, (Uuid, Time, Bytes32)>);

impl Known {
    /// Reads them in a transaction.
    pub(super) async fn find<'e>(tx: &mut Tx, wanted: impl IntoIterator<Item = &'e External>) -> Result<Self, Error> {
        let keys: Vec<String> = wanted.into_iter().map(|external| external.key.clone()).collect();
        match keys.is_empty() {
            true => Ok(Self::default()),
            false => Self::read(&tx.fetch(FIND, vec![keys.into()]).await?),
        }
    }

    fn read(rows: &[Row]) -> Result<Self, Error> {
        let mut known = BTreeMap::new();
        for row in rows {
            let report = parse_id(&row.get::<String>("id")?)?;
            let found = (
                report,
                Time(row.get("accept_time")?),
                row.array("fingerprint", "fingerprint")?,
            );
            known.insert(row.get("external_key")?, found);
        }
        Ok(Self(known))
    }

    /// What is there in place of a report with this external id.
    pub(super) fn accepted(&self, external: &External) -> Option<Accepted> {
        let (report, accept_time, fingerprint) = *self.0.get(&external.key)?;
        Some(match fingerprint == external.fingerprint {
            true => Accepted::Report { report, accept_time },
            false => Accepted::ExternalIdReused { report },
        })
    }
}

impl SqlStore {
    pub(super) async fn known_external(&self, external: &External) -> Result<Option<Accepted>, Error> {
        let rows = self.db.fetch(FIND, vec![vec![external.key.clone()].into()]).await?;
        Ok(Known::read(&rows)?.accepted(external))
    }
}
