//! Sorting of rows by name, in any number: what exceeds memory is sorted in runs on disk and
//! merged.
//!
//! In this order, contradictory lines are neighbours, the digest does not depend on the order of
//! the file, and the database appends to its pages instead of jumping between them.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
};

use jiff::civil::Date;
use prost::Message;

use crate::{
    entry::{Validity, day_text},
    file::Row,
    key::Key,
};

/// Approximate maximum size of rows in memory, in bytes.
const MEMORY: usize = 16 << 20;

/// Accepts rows in any order.
#[derive(Debug)]
pub struct Sorter {
    rows: Vec<Row>,
    bytes: usize,
    memory: usize,
    runs: Vec<File>,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::with_memory(MEMORY)
    }
}

impl Sorter {
    /// A sorter that holds about `memory` bytes in memory.
    pub fn with_memory(memory: usize) -> Self {
        Self {
            rows: Vec::new(),
            bytes: 0,
            memory,
            runs: Vec::new(),
        }
    }

    /// Adds a row. When memory is full, spills to unnamed temporary files (in `TMPDIR`), which
    /// disappear with this value.
    pub fn push(&mut self, row: Row) -> io::Result<()> {
        let texts = row.key.name().len() + row.operated.as_ref().map_or(0, |(_, operator)| operator.len());
        self.bytes += texts + size_of::<Row>();
        self.rows.push(row);
        if self.bytes >= self.memory {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        self.rows.sort_unstable();
        let mut file = BufWriter::with_capacity(1 << 18, tempfile::tempfile()?);
        let mut record = Vec::new();
        for row in self.rows.drain(..) {
            record.clear();
            Spilled::from(row).encode(&mut record)?;
            let length = u32::try_from(record.len()).map_err(io::Error::other)?;
            file.write_all(&length.to_be_bytes())?;
            file.write_all(&record)?;
        }
        let mut file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        self.runs.push(file);
        self.bytes = 0;
        Ok(())
    }

    /// All rows, by name, then by first day, then by line.
    pub fn merge(mut self) -> io::Result<Merge> {
        self.rows.sort_unstable();
        let mut sources: Vec<Source> = self.runs.into_iter().map(Source::of_file).collect();
        sources.push(Source::Memory(self.rows.into_iter()));
        let mut next = BinaryHeap::with_capacity(sources.len());
        for (i, source) in sources.iter_mut().enumerate() {
            next.extend(source.next()?.map(|row| Reverse((row, i))));
        }
        Ok(Merge { sources, next })
    }
}

/// Yields rows in order.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Source>,
    /// The next row of each source.
    next: BinaryHeap<Reverse<(Row, usize)>>,
}

impl Merge {
    /// The next row.
    pub fn next_row(&mut self) -> io::Result<Option<Row>> {
        let Some(Reverse((row, source))) = self.next.pop() else {
            return Ok(None);
        };
        if let Some(following) = self.sources.get_mut(source).map(Source::next).transpose()?.flatten() {
            self.next.push(Reverse((following, source)));
        }
        Ok(Some(row))
    }

    /// The next row, if it stands under this name.
    pub fn next_row_of(&mut self, key: &Key) -> io::Result<Option<Row>> {
        match self.next.peek() {
            Some(Reverse((row, _))) if row.key == *key => self.next_row(),
            _ => Ok(None),
        }
    }
}

#[derive(Debug)]
enum Source {
    Memory(std::vec::IntoIter<Row>),
    File(BufReader<File>, Vec<u8>),
}

impl Source {
    fn of_file(file: File) -> Self {
        Self::File(BufReader::with_capacity(1 << 18, file), Vec::new())
    }

    fn next(&mut self) -> io::Result<Option<Row>> {
        let (file, record) = match self {
            Self::Memory(rows) => return Ok(rows.next()),
            Self::File(file, record) => (file, record),
        };
        let mut length = [0; 4];
        match file.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        record.resize(u32::from_be_bytes(length) as usize, 0);
        file.read_exact(record)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a temporary file is damaged");
        let spilled = Spilled::decode(record.as_slice()).map_err(|_| damaged())?;
        spilled.into_row().map(Some).ok_or_else(damaged)
    }
}

/// A row in a temporary file.
#[derive(Clone, PartialEq, Message)]
struct Spilled {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    from: String,
    #[prost(string, tag = "3")]
    to: String,
    #[prost(uint64, tag = "4")]
    line: u64,
    #[prost(string, optional, tag = "5")]
    place: Option<String>,
    #[prost(string, tag = "6")]
    operator: String,
}

impl From<Row> for Spilled {
    fn from(row: Row) -> Self {
        let (place, operator) = row.operated.unzip();
        Self {
            key: row.key.stored(),
            from: day_text(row.validity.from),
            to: day_text(row.validity.to),
            line: row.line,
            place: place.map(|place| place.to_string()),
            operator: operator.unwrap_or_default(),
        }
    }
}

impl Spilled {
    fn into_row(self) -> Option<Row> {
        let day = |text: String| match text.as_str() {
            "" => Some(None),
            text => text.parse::<Date>().ok().map(Some),
        };
        let operated = match self.place {
            Some(place) => Some((place.parse().ok()?, self.operator)),
            None => None,
        };
        Some(Row {
            key: Key::from_stored(&self.key)?,
            validity: Validity {
                from: day(self.from)?,
                to: day(self.to)?,
            },
            line: self.line,
            operated,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        entry::{Place, day},
        key::Kind,
    };

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let days = prop::sample::select(vec!["", "2025-01-01", "2026-03-01", "9999-12-31"]);
        let place = prop::option::of((prop::sample::select(vec!["350200", "CN", "US"]), "[a-z例]{0,9}"));
        let row = (0..40_u32, days.clone(), days, place, 0..1_000_u64);
        prop::collection::vec(row, 0..200).prop_map(|rows| {
            let row = |(key, from, to, operated, line): (u32, &str, &str, Option<(&str, String)>, u64)| Row {
                key: Key::new(Kind::App, &format!("app {key}")).unwrap(),
                validity: Validity {
                    from: day(from).unwrap(),
                    to: day(to).unwrap(),
                },
                line,
                operated: operated.map(|(place, operator)| (place.parse::<Place>().unwrap(), operator)),
            };
            rows.into_iter().map(row).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn merging_files_equals_sorting_in_memory(rows in rows(), memory in 1..20_000_usize) {
            let mut sorter = Sorter::with_memory(memory);
            for row in rows.clone() {
                sorter.push(row).unwrap();
            }
            let mut merge = sorter.merge().unwrap();
            let mut merged = Vec::new();
            while let Some(row) = merge.next_row().unwrap() {
                merged.push(row);
            }
            let mut expected = rows;
            expected.sort();
            prop_assert_eq!(merged, expected);
        }
    }

    #[test]
    fn memory_is_bounded_by_spilling_to_files() {
        let mut sorter = Sorter::with_memory(10_000);
        for line in 0..1_000 {
            let row = Row {
                key: Key::new(Kind::App, &format!("app {}", line * 7 % 1_000)).unwrap(),
                validity: Validity::default(),
                line,
                operated: None,
            };
            sorter.push(row).unwrap();
            assert!(sorter.bytes < 10_000);
        }
        assert!(sorter.runs.len() > 5);
        let mut merge = sorter.merge().unwrap();
        let first = merge.next_row().unwrap().unwrap();
        assert_eq!(merge.next_row_of(&first.key).unwrap(), None);
        let mut count = 1;
        while merge.next_row().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, 1_000);
    }
}
