//! Proofs, computed from stored tiles and checked against what is signed before anyone gets to see them.

use tlog_tiles::{Hash, check_record, check_tree, record_hash};
use uuid::Uuid;

use crate::{
    store::Store,
    tree::{Question, TreeHead},
};

/// Proof that an entry is in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inclusion {
    pub index: u64,
    pub entry: Vec<u8>,
    pub path: Vec<journal::Bytes32>,
}

/// Proves that the entry of an event is in a tree; `None` when it is not, or not yet.
pub(crate) async fn inclusion(
    store: &dyn Store,
    tree: TreeHead,
    event_id: Uuid,
) -> Result<Option<Inclusion>, sql::Error> {
    let Some((index, entry)) = store.find(event_id).await?.filter(|(index, _)| *index < tree.size) else {
        return Ok(None);
    };
    let path = answer(store, Question::Inclusion { size: tree.size, index }).await?;
    check_record(&path, tree.size, Hash(tree.root), index, record_hash(&entry))
        .map_err(|error| damaged(format!("entry {index} is not proven by its tiles: {error}")))?;
    Ok(Some(Inclusion {
        index,
        entry,
        path: path.into_iter().map(|Hash(hash)| hash).collect(),
    }))
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
