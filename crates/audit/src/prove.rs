//! Proofs, computed from stored tiles and checked against the signed root before they are returned.

use std::sync::Arc;

use journal::Bytes32;
use tlog_tiles::{Hash, HashReader, check_record, check_tree, record_hash};

use crate::{
    store::{Store, Which},
    tile_cache::{Gathered, Pyramid, TileCache},
    tree::{PlacedTile, Question, TreeHead, all_tiles},
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

/// The provable position of an entry.
pub(crate) enum Proof {
    /// In the tree.
    Inclusion(Inclusion),
    /// In the log, after the tree.
    NotYet,
    /// Not in the log.
    Nowhere,
}

/// Proof that a tree begins with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consistency {
    pub old: TreeHead,
    pub new: TreeHead,
    pub path: Vec<Bytes32>,
}

/// Makes proofs. Each reads the database once, and mostly only the tile of the leaves.
pub(crate) struct Prover {
    store: Arc<dyn Store>,
    cache: TileCache,
}

impl Prover {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            cache: TileCache::new(),
        }
    }

    /// Proves that an entry is in the tree of the first `size` entries. `signed` is a trusted tree,
    /// at least as large.
    pub async fn inclusion(&self, signed: TreeHead, size: u64, which: Which) -> Result<Proof, sql::Error> {
        let found = match (self.store.find(which).await?, which) {
            (Some(found), _) if found.index < size => found,
            (Some(_), _) => return Ok(Proof::NotYet),
            (None, Which::Index(index)) if index < size => return Err(damaged(format!("entry {index} is missing"))),
            (None, _) => return Ok(Proof::Nowhere),
        };
        let (index, entry) = (found.index, found.entry);
        let path = Question::Inclusion { size, index };
        let mut questions = questions_on(signed, size);
        questions.push(path);
        let tiles = self.gather(&questions, Some(found.leaves)).await?;
        let (tree, _) = head_at(&tiles, signed, size)?;
        let path = answer(&tiles, path)?;
        check_record(&path, size, Hash(tree.root), index, record_hash(&entry))
            .map_err(|error| damaged(format!("entry {index} is not proven by its tiles: {error}")))?;
        Ok(Proof::Inclusion(Inclusion {
            tree,
            index,
            entry,
            path: hashes(path),
        }))
    }

    /// Proves that the tree of the first `new` entries begins with that of the first `old`, at
    /// least 1 and at most `new`. `signed` is a trusted tree, at least as large.
    pub async fn consistency(&self, signed: TreeHead, old: u64, new: u64) -> Result<Consistency, sql::Error> {
        // All tiles at once: the questions share most of them, and reading costs more than
        // computing.
        let mut questions = [questions_on(signed, old), questions_on(signed, new)].concat();
        questions.extend(step(old, new));
        let tiles = self.gather(&questions, None).await?;
        let (old, to_signed) = head_at(&tiles, signed, old)?;
        let (new, _) = head_at(&tiles, signed, new)?;
        let path = match step(old.size, new.size) {
            None => Vec::new(),
            Some(_) if new == signed => to_signed,
            Some(question) => answer(&tiles, question)?,
        };
        let path = hashes(path);
        verify_consistency(&path, old, new).map_err(|fault| damaged(fault.to_string()))?;
        Ok(Consistency { old, new, path })
    }

    /// Whether an entry with this hash is at this index of a trusted tree.
    pub async fn holds(&self, head: TreeHead, index: u64, leaf: Bytes32) -> Result<bool, sql::Error> {
        let path = Question::Inclusion { size: head.size, index };
        let tiles = self.gather(&[path], None).await?;
        let path = answer(&tiles, path)?;
        Ok(check_record(&path, head.size, Hash(head.root), index, Hash(leaf)).is_ok())
    }

    /// The tiles that answer some questions; one of them may be given.
    async fn gather(&self, questions: &[Question], here: Option<PlacedTile>) -> Result<Gathered, sql::Error> {
        let mut wanted = all_tiles(questions).map_err(|error| damaged(error.to_string()))?;
        let mut there = Gathered::default();
        let here = here.inspect(|(id, _)| wanted.remove(id));
        self.cache.find(&mut wanted, &mut there);
        let read = self.store.tiles(wanted.places()).await?;
        for (id, hashes) in here.into_iter().chain(read) {
            let tile = Arc::new(Pyramid::new(&hashes));
            self.cache.keep(id, &tile);
            there.put(id, tile);
        }
        Ok(there)
    }
}

/// The question that leads from a smaller tree to a larger one; none from the empty tree or to
/// itself.
fn step(old: u64, new: u64) -> Option<Question> {
    (0 < old && old < new).then_some(Question::Consistency { size: new, old })
}

/// The questions that give the tree of the first `size` entries.
fn questions_on(signed: TreeHead, size: u64) -> Vec<Question> {
    let step = step(size, signed.size);
    step.map_or_else(Vec::new, |step| vec![Question::Root { size }, step])
}

/// The tree of the first `size` entries, at least 1, of the signed tree, and the proof for it.
fn head_at(tiles: &Gathered, signed: TreeHead, size: u64) -> Result<(TreeHead, Vec<Hash>), sql::Error> {
    let Some(step) = step(size, signed.size) else {
        return Ok((signed, Vec::new()));
    };
    let root = answer(tiles, Question::Root { size })?;
    let head = TreeHead {
        size,
        root: root.first().map_or(TreeHead::EMPTY.root, |Hash(root)| *root),
    };
    let proof = answer(tiles, step)?;
    check_tree(&proof, signed.size, Hash(signed.root), size, Hash(head.root)).map_err(|_| {
        damaged(format!(
            "the root of the first {size} entries does not lead to that of the signed {}",
            signed.size
        ))
    })?;
    Ok((head, proof))
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

/// Proves to others that the tree of `new` entries begins with that of `old`. The proof is empty
/// from the empty tree and to itself. Not checked here: the asker knows both roots.
pub(crate) async fn consistency(store: &dyn Store, old: u64, new: u64) -> Result<Vec<Hash>, sql::Error> {
    let Some(question) = step(old, new) else {
        return Ok(Vec::new());
    };
    let wanted = question.tiles().map_err(|error| damaged(error.to_string()))?;
    answer(&store.tiles(wanted.places()).await?, question)
}

fn answer(tiles: &impl HashReader, question: Question) -> Result<Vec<Hash>, sql::Error> {
    question.answer(tiles).map_err(|error| damaged(error.to_string()))
}

fn damaged(problem: String) -> sql::Error {
    sql::Error::Damaged { what: "tree", problem }
}
