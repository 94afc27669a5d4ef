//! Generates a log directly in the folder's files and the database's tables. Through the service it
//! would take much longer.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context as _;
use audit::{
    Edge, SCHEMAS,
    tiles::{Content, TilePath, files, put_entry},
};
use journal::{Bytes32, Chain, Content as EntryContent, Entry, Time, chain_commitment, detail_commitment, entry_hash};
use sql::{Db, Insert, Kind};
use uuid::Uuid;

/// Changes per record.
const LIFE: u64 = 4;
/// Records whose changes are interleaved.
const SIDE_BY_SIDE: u64 = 1_000;
const ROWS_AT_ONCE: usize = 20_000;

const TILES: Insert = Insert::into("tiles", &[("place", Kind::Int), ("hashes", Kind::Bytes)])
    .then("ON CONFLICT (place) DO UPDATE SET hashes = excluded.hashes");
const ROWS: Insert = Insert::into(
    "entries",
    &[("idx", Kind::Int), ("event_id", Kind::Text), ("entry", Kind::Bytes)],
);
const OPENINGS: Insert = Insert::into(
    "openings",
    &[
        ("idx", Kind::Int),
        ("record", Kind::Text),
        ("sequence", Kind::Int),
        ("previous", Kind::Bytes),
        ("kind", Kind::Text),
        ("chain_salt", Kind::Bytes),
        ("detail_salt", Kind::Bytes),
        ("detail", Kind::Bytes),
    ],
);

/// Generates the entries and the tree above them.
pub async fn generate(database: &str, folder: Option<&Path>, entries: u64) -> anyhow::Result<()> {
    let db = Db::open(database, SCHEMAS).await?;
    let mut last: BTreeMap<u64, Bytes32> = BTreeMap::new();
    let mut edge = Edge::empty();
    let write = |path: TilePath, bytes: &[u8]| -> anyhow::Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        let file = folder.join(path.to_string());
        std::fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        Ok(std::fs::write(file, bytes)?)
    };
    let (mut tiles, mut rows, mut openings) = (Vec::new(), Vec::new(), Vec::new());
    let mut index = 0;
    for bundle in files(entries, false).filter(|file| file.content == Content::Entries) {
        let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
        for _ in 0..bundle.width {
            // A thousand records are interleaved, change by change.
            let (block, place) = (index / (SIDE_BY_SIDE * LIFE), index % SIDE_BY_SIDE);
            let record = block * SIDE_BY_SIDE + place;
            let sequence = index / SIDE_BY_SIDE % LIFE + 1;
            let mut salt = [7; 32];
            salt[..8].copy_from_slice(&index.to_be_bytes());
            let chain = Chain {
                record: format!("cases/{}", Uuid::from_u128(u128::from(record) << 64 | 2)),
                sequence,
                previous: last.remove(&record).unwrap_or_default(),
                kind: "case.acknowledged".to_owned(),
            };
            let entry = Entry {
                id: event(index),
                time: Time(1_795_305_600_000_000 + index.cast_signed()),
                source: "routing".to_owned(),
                content: EntryContent::Change {
                    chain: chain_commitment(&salt, &chain.encode()),
                    detail: detail_commitment(&salt, &[7; 80]),
                },
            };
            let encoded = entry.encode();
            let hash = entry_hash(&encoded);
            if sequence < LIFE {
                last.insert(record, hash);
            }
            put_entry(&mut bytes, &encoded);
            rows.push([index.cast_signed().into(), entry.id.to_string().into(), encoded.into()]);
            openings.push([
                index.cast_signed().into(),
                chain.record.into(),
                sequence.cast_signed().into(),
                chain.previous.into(),
                chain.kind.into(),
                salt.into(),
                salt.into(),
                vec![7; 80].into(),
            ]);
            leaves.push(hash);
            index += 1;
        }
        write(bundle, &bytes)?;
        let (grown, new) = edge.grow(&leaves)?;
        edge = grown;
        for (id, hashes) in new {
            let width = u16::try_from(hashes.len() / 32)?;
            let path = TilePath {
                content: Content::Hashes(id.level),
                n: id.n,
                width,
            };
            // Partial tiles of the upper levels recur: only the last counts.
            if path.is_full() || index == entries {
                write(path, &hashes)?;
                tiles.push([id.place().into(), hashes.into()]);
            }
        }
        if rows.len() >= ROWS_AT_ONCE || index == entries {
            let mut tx = db.begin().await?;
            TILES.rows(&mut tx, std::mem::take(&mut tiles)).await?;
            ROWS.rows(&mut tx, std::mem::take(&mut rows)).await?;
            OPENINGS.rows(&mut tx, std::mem::take(&mut openings)).await?;
            tx.commit().await?;
        }
    }
    let mut tx = db.begin().await?;
    let open: Vec<_> = edge
        .tiles()
        .map(|(id, hashes)| [id.place().into(), hashes.into()])
        .collect();
    for (id, hashes) in edge.tiles() {
        let (content, width) = (Content::Hashes(id.level), u16::try_from(hashes.len() / 32)?);
        write(
            TilePath {
                content,
                n: id.n,
                width,
            },
            hashes,
        )?;
    }
    TILES.rows(&mut tx, open).await?;
    let head = edge.head();
    let values = vec![head.size.cast_signed().into(), head.root.into()];
    tx.execute("UPDATE head SET size = $1, root = $2", values).await?;
    tx.commit().await?;
    db.close().await;
    Ok(())
}

/// The event id of an entry.
pub fn event(index: u64) -> Uuid {
    Uuid::from_u128(u128::from(index) << 64 | 1)
}
