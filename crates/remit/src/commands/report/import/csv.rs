//! Tables: rows of comma-separated values, and a file that says which column is which field.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::BufRead,
};

use api::intake::SubmitReportRequest;
use csv_core::ReadRecordResult;
use prost::Name as _;
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::source::{Fault, Found, ITEM, Read, Reports, described, too_large};
use crate::client::Failed;

/// Columns of a table.
const COLUMNS: usize = 512;

/// Which column is which field.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mapping {
    /// The field of each column, such as `Link: report.subjects[0].value`. Other columns are left
    /// out.
    columns: BTreeMap<String, String>,
    /// Fields that are the same in each row. Those of a subject, a place or a loss are set in rows
    /// where a column of the same one is not empty.
    #[serde(default)]
    constants: BTreeMap<String, String>,
    /// Of a column, what stands in the table and what is meant by it.
    #[serde(default)]
    values: BTreeMap<String, BTreeMap<String, String>>,
    /// What is between cells: a comma if nothing else is said.
    #[serde(default)]
    delimiter: Option<char>,
}

/// One step of the path of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(usize),
    Entry(String),
}

/// Most items of a list that a table can name: of subjects, by the contract.
const ITEMS: usize = 50;

/// Reads `report.subjects[0].value`, and finds it in the contract.
fn path(text: &str) -> Result<Vec<Step>, String> {
    let of = SubmitReportRequest::full_name();
    let mut message: Option<MessageDescriptor> = api::POOL.get_message_by_name(&of);
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(within) = message.take() else {
            return Err(format!(
                "`{text}`: nothing is within `{}`",
                &text[..text.len() - rest.len()]
            ));
        };
        let field = within
            .get_field_by_name(name)
            .or_else(|| within.get_field_by_json_name(name));
        let Some(field) = field else {
            let known: Vec<_> = within.fields().map(|field| field.name().to_owned()).collect();
            return Err(format!(
                "`{text}`: there is no `{name}`; the fields there are {}",
                known.join(", ")
            ));
        };
        steps.push(Step::Field(field.name().to_owned()));
        rest = after;
        if field.is_list() || field.is_map() {
            let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let Some((index, after)) = index else {
                return Err(format!("`{text}`: say which `{name}`, such as `{name}[0]`"));
            };
            steps.push(match field.is_map() {
                true => Step::Entry(index.to_owned()),
                false => match index.parse() {
                    Ok(index) if index < ITEMS => Step::Item(index),
                    _ => return Err(format!("`{text}`: `{index}` is not a number from 0 to {}", ITEMS - 1)),
                },
            });
            rest = after;
        }
        message = match field.kind() {
            Kind::Message(of) if !field.is_map() && of.package_name() != "google.protobuf" => Some(of),
            _ => None,
        };
        rest = match rest.strip_prefix('.') {
            Some("") => return Err(format!("`{text}` ends with a point")),
            Some(after) => after,
            None if rest.is_empty() => rest,
            None => return Err(format!("`{text}`: `{rest}` cannot be read")),
        };
    }
    match message {
        None if !steps.is_empty() => Ok(steps),
        _ => Err(format!("`{text}` has fields of its own; name one of them")),
    }
}

/// What the field belongs to, if that is a part that may be missing: a subject, a place, a loss.
fn part(steps: &[Step]) -> Option<&[Step]> {
    let parent = &steps[..steps.len() - 1];
    (parent.len() > 1 && !matches!(steps.last(), Some(Step::Entry(_)))).then_some(parent)
}

/// The rows of a table.
pub(super) struct Rows<R> {
    from: R,
    core: csv_core::Reader,
    line: u64,
    /// Number of columns; for each that is a field, its place, name, path and values.
    width: usize,
    columns: Vec<Column>,
    constants: Vec<(Vec<Step>, String)>,
}

#[derive(Debug)]
struct Column {
    place: usize,
    name: String,
    path: Vec<Step>,
    values: BTreeMap<String, String>,
}

/// The cells of a row.
type Cells = Vec<String>;

impl<R: BufRead> Rows<R> {
    /// Reads the first row, which names the columns.
    pub(super) fn begin(from: R, mapping: &Mapping) -> anyhow::Result<Self> {
        let mut core = csv_core::ReaderBuilder::new();
        if let Some(delimiter) = mapping.delimiter {
            let Ok(delimiter) = u8::try_from(delimiter) else {
                return Err(Failed::Usage("`delimiter` of the mapping must be an ASCII character".to_owned()).into());
            };
            core.delimiter(delimiter);
        }
        let mut rows = Self {
            from,
            core: core.build(),
            line: 1,
            width: 0,
            columns: Vec::new(),
            constants: Vec::new(),
        };
        let Some((_, header)) = rows.row()? else {
            return Err(Failed::Usage("the table is empty: its first row names the columns".to_owned()).into());
        };
        let header = header.map_err(|fault| Failed::Usage(format!("the first row {}", fault.description)))?;
        let mut faults = Vec::new();
        let header: Vec<_> = header.iter().map(|name| name.trim().to_owned()).collect();
        let mut fields = BTreeSet::new();
        for (name, field) in &mapping.columns {
            let places: Vec<_> = (0..header.len())
                .filter(|place| header[*place] == name.trim())
                .collect();
            let path = path(field).map_err(|fault| faults.push(fault)).ok();
            match places.as_slice() {
                [place] => {
                    if !fields.insert(field) {
                        faults.push(format!("`{field}` is given to two columns"));
                    }
                    rows.columns.extend(path.map(|path| Column {
                        place: *place,
                        name: name.clone(),
                        path,
                        values: mapping.values.get(name).cloned().unwrap_or_default(),
                    }));
                }
                [] => faults.push(format!(
                    "the table has no column `{name}`; it has {}",
                    header.join(", ")
                )),
                _ => faults.push(format!("the table has the column `{name}` twice")),
            }
        }
        for (field, value) in &mapping.constants {
            if mapping.columns.values().any(|taken| taken == field) {
                faults.push(format!("`{field}` is both a column and a constant"));
            }
            match path(field) {
                Ok(path) => rows.constants.push((path, value.clone())),
                Err(fault) => faults.push(fault),
            }
        }
        for name in mapping
            .values
            .keys()
            .filter(|name| !mapping.columns.contains_key(*name))
        {
            faults.push(format!("`values` has `{name}`, which is not among the columns"));
        }
        if mapping.columns.is_empty() {
            faults.push("no column is given a field".to_owned());
        }
        rows.width = header.len();
        match faults.is_empty() {
            true => Ok(rows),
            false => Err(Failed::Usage(format!(
                "the mapping does not fit the table:\n  {}",
                faults.join("\n  ")
            ))
            .into()),
        }
    }

    /// The next row that is not blank, and the line on which it begins.
    fn row(&mut self) -> anyhow::Result<Option<(u64, Result<Cells, Fault>)>> {
        // Unquoting never makes a row longer.
        let (mut text, mut ends) = (vec![0; 4 << 10], vec![0; COLUMNS + 1]);
        let (mut written, mut count, mut is_too_large) = (0, 0, false);
        let mut begun = self.line;
        // Where the cell began that is being read, if it has.
        let (mut has_begun, mut opened) = (false, None);
        loop {
            let input = self.from.fill_buf()?;
            if !has_begun {
                // Blank lines before a row are passed over, and counted.
                let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                let lines = input[..blank].iter().filter(|byte| **byte == b'\n').count() as u64;
                if blank > 0 {
                    self.from.consume(blank);
                    self.line += lines;
                    continue;
                }
                begun = self.line;
                has_begun = true;
            }
            // Line by line, so that it is known where a cell began.
            let end = input.iter().position(|byte| *byte == b'\n');
            let is_over = input.is_empty() && opened.is_some();
            let input = match end {
                // A last line ends, too, unless that is within a cell.
                _ if is_over => b"\n",
                Some(end) => &input[..=end],
                None => input,
            };
            let at = self.line;
            let (result, read, more, fields) = self.core.read_record(input, &mut text[written..], &mut ends[count..]);
            if !is_over {
                self.line += input[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
                self.from.consume(read);
            }
            written += more;
            count += fields;
            if fields > 0 || opened.is_none() {
                opened = Some(at);
            }
            match result {
                ReadRecordResult::InputEmpty if is_over => {
                    // Rows behind it would be read as one cell, and be lost.
                    let opened = opened.unwrap_or(begun);
                    let message = format!("line {opened}: a quote begins a cell there and is not closed; close it");
                    return Err(Failed::Usage(message).into());
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if text.len() < ITEM => text.resize(text.len() * 2, 0),
                ReadRecordResult::OutputFull => (is_too_large, written) = (true, 0),
                ReadRecordResult::OutputEndsFull => (is_too_large, count) = (true, 0),
                ReadRecordResult::Record if is_too_large => return Ok(Some((begun, Err(too_large())))),
                ReadRecordResult::Record => {
                    let mut start = 0;
                    let cell = |end: &usize| {
                        let cell = String::from_utf8_lossy(&text[start..*end]).into_owned();
                        start = *end;
                        cell
                    };
                    return Ok(Some((begun, Ok(ends[..count].iter().map(cell).collect()))));
                }
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// Reads on to the end, for what is wrong with the table as a whole.
    pub(super) fn check_whole(mut self) -> anyhow::Result<()> {
        while self.row()?.is_some() {}
        Ok(())
    }

    fn request(&self, cells: &Cells) -> Read {
        if cells.len() != self.width {
            let (has, all) = (cells.len(), self.width);
            return Err(vec![Fault::new(
                "",
                format!("has {has} cells, but the first row names {all}"),
            )]);
        }
        let mut set: Vec<(&[Step], Value)> = Vec::new();
        for column in &self.columns {
            let cell = cells[column.place].trim();
            if cell.is_empty() {
                continue;
            }
            let meant = match column.values.is_empty() {
                true => cell,
                false => match column.values.get(cell) {
                    Some(meant) => meant,
                    None => {
                        let known: Vec<_> = column.values.keys().map(String::as_str).collect();
                        let cell: String = cell.chars().take(40).collect();
                        let description =
                            format!("`{cell}` is none of its values in the mapping: {}", known.join(", "));
                        return Err(vec![Fault {
                            column: column.name.clone(),
                            ..Fault::new(written(&column.path), description)
                        }]);
                    }
                },
            };
            set.push((&column.path, meant.into()));
        }
        let given: Vec<&[Step]> = set.iter().filter_map(|(path, _)| part(path)).collect();
        let has_column = |wanted: &[Step]| self.columns.iter().any(|column| part(&column.path) == Some(wanted));
        for (path, value) in &self.constants {
            // A subject of which the row says nothing is none.
            let is_there = part(path).is_none_or(|part| !has_column(part) || given.contains(&part));
            if is_there {
                set.push((path, value.as_str().into()));
            }
        }
        let mut request = Value::Object(Map::new());
        for (path, value) in set {
            put(&mut request, path, value);
        }
        without_gaps(&mut request);
        let parsed: Result<SubmitReportRequest, _> = rpc::json::parse(&request.to_string());
        parsed
            .map(Found::from)
            .map_err(|error| vec![self.placed(described(error))])
    }

    /// A fault with the column that its field came from.
    fn placed(&self, mut fault: Fault) -> Fault {
        let column = self
            .columns
            .iter()
            .find(|column| is_same(&written(&column.path), &fault.field));
        fault.column = column.map(|column| column.name.clone()).unwrap_or_default();
        fault
    }
}

/// Whether two paths are of one field: `subjects[0].observeTime` and `subjects[0].observe_time`.
fn is_same(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.replace('_', "").to_lowercase();
    letters(a) == letters(b)
}

/// A path as in the contract.
fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text = format!("{text}.{name}"),
            Step::Item(index) => text = format!("{text}[{index}]"),
            Step::Entry(key) => text = format!("{text}[{key}]"),
        }
    }
    text
}

fn put(within: &mut Value, path: &[Step], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *within = value;
        return;
    };
    match first {
        Step::Field(name) | Step::Entry(name) => {
            if !within.is_object() {
                *within = Value::Object(Map::new());
            }
            if let Some(object) = within.as_object_mut() {
                put(object.entry(name.as_str()).or_insert(Value::Null), rest, value);
            }
        }
        Step::Item(index) => {
            if !within.is_array() {
                *within = Value::Array(Vec::new());
            }
            if let Some(items) = within.as_array_mut() {
                if items.len() <= *index {
                    items.resize(*index + 1, Value::Null);
                }
                put(&mut items[*index], rest, value);
            }
        }
    }
}

/// Lists without the items of which the row says nothing.
fn without_gaps(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(without_gaps);
        }
        Value::Object(fields) => fields.values_mut().for_each(without_gaps),
        _ => {}
    }
}

impl<R: BufRead + Send> Reports for Rows<R> {
    fn next(&mut self) -> anyhow::Result<Option<(u64, Read)>> {
        let Some((line, cells)) = self.row()? else {
            return Ok(None);
        };
        let request = cells
            .map_err(|fault| vec![fault])
            .and_then(|cells| self.request(&cells));
        Ok(Some((line, request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPING: &str = "
columns:
  编号: report.external_id
  类别: report.category
  网址: report.subjects[0].value
  电话: report.subjects[1].value
  金额: report.loss.minor_units
  渠道: report.details[deposit.channel]
  说明: report.narrative
constants:
  report.subjects[0].kind: SUBJECT_KIND_URL
  report.subjects[1].kind: SUBJECT_KIND_PHONE
  report.loss.currency_code: CNY
  report.language_code: zh-CN
values:
  类别: {赌博: categories/gambling}
";

    fn rows<'t>(table: &'t str, mapping: &str) -> anyhow::Result<Rows<&'t [u8]>> {
        Rows::begin(table.as_bytes(), &serde_saphyr::from_str(mapping).unwrap())
    }

    fn all(table: &str) -> Vec<(u64, Read)> {
        let mut rows = rows(table, MAPPING).unwrap();
        std::iter::from_fn(|| rows.next().unwrap()).collect()
    }

    #[test]
    fn a_row_is_a_report_and_an_empty_cell_is_nothing() {
        let read = all("编号,类别,网址,电话,金额,渠道,说明,其他\r\n\
             1,赌博,https://a.example/,+8613800000000,1200,agent,\"一行\n二行 \"\"引\"\"\",x\r\n\
             \r\n\
             2,赌博,,+8613800000000,,,=HYPERLINK(\"\"x\"\"),\n\
             3,赌博,https://a.example/,,,,,");
        let lines: Vec<_> = read.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 5, 6]);
        let report = |i: usize| read[i].1.as_ref().unwrap().request.report.clone().unwrap();
        let first = report(0);
        assert_eq!(
            (first.external_id.as_str(), first.category.as_str()),
            ("1", "categories/gambling")
        );
        assert_eq!(first.narrative, "一行\n二行 \"引\"");
        assert_eq!(first.loss.as_ref().unwrap().minor_units, 1_200);
        assert_eq!(first.details["deposit.channel"], "agent");
        assert_eq!((first.subjects.len(), first.language_code.as_str()), (2, "zh-CN"));
        // Without a first subject the second is the first; without a loss there is no currency.
        let second = report(1);
        assert_eq!((second.subjects.len(), second.loss), (1, None));
        assert_eq!(second.subjects[0].kind(), api::intake::SubjectKind::Phone);
        // A formula is text like any other.
        assert_eq!(second.narrative, "=HYPERLINK(\"\"x\"\")");
        assert_eq!(report(2).subjects.len(), 1);
    }

    #[test]
    fn what_is_wrong_with_a_row_is_told_by_column() {
        let read = all("编号,类别,网址,电话,金额,渠道,说明\n\
             1,骗,,,,,\n\
             2,赌博,,,12.50,,\n\
             3,赌博\n\
             4,赌博,https://a.example/,,,,ok\n");
        let fault = |i: usize| read[i].1.as_ref().unwrap_err()[0].clone();
        assert_eq!(
            (fault(0).column.as_str(), fault(0).field.as_str()),
            ("类别", "report.category")
        );
        assert_eq!(fault(1).column, "金额", "{:?}", fault(1));
        assert_eq!(fault(2).description, "has 2 cells, but the first row names 7");
        assert!(read[3].1.is_ok());
    }

    #[test]
    fn a_quote_that_is_not_closed_is_named_and_takes_no_rows_along() {
        let large = "x".repeat(5 << 20);
        let head = "编号,类别,网址,电话,金额,渠道,说明\n1,赌博,,,,,\"a\nb\"\n";
        for (rows_behind, line) in [
            ("2,赌博,,,,,\"open\n3,赌博,,,,,\n4,赌博,,,,,ok\n".to_owned(), Some(4)),
            ("2,赌博,,,,,\"open".to_owned(), Some(4)),
            ("2,赌博,,,,\"a\nb\",\"open \"\"\n\n".to_owned(), Some(5)),
            (format!("2,赌博,,,,,\"{large}\n3,赌博,,,,,\n"), Some(4)),
            ("2,赌博,,,,,\"closed\"".to_owned(), None),
            ("2,赌博,,,,,\"closed\"\n".to_owned(), None),
            ("2,赌博,,,,,x\"y\n".to_owned(), None),
            ("2,赌博,,,,,".to_owned(), None),
        ] {
            let table = format!("{head}{rows_behind}");
            let read = rows(&table, MAPPING).unwrap().check_whole();
            match line {
                Some(line) => {
                    let error = read.unwrap_err().to_string();
                    assert!(error.starts_with(&format!("line {line}: a quote")), "{error}");
                }
                None => read.unwrap(),
            }
        }
    }

    #[test]
    fn rows_and_columns_have_bounds() {
        let wide = vec!["x"; 600].join(",");
        let long = "x".repeat(5 << 20);
        let read = all(&format!(
            "编号,类别,网址,电话,金额,渠道,说明\n{wide}\n1,赌博,,,,,{long}\n2,赌博,,,,,ok\n"
        ));
        let large = |i: usize| read[i].1.as_ref().unwrap_err()[0] == too_large();
        assert!(large(0) && large(1) && read[2].1.is_ok());
    }

    #[test]
    fn a_mapping_that_does_not_fit_is_told_whole() {
        for (mapping, expected) in [
            (
                "columns: {a: report.subject}",
                "there is no `subject`; the fields there are name, category",
            ),
            ("columns: {a: report.subjects.value}", "say which `subjects`"),
            (
                "columns: {a: 'report.subjects[50].value'}",
                "`50` is not a number from 0 to 49",
            ),
            ("columns: {a: report.loss}", "has fields of its own"),
            ("columns: {a: report.category.x}", "nothing is within"),
            ("columns: {a: report.narrative.}", "ends with a point"),
            (
                "columns: {z: report.narrative}",
                "the table has no column `z`; it has a, b, b",
            ),
            ("columns: {b: report.narrative}", "the table has the column `b` twice"),
            ("columns: {}", "no column is given a field"),
            ("{columns: {a: report.narrative}, values: {z: {}}}", "`values` has `z`"),
            (
                "{columns: {a: report.narrative}, constants: {report.narrative: x}}",
                "both a column and a constant",
            ),
            (
                "{columns: {a: report.narrative}, delimiter: '，'}",
                "must be an ASCII character",
            ),
        ] {
            let error = rows("a,b,b\n", mapping).err().unwrap().to_string();
            assert!(error.contains(expected), "{mapping}: {error}");
        }
        assert!(rows("", "columns: {a: report.narrative}").is_err());
        for mapping in ["columns: {a: report.loss.occur_time}", "columns: {a: report.lossX}"] {
            assert_eq!(rows("a\n", mapping).is_ok(), mapping.contains("occur_time"));
        }
        rows("a;b\n", "{columns: {b: report.narrative}, delimiter: ';'}")
            .map(drop)
            .unwrap();
    }
}
