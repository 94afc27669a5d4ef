//! Input files, read with a size limit.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context as _;

use crate::Unusable;

/// Reads a file, or standard input for `-`, of at most `limit` bytes.
///
/// # Errors
///
/// [`Unusable`] if the file does not exist or is too large.
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

/// Reads up to `limit` bytes and returns whether there are more.
fn up_to(from: impl Read, limit: u64, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    from.take(limit + 1).read_to_end(bytes)?;
    Ok(bytes.len() as u64 > limit)
}
