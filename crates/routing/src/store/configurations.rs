//! What cases were routed by, kept by digest: a stored route can be decided again after the files were replaced.
//!
//! Each content hashes to its digest. A directory's is the digest of its tree of territories, and then its file of agencies;
//! the tree is kept by that digest, so that directories share it.

use journal::Time;
use places::Territories;
use sha2::{Digest as _, Sha256};
use sql::{Db, Error, Insert, Kind, Tx};

use super::rows;
use crate::{directory::Directory, rules::RuleSet};

const CONFIGURATIONS: Insert = Insert::into(
    "configurations",
    &[
        ("digest", Kind::Bytes),
        ("kind", Kind::Text),
        ("content", Kind::Bytes),
        ("first_time", Kind::Int),
    ],
)
.then("ON CONFLICT (digest) DO NOTHING");

const RULE_SET: &str = "rule-set";
const DIRECTORY: &str = "directory";
const TERRITORIES: &str = "territories";

/// Length of a digest.
const DIGEST: usize = 32;

/// Keeps a directory and a rule set; what is kept already stays as it is.
pub(crate) async fn keep(tx: &mut Tx, directory: &Directory, rules: &RuleSet, now: Time) -> Result<(), Error> {
    let territories = directory.territories().source();
    let tree: [u8; DIGEST] = Sha256::digest(territories).into();
    let content = [&tree, directory.source().as_bytes()].concat();
    let rows = [
        (tree, TERRITORIES, territories.as_bytes().to_vec()),
        (directory.digest(), DIRECTORY, content),
        (rules.digest(), RULE_SET, rules.source().as_bytes().to_vec()),
    ];
    let rows = rows
        .into_iter()
        .map(|(digest, kind, content)| [digest.into(), kind.into(), content.into(), now.0.into()])
        .collect();
    CONFIGURATIONS.rows(tx, rows).await.map(drop)
}

/// The directory of a digest, `None` when no case was ever routed by it here.
pub async fn directory(db: &Db, digest: &[u8]) -> Result<Option<Directory>, Error> {
    let Some(content) = content(db, DIRECTORY, digest).await? else {
        return Ok(None);
    };
    let (tree, agencies) = content
        .split_at_checked(DIGEST)
        .ok_or_else(|| rows::damaged(DIRECTORY, "it is too short"))?;
    let territories = self::content(db, TERRITORIES, tree)
        .await?
        .ok_or_else(|| rows::damaged(DIRECTORY, "its tree of territories is missing"))?;
    let territories = Territories::parse(text(&territories)?).map_err(|error| rows::damaged(TERRITORIES, error))?;
    let directory = Directory::parse(text(agencies)?, &territories).map_err(|error| rows::damaged(DIRECTORY, error))?;
    Ok(Some(directory))
}

/// The rule set of a digest, as it goes with the directory; `None` when no case was ever routed by it here.
pub async fn rule_set(db: &Db, digest: &[u8], directory: &Directory) -> Result<Option<RuleSet>, Error> {
    let Some(content) = content(db, RULE_SET, digest).await? else {
        return Ok(None);
    };
    RuleSet::parse(text(&content)?, directory)
        .map(Some)
        .map_err(|error| rows::damaged(RULE_SET, error))
}

async fn content(db: &Db, kind: &'static str, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let row = db
        .fetch_optional(
            "SELECT content FROM configurations WHERE digest = $1 AND kind = $2",
            vec![digest.into(), kind.into()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let content: Vec<u8> = row.get(0)?;
    if Sha256::digest(&content).as_slice() != digest {
        return Err(rows::damaged(kind, "its content does not have its digest"));
    }
    Ok(Some(content))
}

fn text(content: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(content).map_err(|error| rows::damaged("configuration", error))
}
