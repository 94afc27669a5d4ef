//! How a version differs from the one in force before, in lines for the log. Pure.

use api::{
    event::VersionDifference,
    routing::{ApplyDirectoryResponse, DifferenceKind, RuleRow, RuleTable},
};

/// Lines that are logged; both versions are kept whole.
const LINES: usize = 50;
/// Characters of a line.
const LONG: usize = 200;

fn logged(lines: impl Iterator<Item = String>, count: i32) -> VersionDifference {
    let cut = |line: String| match line.char_indices().nth(LONG) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    };
    VersionDifference {
        difference_count: count,
        lines: lines.take(LINES).map(cut).collect(),
    }
}

/// Of directories.
pub(crate) fn of_directory(applied: &ApplyDirectoryResponse) -> VersionDifference {
    let lines = applied.differences.iter().map(|found| {
        let what = match found.resource.as_str() {
            "" => "directory",
            resource => resource,
        };
        match found.kind() {
            DifferenceKind::Added => format!("added {what}"),
            DifferenceKind::Removed => format!("removed {what}"),
            DifferenceKind::Changed | DifferenceKind::Unspecified => {
                format!("changed {what} {}: {} → {}", found.field, found.before, found.after)
            }
        }
    });
    logged(lines, applied.difference_count)
}

/// Of rule sets.
pub(crate) fn of_rules(next: &RuleTable, old: &RuleTable) -> VersionDifference {
    let row = |table: &RuleTable, id: &str| table.rows.iter().find(|row| row.id == id).cloned();
    let mut lines = Vec::new();
    let part = |lines: &mut Vec<String>, name: &str, differs: bool| {
        if differs {
            lines.push(format!("changed {name}"));
        }
    };
    part(&mut lines, "id", next.id != old.id);
    part(&mut lines, "last_resort", next.last_resort != old.last_resort);
    part(&mut lines, "pauses", next.pauses != old.pauses);
    part(&mut lines, "supervision", next.supervision != old.supervision);
    for RuleRow { id, .. } in old.rows.iter().filter(|known| row(next, &known.id).is_none()) {
        lines.push(format!("removed row {id}"));
    }
    for new in &next.rows {
        match row(old, &new.id) {
            None => lines.push(format!("added row {}", new.id)),
            Some(known) if known != *new => lines.push(format!("changed row {}", new.id)),
            Some(_) => {}
        }
    }
    let count = i32::try_from(lines.len()).unwrap_or(i32::MAX);
    logged(lines.into_iter(), count)
}

#[cfg(test)]
mod tests {
    use decision::rules::RuleSet;

    use super::*;

    #[test]
    fn rows_that_came_went_and_changed_are_told_and_long_lists_are_counted() {
        let old = RuleSet::shipped().to_table();
        assert_eq!(of_rules(&old, &old), VersionDifference::default());
        let mut next = old.clone();
        let gone = next.rows.remove(0).id;
        next.rows[0].priority += 1;
        next.last_resort.push("agencies/police-CN".to_owned());
        let changed = next.rows[0].id.clone();
        next.rows.push(RuleRow {
            id: "new".to_owned(),
            ..RuleRow::default()
        });
        let found = of_rules(&next, &old);
        assert_eq!(
            found.lines,
            [
                "changed last_resort".to_owned(),
                format!("removed row {gone}"),
                format!("changed row {changed}"),
                "added row new".to_owned(),
            ]
        );
        let none = RuleTable::default();
        let many = RuleTable {
            rows: (0..70)
                .map(|at| RuleRow {
                    id: format!("row-{at}"),
                    ..RuleRow::default()
                })
                .collect(),
            ..RuleTable::default()
        };
        let found = of_rules(&many, &none);
        assert_eq!((found.difference_count, found.lines.len()), (70, LINES));
    }
}
