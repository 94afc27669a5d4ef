//! The contents of versions, stored by digest and checked against it on every read.

use api::event::Actor;
use decision::{directory::Directory, rules::RuleSet};
use journal::{Bytes32, Time};
use places::Territories;
use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Row, Tx, Value};

use super::VersionInfo;
use crate::{
    active::{Active, VersionKind},
    store::rows,
};

const VERSIONS: Insert = Insert::into(
    "versions",
    &[
        ("digest", Kind::Bytes),
        ("kind", Kind::Text),
        ("content", Kind::Bytes),
        ("create_time", Kind::Int),
        ("created_by", Kind::Text),
    ],
)
.then("ON CONFLICT (digest) DO NOTHING RETURNING kind");

const TERRITORIES: &str = "territories";

/// Length of a digest.
const DIGEST: usize = 32;

/// Stores one part of a pair. Returns whether it is new.
pub(super) async fn keep(
    tx: &mut Tx,
    pair: &Active,
    kind: VersionKind,
    actor: &Actor,
    now: Time,
) -> Result<bool, Error> {
    let row = |digest: Bytes32, kind: &str, content: Vec<u8>| {
        [
            digest.into(),
            kind.into(),
            content.into(),
            now.0.into(),
            actor.system.as_str().into(),
        ]
    };
    let rows = match kind {
        VersionKind::Directory => {
            let directory = &pair.directory;
            let territories = directory.territories().source();
            let tree = directory.territories().digest();
            let content = [&tree, directory.source().as_bytes()].concat();
            vec![
                row(tree, TERRITORIES, territories.as_bytes().to_vec()),
                row(directory.digest(), kind.as_str(), content),
            ]
        }
        VersionKind::RuleSet => vec![row(pair.rules.digest(), kind.as_str(), pair.rules.canonical().to_vec())],
    };
    let kept = VERSIONS.rows(tx, rows).await?;
    for row in &kept {
        if row.get::<String>("kind")? == kind.as_str() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A source of single rows: the database or a transaction.
pub(crate) trait Reads {
    /// Reads at most one row.
    fn row(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send;
}

impl Reads for &Db {
    fn row(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send {
        self.fetch_optional(statement, values)
    }
}

impl Reads for &mut Tx {
    fn row(
        &mut self,
        statement: &'static str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, Error>> + Send {
        self.fetch_optional(statement, values)
    }
}

pub(in crate::store) async fn read_directory(from: &mut impl Reads, digest: &[u8]) -> Result<Option<Directory>, Error> {
    let kind = VersionKind::Directory.as_str();
    let Some(content) = content(from, kind, digest).await? else {
        return Ok(None);
    };
    let (tree, agencies) = split(&content)?;
    let territories = self::content(from, TERRITORIES, tree)
        .await?
        .ok_or_else(|| rows::damaged(kind, "its tree of territories is missing"))?;
    let shipped = Territories::shipped();
    let territories = match shipped.source().as_bytes() == territories {
        true => shipped.clone(),
        false => Territories::parse(text(&territories)?).map_err(|error| rows::damaged(TERRITORIES, error))?,
    };
    let directory = Directory::parse(text(agencies)?, &territories).map_err(|error| rows::damaged(kind, error))?;
    Ok(Some(directory))
}

pub(in crate::store) async fn read_rule_set(
    from: &mut impl Reads,
    digest: &[u8],
    directory: &Directory,
) -> Result<Option<RuleSet>, Error> {
    let kind = VersionKind::RuleSet.as_str();
    let Some(content) = content(from, kind, digest).await? else {
        return Ok(None);
    };
    RuleSet::decode(&content, directory)
        .map(Some)
        .map_err(|error| rows::damaged(kind, error))
}

pub(in crate::store) async fn source(db: &Db, kind: VersionKind, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(content) = content(&mut &*db, kind.as_str(), digest).await? else {
        return Ok(None);
    };
    Ok(Some(match kind {
        VersionKind::Directory => split(&content)?.1.to_vec(),
        VersionKind::RuleSet => content,
    }))
}

/// A directory's content: the digest of its tree, and its agencies.
fn split(content: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    content
        .split_at_checked(DIGEST)
        .ok_or_else(|| rows::damaged(VersionKind::Directory.as_str(), "it is too short"))
}

async fn content(from: &mut impl Reads, kind: &'static str, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let row = from
        .row(
            "SELECT content FROM versions WHERE digest = $1 AND kind = $2",
            vec![digest.into(), kind.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let content: Vec<u8> = row.get("content")?;
    if Sha256::digest(&content).as_slice() != digest {
        return Err(rows::damaged(kind, "its content has another digest"));
    }
    Ok(Some(content))
}

fn text(content: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(content).map_err(|error| rows::damaged("version", error))
}

pub(in crate::store) async fn versions(
    db: &Db,
    kind: VersionKind,
    after: Option<(Time, Bytes32)>,
    limit: u32,
) -> Result<Vec<VersionInfo>, Error> {
    let (time, digest) = after.map_or((i64::MAX, [0xff; 32]), |(time, digest)| (time.0, digest));
    db.fetch(
        "SELECT digest, create_time, created_by FROM versions WHERE kind = $1 AND (create_time, digest) < ($2, $3) \
         ORDER BY create_time DESC, digest DESC LIMIT $4",
        vec![
            kind.as_str().into(),
            time.into(),
            digest.into(),
            i64::from(limit).into(),
        ],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(VersionInfo {
            digest: row.array("digest", "digest")?,
            create_time: Time(row.get("create_time")?),
            created_by: row.get("created_by")?,
        })
    })
    .collect()
}
