//! What the replicas of intake, and a replica and its next start, must have in common: the receipt
//! key and the evidence folder.
//!
//! With another receipt key a replica would deny its siblings' receipts and call honest repeats
//! reused; with an empty folder it would answer for files that it does not have. Both are noticed
//! at start. All other keys are in the database, or their holder checks them: page tokens are
//! sealed with a key in the database, each record's commitment key is in its row, officers'
//! pseudonyms are keyed by their own token, and audit checks the log's key.

use std::sync::Arc;

use journal::{Bytes32, Entropy, keyed_hash, random_id};
use sql::Db;

use crate::evidence::Vault;

/// Why intake must not start.
#[derive(Debug, thiserror::Error)]
pub enum Unshared {
    /// The database was first used with another receipt key.
    #[error(
        "the receipt key is not the one that this database was first used with: receipts given out before could not be \
         followed. Set `receipt_key_file` to the file that the other replicas use, or put it back from a backup"
    )]
    OtherReceiptKey,
    /// The evidence folder is empty, or another's.
    #[error("{0}")]
    OtherFolder(String),
    /// The database failed.
    #[error("comparing with the database failed")]
    Database(#[from] sql::Error),
    /// The evidence storage failed.
    #[error("reading the marker of the evidence folder failed")]
    Storage(#[from] std::io::Error),
}

/// Compares with what the database was first used with; the first start records it.
pub async fn check(
    db: &Db,
    receipt_key: &Bytes32,
    vault: &dyn Vault,
    entropy: &Arc<dyn Entropy>,
) -> Result<(), Unshared> {
    let mut salt = [0; 32];
    entropy.fill(&mut salt);
    let (salt, proof) = first(db, RECEIPT_KEY, salt.to_vec(), fingerprint(receipt_key, &salt)).await?;
    if fingerprint(receipt_key, &salt) != proof {
        return Err(Unshared::OtherReceiptKey);
    }
    let fresh = random_id(&**entropy).to_string();
    let (_, id) = first(db, FOLDER, Vec::new(), fresh.into_bytes()).await?;
    let id = String::from_utf8_lossy(&id).into_owned();
    if vault.mark().await?.is_none() && !has_files(db).await? {
        vault.set_mark(&id).await?;
    }
    match compared(vault.mark().await?, &id) {
        None => Ok(()),
        Some(problem) => Err(Unshared::OtherFolder(problem)),
    }
}

/// What is wrong with the evidence folder, in words.
pub async fn problem(db: &Db, vault: &dyn Vault) -> Result<Option<String>, Unshared> {
    let Some((_, id)) = find(db, FOLDER).await? else {
        return Ok(None);
    };
    Ok(compared(vault.mark().await?, &String::from_utf8_lossy(&id)))
}

const RECEIPT_KEY: &str = "receipt-key";
const FOLDER: &str = "evidence-folder";

fn fingerprint(key: &Bytes32, salt: &[u8]) -> Vec<u8> {
    keyed_hash(key, "key-fingerprint-v1", salt).to_vec()
}

fn compared(mark: Option<String>, id: &str) -> Option<String> {
    let wrong = match mark {
        Some(mark) if mark == id => return None,
        Some(mark) if mark.is_empty() => "the evidence folder's marker is empty",
        Some(_) => "the evidence folder is another intake's",
        None => "the evidence folder is empty or another's: it has no marker",
    };
    Some(format!(
        "{wrong}. Set `evidence.folder` to the folder that this database was used with, and mount its volume. If its files are \
         lost for good, write {id} into the file `marker` of the new folder; `remit evidence verify` then lists what is missing"
    ))
}

/// Records a value unless there is one, and returns the one that is there.
async fn first(db: &Db, name: &str, salt: Vec<u8>, proof: Vec<u8>) -> Result<(Vec<u8>, Vec<u8>), sql::Error> {
    sql::transact!(db, |tx| tx.execute(
        "INSERT INTO shared (name, salt, proof) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        vec![name.into(), salt.clone().into(), proof.clone().into()],
    ))?;
    let found = find(db, name).await?;
    found.ok_or_else(|| sql::Error::Damaged {
        what: "shared values",
        problem: format!("there is no {name}"),
    })
}

async fn find(db: &Db, name: &str) -> Result<Option<(Vec<u8>, Vec<u8>)>, sql::Error> {
    let row = db
        .fetch_optional("SELECT salt, proof FROM shared WHERE name = $1", vec![name.into()])
        .await?;
    row.map(|row| Ok((row.get("salt")?, row.get("proof")?))).transpose()
}

async fn has_files(db: &Db) -> Result<bool, sql::Error> {
    let row = db
        .fetch_optional("SELECT id FROM evidence WHERE state <> 'EXPIRED' LIMIT 1", Vec::new())
        .await?;
    Ok(row.is_some())
}
