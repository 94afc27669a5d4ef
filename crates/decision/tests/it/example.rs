//! The example register of the stories.

use places::Territories;
use register::checked::Checked;
use register::file::{Format, Mode, Reader};
use register::sorted::Sorter;
use register::store::{Found, Version};

/// The example register, as found in version 1.
pub fn example() -> Found {
    let mut sorter = Sorter::default();
    let mut take = |row| sorter.push(row);
    let mut reader = Reader::new(Format::Csv, Mode::Replace, Territories::shipped().clone());
    reader
        .feed(include_bytes!("../../../../deploy/examples/operators.csv"), &mut take)
        .unwrap();
    reader.finish(&mut take).unwrap();
    let mut problems = Vec::new();
    let mut checked = Checked::new(sorter.merge().unwrap());
    let (groups, _) = checked.next_groups(usize::MAX / 2, &mut problems).unwrap();
    assert_eq!((reader.problems(), problems), (&[][..], vec![]));
    let version = Version {
        version: 1,
        ..Version::default()
    };
    Found { version, groups }
}
