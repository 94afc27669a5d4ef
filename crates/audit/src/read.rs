//! Which entries are read, and who has sight of a record.
//!
//! Entries are public: whoever may call may list them, and anyone may fetch them as files. Details are not. An auditor sees all
//! of them, on a named purpose. An agency sees those of a report or case that it has sight of *now*, which routing decides at
//! each call. That they were read is itself logged, before they are shown (`disclosure.rs`). Nobody learns from a filter what he would not be shown: what stands in the details can be asked for only by whoever gets
//! them.

use std::ops::Range;

use api::{
    event::Detail,
    routing::{CheckAccessRequest, case_service_client::CaseServiceClient},
};
use async_trait::async_trait;
use journal::{Bytes32, Entry, Time};
use prost::Message as _;
use rpc::{Failure, client::Caller};
use tonic::Code;

/// Entries that one page looks at: with a filter that few fit, it ends there and says where to go on.
const LOOKED_AT: u64 = 32_768;
/// Entries that are read at once when not all are wanted.
const WINDOW: u64 = 4_096;

/// An entry as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// What it commits to, when that was asked for.
    pub detail: Option<(Bytes32, Vec<u8>)>,
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// These indexes.
    pub indexes: Range<u64>,
    /// Only the changes of this record.
    pub record: Option<&'a str>,
    /// With what the entries commit to.
    pub with_detail: bool,
    /// At most so many.
    pub limit: u64,
}

/// Reads the log.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// The entries of a part, in log order. Of a part that names no record, one that is missing is an error: below the head's size
    /// there are no holes.
    async fn read(&self, part: Part<'_>) -> Result<Vec<Read>, sql::Error>;
}

/// Which entries are wanted: those that everything fits which is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Of this record.
    pub record: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// That this agency made, or that gave it a part.
    pub agency: Option<String>,
    /// That this system made.
    pub actor: Option<String>,
    /// From this time on.
    pub start: Option<Time>,
    /// Before this time.
    pub end: Option<Time>,
    /// With what they commit to.
    pub with_detail: bool,
}

impl Wanted {
    /// Whether it can be told only from what entries commit to.
    pub fn looks_into_details(&self) -> bool {
        self.agency.is_some() || self.actor.is_some()
    }

    fn is_everything(&self) -> bool {
        let all = Self {
            with_detail: self.with_detail,
            ..Self::default()
        };
        *self == all
    }

    fn fits(&self, read: &Read) -> Result<bool, sql::Error> {
        if self.is_everything() {
            return Ok(true);
        }
        let damaged = |what, problem: String| sql::Error::Damaged { what, problem };
        let entry = Entry::decode(&read.entry)
            .map_err(|error| damaged("log", format!("entry {} is malformed: {error}", read.index)))?;
        let header_fits = self.record.as_ref().is_none_or(|record| *record == entry.record)
            && self.kind.as_ref().is_none_or(|kind| *kind == entry.kind)
            && self.start.is_none_or(|start| entry.time >= start)
            && self.end.is_none_or(|end| entry.time < end);
        if !header_fits || !self.looks_into_details() {
            return Ok(header_fits);
        }
        let (_, detail) = read
            .detail
            .as_ref()
            .ok_or_else(|| damaged("log", format!("entry {} has no detail", read.index)))?;
        let detail = Detail::decode(&**detail)
            .map_err(|error| damaged("log", format!("the detail of entry {}: {error}", read.index)))?;
        Ok(self.agency.as_ref().is_none_or(|agency| concerns(&detail, agency))
            && self
                .actor
                .as_ref()
                .is_none_or(|actor| detail.actor.as_ref().is_some_and(|found| found.system == *actor)))
    }
}

/// Whether an agency acted, was given a part, or has to act.
fn concerns(detail: &Detail, agency: &str) -> bool {
    let acted = detail.actor.as_ref().is_some_and(|actor| actor.agency == agency);
    let has_part = detail
        .route
        .as_ref()
        .is_some_and(|route| route.lead == agency || route.supporting.iter().any(|name| name == agency));
    let has_to_act = detail.clocks.iter().any(|clock| clock.owner == agency);
    acted || has_part || has_to_act
}

/// The first `limit` entries at these indexes that are wanted, and the index to go on from when not all were looked at.
pub(crate) async fn list<R: Reader + ?Sized>(
    reader: &R,
    wanted: &Wanted,
    indexes: Range<u64>,
    limit: u64,
) -> Result<(Vec<Read>, Option<u64>), sql::Error> {
    let mut found = Vec::new();
    let mut next = indexes.start;
    // The index leads to the changes of a record; everything else has to be looked at.
    let is_direct = wanted.record.is_some();
    let window = match is_direct || wanted.is_everything() {
        true => limit,
        false => WINDOW,
    };
    while next < indexes.end && next - indexes.start < LOOKED_AT {
        let end = match is_direct {
            true => indexes.end,
            false => next.saturating_add(window).min(indexes.end),
        };
        let part = Part {
            indexes: next..end,
            record: wanted.record.as_deref(),
            with_detail: wanted.with_detail,
            limit: window,
        };
        let read = reader.read(part).await?;
        let is_all = !is_direct || (read.len() as u64) < window;
        let last = read.last().map(|read| read.index + 1);
        for read in read {
            if wanted.fits(&read)? {
                let after = read.index + 1;
                found.push(read);
                if found.len() as u64 == limit {
                    return Ok((found, Some(after).filter(|after| *after < indexes.end)));
                }
            }
        }
        next = match is_all {
            true => end,
            false => last.unwrap_or(end),
        };
    }
    Ok((found, Some(next).filter(|next| *next < indexes.end)))
}

/// Says which agency may see which record.
#[async_trait]
pub trait Sight: Send + Sync + 'static {
    /// Whether the agency, by its resource name, has sight of a report or case now.
    async fn sees(&self, agency: &str, record: &str) -> Result<bool, Failure>;
}

/// Sight as routing decides it.
#[derive(Debug)]
pub struct RoutingsSight(pub Caller);

#[async_trait]
impl Sight for RoutingsSight {
    async fn sees(&self, agency: &str, record: &str) -> Result<bool, Failure> {
        let (report, case) = match record.starts_with("cases/") {
            true => (String::new(), record.to_owned()),
            false => (record.to_owned(), String::new()),
        };
        let agency = agency.to_owned();
        let answer = CaseServiceClient::new(self.0.clone())
            .check_access(CheckAccessRequest {
                report,
                agency,
                case_name: case,
            })
            .await;
        match answer {
            Ok(answer) => Ok(answer.into_inner().allowed),
            // What is no name of a record is nobody's.
            Err(status) if status.code() == Code::InvalidArgument => Ok(false),
            Err(status) => {
                tracing::warn!(%status, "routing does not say who may see a record");
                Err(Failure::Unavailable { what: "routing" })
            }
        }
    }
}
