//! Proofs, computed from stored tiles and checked against what is signed before anyone gets to see them.

use journal::Bytes32;
use tlog_tiles::{Hash, check_record, check_tree, record_hash};
use uuid::Uuid;

use crate::{
    store::Store,
    tree::{Question, TreeHead},
    verify::verify_consistency,
};

/// Proof that an entry is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inclusion {
    pub tree: TreeHead,
    pub index: u64,
    pub entry: Vec<u8>,
    pub path: Vec<Bytes32>,
}

/// Which entry is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// That of an event.
    Event(Uuid),
    /// The one at an index.
    Index(u64),
}

/// Proves that an entry is in the tree of the first `size` entries; `None` when it is not, or not yet. `signed` is a tree that is
/// known, at least as large.
pub(crate) async fn inclusion(
    store: &dyn Store,
    signed: TreeHead,
    size: u64,
    which: Which,
) -> Result<Option<Inclusion>, sql::Error> {
    let found = match which {
        Which::Event(event_id) => store.find(event_id).await?,
        Which::Index(index) if index < size => {
            let entries = store.entries(index..index + 1).await?;
            entries.into_iter().next().map(|entry| (index, entry))
        }
        Which::Index(_) => None,
    };
    let Some((index, entry)) = found.filter(|(index, _)| *index < size) else {
        return Ok(None);
    };
    let tree = head_at(store, signed, size).await?;
    let path = answer(store, Question::Inclusion { size, index }).await?;
    check_record(&path, size, Hash(tree.root), index, record_hash(&entry))
        .map_err(|error| damaged(format!("entry {index} is not proven by its tiles: {error}")))?;
    Ok(Some(Inclusion {
        tree,
        index,
        entry,
        path: hashes(path),
    }))
}

/// Proof that a tree begins with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consistency {
    pub old: TreeHead,
    pub new: TreeHead,
    pub path: Vec<Bytes32>,
}

/// Proves that the tree of the first `new` entries begins with that of the first `old`, which are at least 1 and at most `new`.
/// `signed` is a tree that is known, at least as large.
pub(crate) async fn checked_consistency(
    store: &dyn Store,
    signed: TreeHead,
    old: u64,
    new: u64,
) -> Result<Consistency, sql::Error> {
    let (old, new) = (head_at(store, signed, old).await?, head_at(store, signed, new).await?);
    let path = hashes(consistency(store, old.size, new.size).await?);
    verify_consistency(&path, old, new).map_err(|fault| damaged(fault.to_string()))?;
    Ok(Consistency { old, new, path })
}

/// The tree of the first `size` entries, at least 1, as the signed one has it.
async fn head_at(store: &dyn Store, signed: TreeHead, size: u64) -> Result<TreeHead, sql::Error> {
    if size == signed.size {
        return Ok(signed);
    }
    let root = answer(store, Question::Root { size }).await?;
    let root = root.first().map_or(TreeHead::EMPTY.root, |Hash(root)| *root);
    let head = TreeHead { size, root };
    match extends(store, head, signed).await? {
        true => Ok(head),
        false => Err(damaged(format!(
            "the root of the first {size} entries is not what the signed {} lead to",
            signed.size
        ))),
    }
}

fn hashes(path: Vec<Hash>) -> Vec<Bytes32> {
    path.into_iter().map(|Hash(hash)| hash).collect()
}

/// Whether a tree begins with another, earlier one.
pub(crate) async fn extends(store: &dyn Store, old: TreeHead, new: TreeHead) -> Result<bool, sql::Error> {
    if old.size == 0 || old.size >= new.size {
        return Ok(old == new || old == TreeHead::EMPTY);
    }
    let proof = answer(
        store,
        Question::Consistency {
            size: new.size,
            old: old.size,
        },
    )
    .await?;
    Ok(check_tree(&proof, new.size, Hash(new.root), old.size, Hash(old.root)).is_ok())
}

/// Proves to others that the tree of `new` entries begins with that of `old`; from the tree without entries, and to itself,
/// nothing has to be proven. Not checked: whoever asked knows both roots.
pub(crate) async fn consistency(store: &dyn Store, old: u64, new: u64) -> Result<Vec<Hash>, sql::Error> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    answer(store, Question::Consistency { size: new, old }).await
}

async fn answer(store: &dyn Store, question: Question) -> Result<Vec<Hash>, sql::Error> {
    let failed = |error: tlog_tiles::Error| damaged(error.to_string());
    let tiles = store.tiles(question.tiles().map_err(failed)?).await?;
    question.answer(&tiles).map_err(failed)
}

fn damaged(problem: String) -> sql::Error {
    sql::Error::Damaged { what: "tree", problem }
}
