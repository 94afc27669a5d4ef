//! Finds entries, and decides by routing's answer which agency has sight of a record.
//!
//! Entries are public: callers list them, and anybody fetches them as files. What they commit to is
//! not. Auditors see all details, for a stated purpose. An agency sees the details of a report or
//! case that it has sight of *now*, which routing decides at each call. The reading is itself
//! logged before details are shown (`disclosure.rs`). A record's chain, that is which entries are
//! its changes, is shown to auditors, operators, and agencies with sight of it. Filters reveal
//! nothing that the caller would not be shown: only those who get the details may filter by them.

use std::ops::Range;

use api::{
    event::{Detail, Opening},
    routing::{
        CheckAccessRequest, check_access_request::Target, routing_inbound_service_client::RoutingInboundServiceClient,
    },
};
use async_trait::async_trait;
use journal::{Entry, Opened, Time};
use names::Collection;
use prost::Message as _;
use rpc::{Failure, client::Caller};
use tonic::Code;

/// Maximum number of entries examined per page: with a filter that matches few, the page ends
/// there.
const LOOKED_AT: u64 = 32_768;
/// Entries read at once if a filter selects some of them.
const WINDOW: u64 = 4_096;

/// An entry with its openings, if requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its index.
    pub index: u64,
    /// Its bytes.
    pub entry: Vec<u8>,
    /// Opens its chain, if requested; a mark has none.
    pub chain: Option<Opening>,
    /// Opens its detail, if requested; a mark has none.
    pub detail: Option<Opening>,
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// These indexes.
    pub indexes: Range<u64>,
    /// Only the changes of this record.
    pub record: Option<&'a str>,
    /// With all openings; the changes of one record come with their chains in any case.
    pub with_detail: bool,
    /// Maximum number of entries.
    pub limit: u64,
}

/// Reads the log.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// The entries of a part, in log order. A missing one is an error unless the part names a
    /// record: there are no holes below the head's size.
    async fn read(&self, part: Part<'_>) -> Result<Vec<Read>, sql::Error>;
}

/// Selects the entries that match all fields that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Of this record.
    pub record: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Made by this agency, or giving it a part.
    pub agency: Option<String>,
    /// Made by this system.
    pub actor: Option<String>,
    /// Not before this time.
    pub start: Option<Time>,
    /// Before this time.
    pub end: Option<Time>,
    /// With all openings.
    pub with_detail: bool,
}

impl Filter {
    /// Whether matching needs the details.
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
        let header_fits =
            self.start.is_none_or(|start| entry.time >= start) && self.end.is_none_or(|end| entry.time < end);
        let is_time_all = self.record.is_none() && self.kind.is_none() && !self.looks_into_details();
        if !header_fits || is_time_all {
            return Ok(header_fits);
        }
        // A mark has no record and no kind.
        let Some(chain) = &read.chain else {
            return Ok(false);
        };
        let opened = Opened::new(&read.entry, chain.into())
            .map_err(|error| damaged("log", format!("entry {}: {error}", read.index)))?;
        let chain_fits = self.record.as_ref().is_none_or(|record| *record == opened.record)
            && self.kind.as_ref().is_none_or(|kind| *kind == opened.kind);
        if !chain_fits || !self.looks_into_details() {
            return Ok(chain_fits);
        }
        let detail = read
            .detail
            .as_ref()
            .ok_or_else(|| damaged("log", format!("entry {} has no detail", read.index)))?;
        let detail = Detail::decode(&*detail.content)
            .map_err(|error| damaged("log", format!("the detail of entry {}: {error}", read.index)))?;
        Ok(self.agency.as_ref().is_none_or(|agency| concerns(&detail, agency))
            && self
                .actor
                .as_ref()
                .is_none_or(|actor| detail.actor.as_ref().is_some_and(|found| found.system == *actor)))
    }
}

/// Whether an agency acted, was given a part, must act, or missed that.
fn concerns(detail: &Detail, agency: &str) -> bool {
    let acted = detail.actor.as_ref().is_some_and(|actor| actor.agency == agency);
    let has_part = detail
        .route
        .as_ref()
        .is_some_and(|route| route.lead == agency || route.supporting.iter().any(|name| name == agency));
    let has_to_act = detail.clocks.iter().any(|clock| clock.owner == agency);
    let missed = detail.missed_clock.as_ref().is_some_and(|clock| clock.owner == agency);
    acted || has_part || has_to_act || missed || detail.assistant == agency
}

/// The first `limit` matching entries at these indexes, and the index to continue from unless all
/// were examined.
pub(crate) async fn list<R: Reader + ?Sized>(
    reader: &R,
    wanted: &Filter,
    indexes: Range<u64>,
    limit: u64,
) -> Result<(Vec<Read>, Option<u64>), sql::Error> {
    let mut found = Vec::new();
    let mut next = indexes.start;
    // Only the changes of a record are indexed; for everything else, entries are examined.
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

/// Decides which agency may see which record.
#[async_trait]
pub trait Sight: Send + Sync + 'static {
    /// Whether the agency, by its resource name, has sight of a report or case now.
    async fn sees(&self, agency: &str, record: &str) -> Result<bool, Failure>;
}

/// Sight, decided by routing.
#[derive(Debug)]
pub struct RoutingsSight(pub Caller);

#[async_trait]
impl Sight for RoutingsSight {
    async fn sees(&self, agency: &str, record: &str) -> Result<bool, Failure> {
        let record = record.to_owned();
        let target = Some(match Collection::CASES.id(&record).is_some() {
            true => Target::CaseName(record),
            false => Target::Report(record),
        });
        let agency = agency.to_owned();
        let answer = RoutingInboundServiceClient::new(self.0.clone())
            .check_access(CheckAccessRequest { target, agency })
            .await;
        match answer {
            Ok(answer) => Ok(answer.into_inner().allowed),
            // Nobody has sight of a malformed name.
            Err(status) if status.code() == Code::InvalidArgument => Ok(false),
            Err(status) => {
                tracing::warn!(%status, "asking routing who may see a record failed");
                Err(Failure::Unavailable { what: "routing" })
            }
        }
    }
}
