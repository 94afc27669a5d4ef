//! Files that somebody names, read no further than such a file is long.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context as _;

use crate::Unusable;

/// Reads a file, or standard input for `-`, unless it is larger than `limit` bytes: then nothing of it is kept.
///
/// # Errors
/// As [`Unusable`] when it is not there, or too large.
pub fn read(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let name = match path == Path::new("-") {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let mut bytes = Vec::new();
    let too_large = if path == Path::new("-") {
        up_to(std::io::stdin().lock(), limit, &mut bytes)
    } else {
        let file = File::open(path).map_err(|error| Unusable(format!("{name}: {error}")))?;
        match file.metadata().map(|metadata| metadata.len() > limit) {
            Ok(false) => up_to(file, limit, &mut bytes),
            answer => answer,
        }
    };
    match too_large.with_context(|| format!("reading {name}"))? {
        true => Err(Unusable(format!(
            "{name} is larger than {} MB, more than any such file: is it the right one?",
            limit / 1_000_000
        ))
        .into()),
        false => Ok(bytes),
    }
}

/// Reads, and says whether there is more than `limit`.
fn up_to(from: impl Read, limit: u64, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    from.take(limit + 1).read_to_end(bytes)?;
    Ok(bytes.len() as u64 > limit)
}
