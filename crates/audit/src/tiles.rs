//! The files of a log, with the names and encodings of C2SP `tlog-tiles`. No I/O.
//!
//! A log is a finite set of files: `checkpoint`, the hashes in `tile/<L>/<N>` and the entries in
//! `tile/entries/<N>`, 256 per file. The last file of a level may have fewer; its name then ends
//! with `.p/` and their number. `<N>` is written in groups of three digits, all but the last after
//! an `x`, so that no folder grows large: 1234067 is `x001/x234/067`. Only the right-most file of a
//! level is ever partial, and contents never change: a name with its width is immutable.
//!
//! An auditor's export has one more file per 256 entries, `detail/<N>`, unknown to the standard.
//!
//! | file | content |
//! |---|---|
//! | `tile/<L>/<N>` | hashes of 32 bytes; those of level 0 are leaf hashes, others the roots of full tiles below |
//! | `tile/entries/<N>` | per entry: its length, 2 bytes big-endian; the entry |
//! | `detail/<N>` | per change: the openings, below. Per mark: 2 zero bytes |
//!
//! The openings of a change: the length of the chain, 2 bytes big-endian; the chain's salt, 32
//! bytes; the chain; the detail's salt, 32 bytes; the length of the detail, 4 bytes big-endian; the
//! detail.
//!
//! Test vectors for other languages: `crates/audit/vectors/bundle-v1.json` for bundles and details,
//! `crates/journal/vectors/entry-v1.json` for entries.
//!
//! [`files`] lists the files of a log of some size, in the order of verification.

use std::{fmt, str::FromStr};

use journal::{DETAIL_BYTES, ENTRY_BYTES, Openings, Opens};

/// Number of hashes of a full tile, or entries of a full bundle.
pub const WIDTH: u16 = 256;
/// Size of a hash, in bytes.
const HASH: usize = 32;
/// Size of a salt, in bytes.
const SALT: usize = 32;
/// The highest level in a path.
const TOP: u8 = 63;
/// Base of the elements of a path: three digits.
const GROUP: u64 = 1_000;

/// The content of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Hashes of a level; level 0 holds leaf hashes.
    Hashes(u8),
    /// Entries.
    Entries,
    /// Openings of the entries' commitments. In auditors' exports only.
    Details,
}

/// The name of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// Its content.
    pub content: Content,
    /// Its index in the level, from the left.
    pub n: u64,
    /// Number of its hashes or entries, 1 to 256.
    pub width: u16,
}

impl TilePath {
    /// Index of the first entry in or below it; `None` if no log is that large.
    pub fn start(&self) -> Option<u64> {
        self.n.checked_mul(1_u64.checked_shl(self.shift() + 8)?)
    }

    /// Whether a log of `size` entries has at least this much there. A wider file begins with the
    /// same content.
    pub fn is_within(&self, size: u64) -> bool {
        let there = size.checked_shr(self.shift()).unwrap_or(0);
        self.n
            .checked_mul(u64::from(WIDTH))
            .and_then(|start| start.checked_add(u64::from(self.width)))
            .is_some_and(|end| end <= there)
    }

    /// Whether it is full.
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The full file in its place.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: WIDTH, ..self }
    }

    /// Its maximum size, in bytes.
    pub fn max_bytes(&self) -> u64 {
        let each = match self.content {
            Content::Hashes(_) => HASH,
            Content::Entries => 2 + ENTRY_BYTES,
            // The length of a chain has two bytes.
            Content::Details => 2 + usize::from(u16::MAX) + 2 * SALT + 4 + DETAIL_BYTES,
        };
        u64::from(self.width) * each as u64
    }

    /// Its content, cut from a file that is at least as wide; `None` if that is shorter.
    pub fn narrow(self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        let end = match self.content {
            Content::Hashes(_) => usize::from(self.width) * HASH,
            Content::Entries => end_of(&bytes, self.width, entry)?,
            Content::Details => end_of(&bytes, self.width, openings)?,
        };
        (end <= bytes.len()).then(|| {
            bytes.truncate(end);
            bytes
        })
    }

    /// Binary logarithm of the number of entries below one hash.
    fn shift(&self) -> u32 {
        match self.content {
            Content::Hashes(level) => 8 * u32::from(level),
            Content::Entries | Content::Details => 0,
        }
    }
}

fn end_of(bytes: &[u8], width: u16, item: fn(&mut &[u8]) -> Option<()>) -> Option<usize> {
    let mut rest = bytes;
    for _ in 0..width {
        item(&mut rest)?;
    }
    Some(bytes.len() - rest.len())
}

fn entry(rest: &mut &[u8]) -> Option<()> {
    take_entry(rest).map(drop)
}

fn openings(rest: &mut &[u8]) -> Option<()> {
    take_openings(rest).map(drop)
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Hashes(level) => write!(f, "tile/{level}/")?,
            Content::Entries => f.write_str("tile/entries/")?,
            Content::Details => f.write_str("detail/")?,
        }
        let mut groups = vec![self.n % GROUP];
        let mut n = self.n / GROUP;
        while n > 0 {
            groups.push(n % GROUP);
            n /= GROUP;
        }
        for group in groups.iter().skip(1).rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        match self.is_full() {
            true => Ok(()),
            false => write!(f, ".p/{}", self.width),
        }
    }
}

/// The path is not that of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a log file")]
pub struct NotAPath;

impl FromStr for TilePath {
    type Err = NotAPath;

    /// Parses a path. Each file has only one: formatting the result gives the same path.
    fn from_str(path: &str) -> Result<Self, NotAPath> {
        let (content, rest) = match path.strip_prefix("tile/") {
            Some(rest) => rest.split_once('/').ok_or(NotAPath)?,
            None => ("detail", path.strip_prefix("detail/").ok_or(NotAPath)?),
        };
        let content = match content {
            "entries" => Content::Entries,
            "detail" if !path.starts_with("tile/") => Content::Details,
            level => Content::Hashes(decimal(level, u64::from(TOP))?.try_into().map_err(|_| NotAPath)?),
        };
        let (groups, width) = match rest.split_once(".p/") {
            Some((groups, width)) => {
                let width = decimal(width, u64::from(WIDTH) - 1)?;
                (
                    groups,
                    u16::try_from(width).ok().filter(|width| *width > 0).ok_or(NotAPath)?,
                )
            }
            None => (rest, WIDTH),
        };
        let mut n = 0_u64;
        let mut left = groups.split('/').count();
        for group in groups.split('/') {
            left -= 1;
            let digits = match left {
                0 => group,
                _ => group.strip_prefix('x').ok_or(NotAPath)?,
            };
            if digits.len() != 3 || !digits.bytes().all(|c| c.is_ascii_digit()) {
                return Err(NotAPath);
            }
            let digits: u64 = digits.parse().map_err(|_| NotAPath)?;
            // A leading group of zeros would be a second name.
            if n == 0 && digits == 0 && left > 0 {
                return Err(NotAPath);
            }
            n = n
                .checked_mul(GROUP)
                .and_then(|n| n.checked_add(digits))
                .ok_or(NotAPath)?;
        }
        Ok(Self { content, n, width })
    }
}

/// A decimal number without leading zeros.
fn decimal(text: &str, most: u64) -> Result<u64, NotAPath> {
    let is_plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    match text.parse() {
        Ok(number) if is_plain && number <= most => Ok(number),
        _ => Err(NotAPath),
    }
}

/// The files of a log of `size` entries, in an order in which each can be verified by those before
/// it: leaf hashes, entries, their details if `with_detail`, then the tiles above that these
/// complete.
pub fn files(size: u64, with_detail: bool) -> impl Iterator<Item = TilePath> + Send {
    let bundles = size.div_ceil(u64::from(WIDTH));
    (0..bundles).flat_map(move |n| {
        let width = u16::try_from((size - n * u64::from(WIDTH)).min(u64::from(WIDTH))).unwrap_or(WIDTH);
        let file = move |content| TilePath { content, n, width };
        let below = [Content::Hashes(0), Content::Entries].into_iter();
        let details = with_detail.then_some(Content::Details);
        let end = if n + 1 == bundles {
            size
        } else {
            (n + 1) * u64::from(WIDTH)
        };
        below
            .chain(details)
            .map(file)
            .chain((1..8).filter_map(move |level| above(level, end, n + 1 == bundles)))
    })
}

/// The tile of a level that ends with the first `end` entries: full, or partial at the log's end.
fn above(level: u8, end: u64, is_last: bool) -> Option<TilePath> {
    let shift = 8 * u32::from(level);
    let hashes = end >> shift;
    let width = u16::try_from(hashes % u64::from(WIDTH)).unwrap_or(0);
    let content = Content::Hashes(level);
    if width > 0 && is_last {
        return Some(TilePath {
            content,
            n: hashes / u64::from(WIDTH),
            width,
        });
    }
    (width == 0 && hashes > 0 && end == hashes << shift).then(|| TilePath {
        content,
        n: hashes / u64::from(WIDTH) - 1,
        width: WIDTH,
    })
}

/// The number of these files.
pub fn count_files(size: u64, with_detail: bool) -> u64 {
    let bundles = size.div_ceil(u64::from(WIDTH));
    let tiles: u64 = (0..8_u32)
        .map(|level| (size >> (8 * level)).div_ceil(u64::from(WIDTH)))
        .sum();
    bundles * (1 + u64::from(with_detail)) + tiles
}

/// Appends an entry to a bundle of entries.
///
/// # Panics
///
/// If the entry is longer than the standard allows, 65,535 bytes; canonical entries are much
/// shorter.
pub fn put_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).expect("an entry is at most 65,535 bytes long");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// Takes the next entry from a bundle of entries; `None` if the bundle ends within it.
pub fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let (entry, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *rest = tail;
    Some(entry)
}

/// Appends the openings of an entry to a bundle of details; a mark has none.
///
/// # Panics
///
/// If the detail is longer than 4 GiB or the chain than 64 KiB; messages to the log and chains are
/// much shorter.
pub fn put_openings(bundle: &mut Vec<u8>, openings: Option<Openings<'_>>) {
    let Some(Openings { chain, detail }) = openings else {
        return bundle.extend_from_slice(&[0, 0]);
    };
    let length = u16::try_from(chain.content.len()).expect("a chain is below 64 KiB");
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(chain.salt);
    bundle.extend_from_slice(chain.content);
    let length = u32::try_from(detail.content.len()).expect("a detail is below 4 GiB");
    bundle.extend_from_slice(detail.salt);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(detail.content);
}

/// Takes the next openings from a bundle of details, or their absence; `None` if the bundle ends
/// within them.
pub fn take_openings<'a>(rest: &mut &'a [u8]) -> Option<Option<Openings<'a>>> {
    let (length, tail) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 {
        *rest = tail;
        return Some(None);
    }
    let (salt, tail) = tail.split_at_checked(SALT)?;
    let (content, tail) = tail.split_at_checked(length)?;
    let chain = Opens { salt, content };
    let (salt, tail) = tail.split_at_checked(SALT)?;
    let (length, tail) = tail.split_first_chunk()?;
    let (content, tail) = tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = tail;
    Some(Some(Openings {
        chain,
        detail: Opens { salt, content },
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TilePath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_have_the_form_of_the_standard() {
        for (content, n, width, text) in [
            (Content::Hashes(0), 0, 256, "tile/0/000"),
            (Content::Hashes(63), 7, 256, "tile/63/007"),
            (Content::Hashes(2), 1_234_067, 256, "tile/2/x001/x234/067"),
            (Content::Hashes(0), 273, 112, "tile/0/273.p/112"),
            (Content::Entries, 1_000, 1, "tile/entries/x001/000.p/1"),
            (Content::Entries, 999, 256, "tile/entries/999"),
            (Content::Details, 1_000_000, 255, "detail/x001/x000/000.p/255"),
        ] {
            let tile = TilePath { content, n, width };
            assert_eq!(tile.to_string(), text);
            assert_eq!(path(text), tile);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/1",
            "tile/0/0001",
            "tile/00/001",
            "tile/64/001",
            "tile/-1/001",
            "tile/+1/001",
            "tile/entries",
            "tile/entries/001.p",
            "tile/entries/001.p/",
            "tile/entries/001.p/0",
            "tile/entries/001.p/256",
            "tile/entries/001.p/07",
            "tile/entries/001.p/7/",
            "tile/entries/001.p/7.p/7",
            "tile/entries/x001",
            "tile/entries/001/002",
            "tile/entries/x000/002",
            "tile/entries/x01/002",
            "tile/0/x001/x/002",
            "tile/0/..",
            "tile/0/../../checkpoint",
            "tile/0/٠٠١",
            "tile/data/001",
            "tile/detail/001",
            "tile/8/0/001",
            // One more than fits.
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "/tile/0/001",
            "tile/0/001?x",
            "checkpoint",
        ] {
            assert_eq!(text.parse::<TilePath>(), Err(NotAPath), "{text}");
        }
    }

    /// The example of the standard: 70,000 entries.
    #[test]
    fn a_log_has_the_files_of_the_standard() {
        let all: Vec<_> = files(70_000, false).collect();
        let of = |content| all.iter().filter(move |file| file.content == content);
        assert_eq!(of(Content::Hashes(0)).filter(|file| file.is_full()).count(), 273);
        assert_eq!(of(Content::Hashes(0)).next_back(), Some(&path("tile/0/273.p/112")));
        assert_eq!(of(Content::Entries).next_back(), Some(&path("tile/entries/273.p/112")));
        let above: Vec<_> = all
            .iter()
            .filter(|file| matches!(file.content, Content::Hashes(1..)))
            .collect();
        assert_eq!(
            above,
            [&path("tile/1/000"), &path("tile/1/001.p/17"), &path("tile/2/000.p/1")]
        );
        // Above each full tile of level 0 that completes it.
        let place = all.iter().position(|file| *file == path("tile/1/000")).unwrap();
        assert_eq!(all[place - 1], path("tile/entries/255"));
        assert_eq!(
            files(256, false).map(|file| file.to_string()).collect::<Vec<_>>(),
            ["tile/0/000", "tile/entries/000", "tile/1/000.p/1"]
        );
        assert_eq!(files(0, true).count(), 0);
    }

    #[test]
    fn a_file_is_within_a_log_that_is_large_enough() {
        for (text, size) in [
            ("tile/0/000.p/1", 1),
            ("tile/0/000", 256),
            ("tile/entries/001.p/5", 261),
            ("tile/1/000.p/3", 768),
            ("tile/1/000", 65_536),
            ("tile/2/000.p/1", 65_536),
            ("tile/7/000.p/1", 1 << 56),
        ] {
            assert!(path(text).is_within(size) && !path(text).is_within(size - 1), "{text}");
        }
        for text in [
            "tile/8/000.p/1",
            "tile/63/000.p/1",
            "tile/0/x018/x446/x744/x073/x709/x551/615",
        ] {
            assert!(!path(text).is_within(u64::MAX), "{text}");
        }
    }

    #[test]
    fn a_wider_file_begins_with_a_narrower_one() {
        let (mut entries, mut details) = (Vec::new(), Vec::new());
        for i in 0..3_u8 {
            put_entry(&mut entries, &vec![i; usize::from(i)]);
            let content = vec![i; usize::from(i)];
            let opens = Opens {
                salt: &[i; 32],
                content: &content,
            };
            let openings = Openings {
                chain: opens,
                detail: opens,
            };
            put_openings(&mut details, (i > 0).then_some(openings));
        }
        for (text, bytes, end) in [
            ("tile/entries/000.p/2", &entries, 5),
            ("tile/entries/000.p/3", &entries, 9),
            ("detail/000.p/1", &details, 2),
            ("detail/000.p/2", &details, 2 + 2 + 33 + 32 + 4 + 1),
            ("tile/0/000.p/3", &vec![7; 100], 96),
        ] {
            assert_eq!(path(text).narrow(bytes.clone()).unwrap(), bytes[..end], "{text}");
        }
        for (text, bytes) in [("tile/entries/000.p/4", &entries), ("tile/0/000.p/4", &vec![7; 100])] {
            assert_eq!(path(text).narrow(bytes.clone()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(tile/([0-9]{1,2}|entries)|detail)/(x[0-9]{3}/){0,4}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(tile) = text.parse::<TilePath>() {
                prop_assert_eq!(tile.to_string(), text);
            }
        }

        #[test]
        fn each_file_of_a_log_is_listed_once(size in 0_u64..200_000, with_detail: bool) {
            let all: std::collections::BTreeSet<_> = files(size, with_detail).collect();
            prop_assert_eq!(all.len() as u64, count_files(size, with_detail));
            prop_assert_eq!(files(size, with_detail).count(), all.len());
            prop_assert!(all.iter().all(|file| file.is_within(size)));
            for level in 0..3 {
                let hashes: u64 = all.iter().filter(|file| file.content == Content::Hashes(level)).map(|file| u64::from(file.width)).sum();
                prop_assert_eq!(hashes, size >> (8 * level));
            }
        }

        #[test]
        fn cut_bundles_are_noticed(lengths in prop::collection::vec(0_usize..600, 1..20), cut: prop::sample::Index) {
            let mut bundle = Vec::new();
            for length in &lengths {
                put_entry(&mut bundle, &vec![1; *length]);
            }
            let mut whole = &bundle[..];
            let taken: Vec<_> = std::iter::from_fn(|| take_entry(&mut whole)).map(<[u8]>::len).collect();
            prop_assert_eq!(&taken, &lengths);
            let mut part = &bundle[..cut.index(bundle.len())];
            prop_assert!(std::iter::from_fn(|| take_entry(&mut part)).count() < lengths.len());
        }
    }
}
