//! Proofs, computed from stored tiles and checked against what is signed before anyone gets to see them.

use std::collections::BTreeSet;

use journal::Bytes32;
use tlog_tiles::{Hash, check_record, check_tree, record_hash};
use uuid::Uuid;

use crate::{
    store::Store,
    tree::{Question, Tiles, TreeHead},
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
    let mut questions = questions_on(signed, size);
    questions.push(Question::Inclusion { size, index });
    let tiles = gather(store, &questions).await?;
    let tree = head_at(&tiles, signed, size)?;
    let path = answer(&tiles, Question::Inclusion { size, index })?;
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
    // All tiles at once: most are the same for each question, and asking costs more than computing.
    let mut questions = [questions_on(signed, old), questions_on(signed, new)].concat();
    questions.extend(step(old, new));
    let tiles = gather(store, &questions).await?;
    let (old, new) = (head_at(&tiles, signed, old)?, head_at(&tiles, signed, new)?);
    let path = match step(old.size, new.size) {
        Some(question) => hashes(answer(&tiles, question)?),
        None => Vec::new(),
    };
    verify_consistency(&path, old, new).map_err(|fault| damaged(fault.to_string()))?;
    Ok(Consistency { old, new, path })
}

/// What leads from a smaller tree to a larger one; nothing, from the tree without entries and to itself.
fn step(old: u64, new: u64) -> Option<Question> {
    (0 < old && old < new).then_some(Question::Consistency { size: new, old })
}

/// What has to be answered to know the tree of the first `size` entries.
fn questions_on(signed: TreeHead, size: u64) -> Vec<Question> {
    let step = step(size, signed.size);
    step.map_or_else(Vec::new, |step| vec![Question::Root { size }, step])
}

/// The tree of the first `size` entries, at least 1, as the signed one has it.
fn head_at(tiles: &Tiles, signed: TreeHead, size: u64) -> Result<TreeHead, sql::Error> {
    let Some(step) = step(size, signed.size) else {
        return Ok(signed);
    };
    let root = answer(tiles, Question::Root { size })?;
    let head = TreeHead {
        size,
        root: root.first().map_or(TreeHead::EMPTY.root, |Hash(root)| *root),
    };
    let proof = answer(tiles, step)?;
    check_tree(&proof, signed.size, Hash(signed.root), size, Hash(head.root)).map_err(|_| {
        damaged(format!(
            "the root of the first {size} entries is not what the signed {} lead to",
            signed.size
        ))
    })?;
    Ok(head)
}

fn hashes(path: Vec<Hash>) -> Vec<Bytes32> {
    path.into_iter().map(|Hash(hash)| hash).collect()
}

/// Whether a tree begins with another, earlier one.
pub(crate) async fn extends(store: &dyn Store, old: TreeHead, new: TreeHead) -> Result<bool, sql::Error> {
    if old.size == 0 || old.size >= new.size {
        return Ok(old == new || old == TreeHead::EMPTY);
    }
    let proof = consistency(store, old.size, new.size).await?;
    Ok(check_tree(&proof, new.size, Hash(new.root), old.size, Hash(old.root)).is_ok())
}

/// Proves to others that the tree of `new` entries begins with that of `old`; from the tree without entries, and to itself,
/// nothing has to be proven. Not checked: whoever asked knows both roots.
pub(crate) async fn consistency(store: &dyn Store, old: u64, new: u64) -> Result<Vec<Hash>, sql::Error> {
    let Some(question) = step(old, new) else {
        return Ok(Vec::new());
    };
    answer(&gather(store, &[question]).await?, question)
}

/// The tiles that some questions are answered from.
async fn gather(store: &dyn Store, questions: &[Question]) -> Result<Tiles, sql::Error> {
    let mut places = BTreeSet::new();
    for question in questions {
        places.append(&mut question.tiles().map_err(|error| damaged(error.to_string()))?);
    }
    store.tiles(places).await
}

fn answer(tiles: &Tiles, question: Question) -> Result<Vec<Hash>, sql::Error> {
    question.answer(tiles).map_err(|error| damaged(error.to_string()))
}

fn damaged(problem: String) -> sql::Error {
    sql::Error::Damaged { what: "tree", problem }
}
