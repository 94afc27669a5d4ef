//! Reading a file of reports, one after the other, in bounded memory.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
};

use api::intake::SubmitReportRequest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use prost::Message as _;
use rpc::json::JsonError;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Format, csv, xarf};
use crate::client::Failed;

/// Bytes of one report in a file: what a server takes as one message.
pub(super) const ITEM: usize = 4 << 20;

const MARK: &[u8] = "\u{feff}".as_bytes();

/// What is wrong with a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Fault {
    /// The field, as in the contract; empty if no single one is at fault.
    pub(super) field: String,
    /// The column that it came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) column: String,
    pub(super) description: String,
}

impl Fault {
    pub(super) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            description: description.into(),
            column: String::new(),
        }
    }
}

/// A report, and files to upload with it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) request: SubmitReportRequest,
    pub(super) files: Vec<Attached>,
}

/// A file that comes with a report.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    /// Where it stands.
    pub(super) field: String,
    pub(super) media_type: String,
    /// Of its upload: the same file of the same report has the same.
    pub(super) request_id: Uuid,
    pub(super) bytes: Bytes,
}

/// What was read of one report.
pub(super) type Read = Result<Found, Vec<Fault>>;

impl From<SubmitReportRequest> for Found {
    fn from(request: SubmitReportRequest) -> Self {
        Self {
            request,
            files: Vec::new(),
        }
    }
}

/// One report of the file.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// Its number in the file, from 1.
    pub(super) number: u64,
    /// The line on which it begins, from 1.
    pub(super) line: u64,
    /// What it says, or what is wrong with it already.
    pub(super) read: Read,
}

/// The reports of a file.
pub(super) trait Reports: Send {
    /// The next one: the line on which it begins, and what it is. `None` at the end.
    fn next(&mut self) -> anyhow::Result<Option<(u64, Read)>>;
}

/// The SHA-256 of a file's bytes in hexadecimal, found while its text is checked: all of it is
/// UTF-8, or the error says where it is not.
pub(super) fn looked_through(path: &Path, file: &mut File) -> anyhow::Result<String> {
    let name = path.display();
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 << 10];
    // What the last chunk had of a character that it did not have whole.
    let (mut held, mut line, mut is_first) = (0, 1_u64, true);
    loop {
        let count = file.read(&mut chunk[held..])?;
        hash.update(&chunk[held..held + count]);
        let all = &chunk[..held + count];
        if std::mem::take(&mut is_first) && (all.starts_with(&[0xff, 0xfe]) || all.starts_with(&[0xfe, 0xff])) {
            return Err(Failed::Usage(format!("{name} is UTF-16; save it as UTF-8")).into());
        }
        let whole = match std::str::from_utf8(all) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && count > 0 => error.valid_up_to(),
            Err(error) => {
                let at = error.valid_up_to();
                line += lines(&all[..at]);
                let found = match is_gbk(&all[at..]) {
                    true => "it looks like GBK; convert it with `iconv -f GB18030 -t UTF-8`",
                    false => "save it as UTF-8",
                };
                return Err(Failed::Usage(format!("{name}:{line}: a byte there is not UTF-8: {found}")).into());
            }
        };
        line += lines(&all[..whole]);
        if count == 0 {
            return Ok(HEXLOWER.encode(&hash.finalize()));
        }
        let end = held + count;
        chunk.copy_within(whole..end, 0);
        held = end - whole;
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Whether the rest of a line is text in GBK, the usual encoding of tables from Chinese offices.
fn is_gbk(bytes: &[u8]) -> bool {
    let mut rest = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    loop {
        rest = match rest {
            [] | [0x81..=0xfe] => return true,
            [0..=0x7f, rest @ ..] | [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, rest @ ..] => rest,
            _ => return false,
        };
    }
}

/// Opens a file whose text was checked.
pub(super) fn open(file: File, format: Format, mapping: &csv::Mapping) -> anyhow::Result<Box<dyn Reports>> {
    let mut from = BufReader::with_capacity(256 << 10, file);
    if from.fill_buf()?.starts_with(MARK) {
        from.consume(MARK.len());
    }
    Ok(match format {
        Format::Ndjson => Box::new(Lines { from, line: 0 }),
        Format::Json => Box::new(Values::new(from, request)),
        Format::Xarf => Box::new(Values::new(from, xarf::request)),
        Format::Csv => Box::new(csv::Rows::begin(from, mapping)?),
    })
}

/// Reads a table to its end: one that cannot be read whole is refused before anything is sent.
pub(super) fn whole_table(file: File, mapping: &csv::Mapping) -> anyhow::Result<()> {
    csv::Rows::begin(BufReader::with_capacity(256 << 10, file), mapping)?.check_whole()
}

/// Numbers what a file has, and gives each report that has no id an external one: made of what it
/// says and how often the file has said that before, so that neither the file nor a corrected one
/// brings a report in twice, and two equal reports are two.
pub(super) struct Numbered {
    reports: Box<dyn Reports>,
    number: u64,
    /// How often the file has had a report, by the beginning of its hash: some bytes for each.
    had: HashMap<u64, u32>,
}

impl Numbered {
    pub(super) fn new(reports: Box<dyn Reports>) -> Self {
        Self {
            reports,
            number: 0,
            had: HashMap::new(),
        }
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Option<Item>> {
        let Some((line, mut read)) = self.reports.next()? else {
            return Ok(None);
        };
        self.number += 1;
        if read.as_ref().is_ok_and(|found| found.request.validate_only) {
            let description = "is decided by the import: remove it, and use --dry-run to validate only";
            read = Err(vec![Fault::new("validate_only", description)]);
        }
        if let Ok(Found { request, .. }) = &mut read
            && let Some(report) = &mut request.report
            && report.external_id.is_empty()
            && request.request_id.is_empty()
        {
            // One report has one form in bytes: maps are sorted.
            let hash = Sha256::digest(report.encode_to_vec());
            let mut beginning = [0; 8];
            beginning.copy_from_slice(&hash[..8]);
            let had = self.had.entry(u64::from_be_bytes(beginning)).or_default();
            *had += 1;
            report.external_id = format!("import-{}-{had}", HEXLOWER.encode(&hash[..16]));
        }
        Ok(Some(Item {
            number: self.number,
            line,
            read,
        }))
    }
}

/// A line, without its end, of at most [`ITEM`] bytes; `None` at the end of the file. A longer one
/// is passed over.
pub(super) fn line(from: &mut impl BufRead) -> std::io::Result<Option<Result<Vec<u8>, Fault>>> {
    let mut bytes = Vec::new();
    let count = from.by_ref().take(ITEM as u64 + 1).read_until(b'\n', &mut bytes)?;
    if count == 0 {
        return Ok(None);
    }
    if count > ITEM && bytes.last() != Some(&b'\n') {
        from.skip_until(b'\n')?;
        return Ok(Some(Err(too_large())));
    }
    while let Some(b'\n' | b'\r') = bytes.last() {
        bytes.pop();
    }
    Ok(Some(Ok(bytes)))
}

pub(super) fn too_large() -> Fault {
    Fault::new(
        "",
        format!("is larger than {} MiB, more than a report can be", ITEM >> 20),
    )
}

/// One JSON value on each line.
struct Lines<R> {
    from: R,
    line: u64,
}

impl<R: BufRead + Send> Reports for Lines<R> {
    fn next(&mut self) -> anyhow::Result<Option<(u64, Read)>> {
        while let Some(line) = line(&mut self.from)? {
            self.line += 1;
            let request = match line {
                Ok(bytes) if bytes.trim_ascii().is_empty() => continue,
                Ok(bytes) => request(&String::from_utf8_lossy(&bytes)),
                Err(fault) => Err(vec![fault]),
            };
            return Ok(Some((self.line, request)));
        }
        Ok(None)
    }
}

type Parse = fn(&str) -> Read;

/// The objects of a JSON array, or objects one behind the other, however they are laid out.
struct Values<R> {
    from: R,
    parse: Parse,
    line: u64,
    /// Whether the array has begun, and whether the file has one.
    is_array: Option<bool>,
    is_over: bool,
}

impl<R: BufRead> Values<R> {
    fn new(from: R, parse: Parse) -> Self {
        Self {
            from,
            parse,
            line: 1,
            is_array: None,
            is_over: false,
        }
    }

    fn byte(&mut self) -> std::io::Result<Option<u8>> {
        let byte = self.from.fill_buf()?.first().copied();
        if byte.is_some() {
            self.from.consume(1);
        }
        self.line += u64::from(byte == Some(b'\n'));
        Ok(byte)
    }

    /// The rest of an object whose first brace was read; `None` if it is too large.
    fn object(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let (mut bytes, mut depth, mut in_text, mut is_escaped) = (vec![b'{'], 1_u32, false, false);
        let mut size = 1_usize;
        while depth > 0 {
            let Some(byte) = self.byte()? else {
                return Err(Failed::Usage(format!("line {}: the file ends within a JSON object", self.line)).into());
            };
            size += 1;
            if size <= ITEM {
                bytes.push(byte);
            }
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth -= 1,
                _ => {}
            }
        }
        Ok((size <= ITEM).then_some(bytes))
    }
}

impl<R: BufRead + Send> Reports for Values<R> {
    fn next(&mut self) -> anyhow::Result<Option<(u64, Read)>> {
        loop {
            let line = self.line;
            let Some(byte) = self.byte()? else {
                return match self.is_array {
                    Some(true) if !self.is_over => {
                        Err(Failed::Usage(format!("line {line}: the file ends within its JSON array")).into())
                    }
                    _ => Ok(None),
                };
            };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b',' if self.is_array == Some(true) && !self.is_over => {}
                b'[' if self.is_array.is_none() => self.is_array = Some(true),
                b']' if self.is_array == Some(true) && !self.is_over => self.is_over = true,
                b'{' if !self.is_over => {
                    self.is_array.get_or_insert(false);
                    let request = match self.object()? {
                        Some(bytes) => (self.parse)(&String::from_utf8_lossy(&bytes)),
                        None => Err(vec![too_large()]),
                    };
                    return Ok(Some((line, request)));
                }
                _ => {
                    let message = format!("line {line}: expected a JSON object, or an array of them");
                    return Err(Failed::Usage(message).into());
                }
            }
        }
    }
}

/// Tells a request from a report alone.
#[derive(serde::Deserialize)]
struct Shape {
    report: Option<IgnoredAny>,
}

/// A request, or a report alone, in the JSON form of the contract.
pub(super) fn request(text: &str) -> Read {
    // One value: it cannot say more than a report once it is wrapped.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(vec![Fault::new("", format!("is not one JSON value: {error}"))]);
    }
    let is_request = serde_json::from_str::<Shape>(text).is_ok_and(|shape| shape.report.is_some());
    let parsed: Result<SubmitReportRequest, _> = match is_request {
        true => rpc::json::parse(text),
        false => rpc::json::parse(&format!("{{\"report\":{text}}}")),
    };
    parsed.map(Found::from).map_err(|error| vec![described(error)])
}

pub(super) fn described(error: JsonError) -> Fault {
    match error {
        JsonError::Malformed { field, source, .. } => {
            let (line, column) = (source.line(), source.column());
            let problem = source.to_string();
            let place = format!(" at line {line} column {column}");
            let problem = problem.strip_suffix(&place).unwrap_or(&problem);
            Fault::new(field, problem)
        }
        error => Fault::new("", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(content: &[u8]) -> (tempfile::NamedTempFile, File) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let opened = File::open(file.path()).unwrap();
        (file, opened)
    }

    fn all(content: &str, format: Format) -> anyhow::Result<Vec<Item>> {
        let (_kept, opened) = file(content.as_bytes());
        let mut numbered = Numbered::new(open(opened, format, &csv::Mapping::default())?);
        let mut items = Vec::new();
        while let Some(item) = numbered.next()? {
            items.push(item);
        }
        Ok(items)
    }

    #[test]
    fn what_is_not_utf_8_is_named_with_its_line_before_anything_is_sent() {
        let gbk = b"a,b\nc,d\n\xcd\xf8\xc2\xe7,x\n";
        let many = [vec![b'x'; 300_000], b"\n\n".to_vec(), gbk.to_vec()].concat();
        for (content, expected) in [
            (&gbk[..], Some(":3: a byte there is not UTF-8: it looks like GBK")),
            (&many[..], Some(":5: a byte there is not UTF-8: it looks like GBK")),
            (b"\xff\xfea\0", Some("is UTF-16")),
            (b"ok\n\xe8\xaf\n", Some(":2: a byte there is not UTF-8")),
            (b"ok \xe8\xaf", Some(":1: a byte there is not UTF-8")),
            ("\u{feff}诈骗\n".repeat(40_000).as_bytes(), None),
            (b"", None),
        ] {
            let (kept, mut opened) = file(content);
            let looked = looked_through(kept.path(), &mut opened);
            match expected {
                Some(expected) => {
                    let error = looked.unwrap_err().to_string();
                    assert!(error.contains(expected), "{error}");
                }
                None => assert_eq!(looked.unwrap(), HEXLOWER.encode(&Sha256::digest(content))),
            }
        }
    }

    #[test]
    fn requests_and_reports_are_read_from_lines_and_values() {
        let report = r#"{"category":"categories/gambling","narrative":"a } ] \" {"}"#;
        let request = r#"{"report":{"category":"categories/drugs","externalId":"mine"}}"#;
        let broken = r#"{"report":{"categroy":"x"}}"#;
        let lines = format!("\u{feff}{report}\r\n\n{request}\n{broken}\n{{\n{report}");
        let items = all(&lines, Format::Ndjson).unwrap();
        let at: Vec<_> = items
            .iter()
            .map(|item| (item.number, item.line, item.read.is_ok()))
            .collect();
        assert_eq!(
            at,
            [(1, 1, true), (2, 3, true), (3, 4, false), (4, 5, false), (5, 6, true)]
        );
        let id = |item: &Item| {
            item.read
                .as_ref()
                .unwrap()
                .request
                .report
                .as_ref()
                .unwrap()
                .external_id
                .clone()
        };
        assert!(id(&items[0]).starts_with("import-") && id(&items[0]).ends_with("-1"));
        assert_eq!(id(&items[1]), "mine");
        // The same report again is another, and the same one in a corrected file is the same.
        assert_eq!(id(&items[4]), id(&items[0]).replace("-1", "-2"));
        let corrected = all(&format!("{{\"narrative\":\"new\"}}\n{report}"), Format::Ndjson).unwrap();
        assert_eq!(id(&corrected[1]), id(&items[0]));
        assert_ne!(id(&corrected[0])[..20], id(&items[0])[..20]);
        let fault = &items[2].read.as_ref().unwrap_err()[0];
        assert_eq!(fault.field, "report");
        assert!(fault.description.contains("did you mean `category`?"), "{fault:?}");

        for text in [
            format!("[{report},\n {request},\n\n{broken}]\n"),
            format!("{report}\n{request}\n\n{broken}"),
        ] {
            let items = all(&text, Format::Json).unwrap();
            let at: Vec<_> = items.iter().map(|item| (item.line, item.read.is_ok())).collect();
            assert_eq!(at, [(1, true), (2, true), (4, false)], "{text}");
        }
        for text in ["[{}", "{\"a\":", "nothing", "[{}] {}", "[1]", "{}]"] {
            assert!(all(text, Format::Json).is_err(), "{text}");
        }
        assert!(all("[ ]", Format::Json).unwrap().is_empty());
    }

    #[test]
    fn a_line_says_no_more_than_a_report_and_not_whether_it_is_recorded() {
        for (text, expected) in [
            (
                r#"{"category":"categories/drugs"},"requestId":"x""#,
                ": is not one JSON value",
            ),
            (r#"{"category":"categories/drugs"} {}"#, ": is not one JSON value"),
            (
                r#"{"report":{"category":"categories/drugs"},"validateOnly":true}"#,
                "validate_only: is decided by the import",
            ),
        ] {
            let items = all(text, Format::Ndjson).unwrap();
            let fault = &items[0].read.as_ref().unwrap_err()[0];
            let told = format!("{}: {}", fault.field, fault.description);
            assert!(told.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn a_report_that_is_too_large_is_passed_over() {
        let large = format!("{{\"narrative\":\"{}\"}}", "x".repeat(5 << 20));
        for (text, format) in [
            (format!("{large}\n{{}}\n"), Format::Ndjson),
            (format!("[{large},\n{{}}]"), Format::Json),
        ] {
            let items = all(&text, format).unwrap();
            assert_eq!(items.len(), 2);
            assert!(
                items[0].read.as_ref().unwrap_err()[0]
                    .description
                    .contains("larger than 4 MiB")
            );
            assert!(items[1].read.is_ok());
        }
    }
}
