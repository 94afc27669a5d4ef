//! Use cases of the directory: apply, download, list, locate. No transport.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use api::routing::{
    self as proto, ApplyDirectoryRequest, ApplyDirectoryResponse, ApproveDirectoryRequest, ApproveDirectoryResponse,
    DirectorySpec, FunctionDesk, ListAgenciesRequest, ListAgenciesResponse, ListDesksRequest, ListDesksResponse,
    ListDirectoryVersionsRequest, ListDirectoryVersionsResponse, ListTerritoriesRequest, ListTerritoriesResponse,
    LocateAgencyRequest, LocateAgencyResponse, locate_agency_request::Place,
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use decision::{
    calendar::Calendars,
    directory::{AgencyId, ConfigError, Directory, Function, LIMIT, view},
};
use futures::Stream;
use jiff::civil::Date;
use journal::{Bytes32, Clock, RequestId};
use places::{Country, OnDay, TERRITORY, Territories, TerritoryCode};
use prost::Message as _;
use rpc::{Failure, Identity, Violation, Violations, page};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    active::{Active, VersionKind},
    differences,
    store::{
        self, Versions,
        versions::{Activation, Ownerless},
    },
    switching::{self, Asked, Outcome, Switching},
};

/// The directory's use cases.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) switching: Switching,
    pub(crate) calendars: Arc<Calendars>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: page::Tokens,
    pub(crate) former: Former,
}

/// The directories of before that somebody reads. Locked while one is loaded: each takes as much
/// memory as the one in force.
#[derive(Clone, Default)]
pub(crate) struct Former(Arc<Mutex<Read<Directory>>>);

/// What is read now, each once, however many read it.
struct Read<T>(HashMap<Bytes32, Weak<T>>);

impl<T> Default for Read<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Read<T> {
    fn get(&self, digest: &Bytes32) -> Option<Arc<T>> {
        self.0.get(digest).and_then(Weak::upgrade)
    }

    fn add(&mut self, digest: Bytes32, read: &Arc<T>) {
        self.0.retain(|_, read| read.strong_count() > 0);
        self.0.insert(digest, Arc::downgrade(read));
    }
}

/// A file of a directory, of which all who read it share the bytes.
fn shared(directory: &Arc<Directory>, territories: bool) -> Bytes {
    struct Agencies(Arc<Directory>);
    impl AsRef<[u8]> for Agencies {
        fn as_ref(&self) -> &[u8] {
            self.0.source().as_bytes()
        }
    }
    struct Tree(Territories);
    impl AsRef<[u8]> for Tree {
        fn as_ref(&self) -> &[u8] {
            self.0.source().as_bytes()
        }
    }
    match territories {
        true => Bytes::from_owner(Tree(directory.territories().clone())),
        false => Bytes::from_owner(Agencies(Arc::clone(directory))),
    }
}

/// How long the next part of an upload is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a file at most.
const FILE: usize = LIMIT as usize;

/// An uploaded directory.
pub(crate) struct Upload {
    spec: DirectorySpec,
    /// The etag that the version in force must have.
    expected: Option<Bytes32>,
    request_id: Option<Uuid>,
    agencies: Vec<u8>,
    territories: Vec<u8>,
}

impl Upload {
    /// Collects the parts, up to the size limit of a file.
    pub(crate) async fn receive(
        parts: impl Stream<Item = Result<ApplyDirectoryRequest, Failure>> + Unpin,
    ) -> Result<Self, Failure> {
        let (spec, mut parts) = rpc::upload::Upload::begin(parts, PATIENCE).await?;
        let mut violations = Violations::new();
        let mut size = |field: &str, size: i64, least: usize| {
            let found = usize::try_from(size).ok().filter(|size| (least..=FILE).contains(size));
            let description = format!("is {size}; the file has {least} to {FILE} bytes: is it the right one?");
            violations.check(format!("spec.{field}"), found, description)
        };
        let agencies = size("agencies_size_bytes", spec.agencies_size_bytes, 1);
        let territories = size("territories_size_bytes", spec.territories_size_bytes, 0);
        let expected = violations.note(etag("spec.etag", &spec.etag))?;
        let request_id = violations.request_id("spec.request_id", &spec.request_id);
        let (first, second, expected) = violations.finish(|| Some((agencies?, territories?, expected?)))?;
        let mut agencies = Vec::new();
        while let Some(part) = parts.next((first + second) as u64).await? {
            agencies.extend_from_slice(&part);
        }
        Ok(Self {
            territories: agencies.split_off(first),
            agencies,
            spec,
            expected,
            request_id,
        })
    }

    /// What tells a repeat from another request.
    fn content(&self) -> Vec<u8> {
        let spec = DirectorySpec {
            request_id: String::new(),
            ..self.spec.clone()
        };
        let files = Sha256::new()
            .chain_update(&self.agencies)
            .chain_update(&self.territories);
        [files.finalize().to_vec(), spec.encode_to_vec()].concat()
    }

    /// The directory that the upload makes of the active one.
    fn directory(&self, active: &Directory) -> Result<Directory, Failure> {
        let agencies = text("agencies", &self.agencies)?;
        let territories = match self.territories.is_empty() {
            true => active.territories().clone(),
            false => Territories::parse(text("territories", &self.territories)?).map_err(|error| {
                let faults = error.faults.iter();
                Failure::InvalidInput(
                    faults
                        .map(|fault| Violation::new("territories", fault.to_string()))
                        .collect(),
                )
            })?,
        };
        let directory = match (self.spec.changes, self.territories.is_empty()) {
            (false, _) => Directory::parse(agencies, &territories),
            (true, true) => active.with_changes(agencies),
            // Read the active agencies over the new tree first, then apply the changes.
            (true, false) => {
                Directory::parse(active.source(), &territories).and_then(|directory| directory.with_changes(agencies))
            }
        };
        directory.map_err(|error| invalid("agencies", &error))
    }
}

fn text<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes).map_err(|error| Failure::invalid(field, format!("is not UTF-8: {error}")))
}

/// One violation per fault.
fn invalid(field: &str, error: &ConfigError) -> Failure {
    match error {
        ConfigError::Faults { faults, .. } => {
            Failure::InvalidInput(faults.iter().map(|fault| Violation::new(field, fault)).collect())
        }
        ConfigError::Shape { source, .. } => Failure::invalid(field, source.to_string()),
        ConfigError::TooLarge { .. } => Failure::invalid(field, error.to_string()),
    }
}

impl Service {
    /// Checks a directory and activates it, unless `validate_only` is set.
    /// `names_cases`: whether the caller may learn which cases would lose their owner.
    pub(crate) async fn apply(
        &self,
        caller: &Identity,
        upload: Upload,
        names_cases: bool,
    ) -> Result<ApplyDirectoryResponse, Failure> {
        let method = "ApplyDirectory";
        let request = upload.request_id.filter(|_| !upload.spec.validate_only);
        let content = switching::content(caller, &upload.content());
        let request = request.map(|id| RequestId::new(&caller.system, id, method, &content));
        let (expected, validate_only) = (upload.expected, upload.spec.validate_only);
        let upload = Arc::new(upload);
        let proposed = |active: Arc<Active>| self.proposed(Arc::clone(&upload), expected, active);
        if validate_only {
            let (next, mut response) = proposed(self.versions.active()).await?;
            let ownerless = self.versions.ownerless(&next.directory).await?;
            response.ownerless = told(&ownerless, names_cases);
            return Ok(response);
        }
        let propose = |active: Arc<Active>| {
            let (seen, proposed) = (active.digests(), proposed(active));
            async move {
                let (next, response) = proposed.await?;
                let activation = Activation {
                    next,
                    seen,
                    hand: switching::first(caller),
                    difference: differences::of_directory(&response),
                    purpose: String::new(),
                    actor: caller.actor(&seen.directory),
                    traceparent: telemetry::traceparent(),
                    request: None,
                };
                Ok((activation, response))
            }
        };
        let tell = |response, outcome| ApplyDirectoryResponse {
            applied: outcome == Outcome::Done,
            proposed: outcome == Outcome::Proposed,
            ..response
        };
        let asked = Asked {
            kind: VersionKind::Directory,
            request,
            caller,
            names_cases,
        };
        self.switching.switch(asked, propose, tell).await
    }

    /// Puts the proposed directory in force, as the second of two people, or shows what would
    /// become of that.
    pub(crate) async fn approve(
        &self,
        caller: &Identity,
        request: &ApproveDirectoryRequest,
        names_cases: bool,
    ) -> Result<ApproveDirectoryResponse, Failure> {
        let wanted = etag("etag", &request.etag)?;
        if wanted.is_none() && !request.validate_only {
            return Err(Failure::invalid("etag", "is required: it says what is approved"));
        }
        let content = switching::content(caller, request.etag.as_bytes());
        let id = rpc::request_id(caller, "ApproveDirectory", &request.request_id, &content)?;
        let id = id.filter(|_| !request.validate_only);
        let hand = switching::second(caller, request.validate_only)?;
        let propose = |active: Arc<Active>| {
            let hand = hand.clone();
            async move {
                let kind = VersionKind::Directory;
                let proposal = self.switching.proposal(kind, wanted).await?;
                let directory = self.versions.directory(&proposal.digest).await?;
                let directory = Arc::new(directory.ok_or(Failure::NotFound { what: "directory" })?);
                let checked = self.calendars.check(&directory);
                checked.map_err(|error| invalid("etag", &error))?;
                let next = active
                    .with_directory(directory)
                    .map_err(|error| invalid("etag (for the rule set in force)", &error))?;
                let applied = view::applied(&next.directory, &active.directory, &next.functions());
                let activation = Activation {
                    next,
                    seen: active.digests(),
                    hand,
                    difference: differences::of_directory(&applied),
                    purpose: String::new(),
                    actor: caller.actor(&active.digests().directory),
                    traceparent: telemetry::traceparent(),
                    request: None,
                };
                let response = ApproveDirectoryResponse {
                    etag: applied.etag,
                    applied: false,
                    differences: applied.differences,
                    difference_count: applied.difference_count,
                    proposed_by: proposal.by.system,
                    propose_time: Some(proposal.propose_time.to_proto()),
                    findings: applied.findings,
                };
                Ok((activation, response))
            }
        };
        let tell = |response, outcome| ApproveDirectoryResponse {
            applied: outcome == Outcome::Done,
            ..response
        };
        let asked = Asked {
            kind: VersionKind::Directory,
            request: id,
            caller,
            names_cases,
        };
        self.switching.switch(asked, propose, tell).await
    }

    /// The proposal of an upload, if the active directory is the expected one.
    async fn proposed(
        &self,
        upload: Arc<Upload>,
        expected: Option<Bytes32>,
        active: Arc<Active>,
    ) -> Result<(Active, ApplyDirectoryResponse), Failure> {
        if expected.is_some_and(|expected| expected != active.digests().directory) {
            return Err(Failure::EtagMismatch);
        }
        let calendars = Arc::clone(&self.calendars);
        // Parsing a large file would block the runtime.
        let proposed = tokio::task::spawn_blocking(move || propose(&upload, &active, &calendars));
        proposed.await.map_err(|error| Failure::Internal(Box::new(error)))?
    }

    /// The file of agencies of a version, or its file of territories.
    pub(crate) async fn source(&self, wanted: &str, territories: bool) -> Result<(Bytes, Bytes32), Failure> {
        let active = self.versions.active();
        let mut violations = Violations::new();
        let digest = match wanted {
            "" => Some(active.digests().directory),
            name => violations
                .name("name", names::DIRECTORY_VERSION, name)
                .map(|digest| digest.0),
        };
        let digest = violations.finish(|| digest)?;
        let directory = match digest == active.digests().directory {
            true => Arc::clone(&active.directory),
            false => self.former(digest).await?,
        };
        Ok((shared(&directory, territories), digest))
    }

    /// A directory of before.
    async fn former(&self, digest: Bytes32) -> Result<Arc<Directory>, Failure> {
        let mut read = self.former.0.lock().await;
        if let Some(directory) = read.get(&digest) {
            return Ok(directory);
        }
        let directory = self.versions.directory(&digest).await?;
        let directory = Arc::new(directory.ok_or(Failure::NotFound { what: "directory" })?);
        read.add(digest, &directory);
        Ok(directory)
    }

    pub(crate) async fn list_versions(
        &self,
        request: &ListDirectoryVersionsRequest,
    ) -> Result<ListDirectoryVersionsResponse, Failure> {
        const FILTER: &str = "ListDirectoryVersions";
        let seal = self.tokens.seal().await?;
        let size = page::size(request.page_size)?;
        let below = seal.position(FILTER, &request.page_token, |cursor| cursor.parse().ok())?;
        let kind = VersionKind::Directory;
        let mut past = self.versions.activations(kind, below, size + 1).await?;
        Ok(ListDirectoryVersionsResponse {
            next_page_token: seal.cut(&mut past, size, FILTER, |last| last.sequence.to_string()),
            versions: past
                .into_iter()
                .map(|past| proto::DirectoryVersion {
                    name: names::DIRECTORY_VERSION.of(names::Digest(past.digest)),
                    etag: HEXLOWER.encode(&past.digest),
                    activate_time: Some(past.activate_time.to_proto()),
                    activated_by: past.activated_by,
                    event_id: past.event_id,
                })
                .collect(),
        })
    }

    pub(crate) async fn list_territories(
        &self,
        request: &ListTerritoriesRequest,
    ) -> Result<ListTerritoriesResponse, Failure> {
        let directory = &self.versions.active().directory;
        let tree = directory.territories();
        let on_day = self.tree(directory);
        let seal = self.tokens.seal().await?;
        let size = page::size(request.page_size)?;
        let parent = match request.parent.as_str() {
            "" => None,
            name => Some(known(tree, "parent", name)?),
        };
        let filter = format!("ListTerritories parent={}", request.parent);
        let after = seal.position(&filter, &request.page_token, |cursor| cursor.parse().ok())?;
        let mut found: Vec<_> = match parent {
            None => tree.after(after).take(size as usize + 1).collect(),
            Some(parent) => on_day
                .children(parent)
                .filter(|child| after.is_none_or(|after| child.code > after))
                .take(size as usize + 1)
                .collect(),
        };
        Ok(ListTerritoriesResponse {
            next_page_token: seal.cut(&mut found, size, &filter, |last| last.code.to_string()),
            territories: found
                .iter()
                .map(|territory| view::territory(on_day, territory))
                .collect(),
        })
    }

    pub(crate) async fn list_agencies(&self, request: &ListAgenciesRequest) -> Result<ListAgenciesResponse, Failure> {
        let directory = &self.versions.active().directory;
        let tree = directory.territories();
        let on_day = self.tree(directory);
        let seal = self.tokens.seal().await?;
        let size = page::size(request.page_size)?;
        let function = match request.agency_function.as_str() {
            "" => None,
            text => Some(Function::new(text).map_err(|error| Failure::invalid("agency_function", error.to_string()))?),
        };
        let territory = match request.territory.as_str() {
            "" => None,
            name => Some(known(tree, "territory", name)?),
        };
        let filter = format!("ListAgencies {} {}", request.agency_function, request.territory);
        let after = seal.position(&filter, &request.page_token, |cursor| AgencyId::new(cursor).ok())?;
        let mut found: Vec<_> = directory
            .after(after.as_ref())
            .filter(|agency| {
                function
                    .as_ref()
                    .is_none_or(|function| agency.functions.contains(function))
            })
            .filter(|agency| territory.is_none_or(|territory| on_day.contains(territory, agency.territory)))
            .take(size as usize + 1)
            .collect();
        Ok(ListAgenciesResponse {
            next_page_token: seal.cut(&mut found, size, &filter, |last| last.id.to_string()),
            agencies: found.into_iter().map(view::agency).collect(),
        })
    }

    pub(crate) fn locate(&self, request: &LocateAgencyRequest) -> Result<LocateAgencyResponse, Failure> {
        let active = self.versions.active();
        let mut violations = Violations::new();
        let function = Function::new(&request.agency_function)
            .map_err(|error| violations.add("agency_function", error.to_string()))
            .ok();
        let day = self.day(&active.directory, request.effective_date.as_ref(), &mut violations);
        let category = category(&request.category, &mut violations);
        let place = match &request.place {
            None => {
                violations.add("territory", "is missing; name a territory, or a country by region_code");
                None
            }
            Some(Place::Territory(name)) => violations
                .note(known(active.directory.territories(), "territory", name))?
                .map(Ok),
            Some(Place::RegionCode(code)) => violations
                .check(
                    "region_code",
                    code.to_ascii_uppercase().parse::<Country>().ok(),
                    "must be a country outside the tree, by ISO 3166-1, such as `US`",
                )
                .map(Err),
        };
        let (function, place) = violations.finish(|| Some((function?, place?)))?;
        Ok(match place {
            Err(country) => LocateAgencyResponse {
                outcome: format!("{country} is outside the tree of territories: no agency there"),
                ..Default::default()
            },
            Ok(place) => view::located(&active.directory, &function, category, day, place),
        })
    }

    pub(crate) async fn list_desks(&self, request: &ListDesksRequest) -> Result<ListDesksResponse, Failure> {
        let active = self.versions.active();
        let directory = &active.directory;
        let mut violations = Violations::new();
        let day = self.day(&active.directory, request.effective_date.as_ref(), &mut violations);
        let category = category(&request.category, &mut violations);
        let place = violations.note(known(directory.territories(), "territory", &request.territory))?;
        let filter = format!("ListDesks {} {} {day}", request.territory, request.category);
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let after = violations.note(seal.decode(&filter, &request.page_token))?;
        let (place, size, after) = violations.finish(|| Some((place?, size?, after?)))?;
        let desk = |function: &Function| FunctionDesk {
            agency_function: function.to_string(),
            located: Some(view::located(directory, function, category, day, place)),
        };
        let functions = directory.functions().into_iter();
        let mut found: Vec<_> = functions
            .filter(|function| after.as_deref().is_none_or(|after| function.as_str() > after))
            .take(size as usize + 1)
            .collect();
        Ok(ListDesksResponse {
            next_page_token: seal.cut(&mut found, size, &filter, ToString::to_string),
            desks: found.into_iter().map(desk).collect(),
        })
    }

    pub(crate) fn territory(&self, name: &str) -> Result<proto::Territory, Failure> {
        let active = self.versions.active();
        let tree = active.directory.territories();
        let mut violations = Violations::new();
        let code = violations.name("name", TERRITORY, name);
        let code = violations.finish(|| code)?;
        let territory = tree.get(code).ok_or(Failure::NotFound { what: "territory" })?;
        Ok(view::territory(self.tree(&active.directory), &territory))
    }

    pub(crate) fn agency(&self, name: &str) -> Result<proto::Agency, Failure> {
        let mut violations = Violations::new();
        let id = violations.name("name", names::AGENCY, name);
        let id = violations.finish(|| id)?;
        let active = self.versions.active();
        let agency = active
            .directory
            .agency(&id)
            .ok_or(Failure::NotFound { what: "agency" })?;
        Ok(view::agency(agency))
    }

    /// The tree as it stands today.
    fn tree<'a>(&self, directory: &'a Directory) -> OnDay<'a> {
        directory.territories().on(directory.day(self.clock.now()))
    }

    fn day(
        &self,
        directory: &Directory,
        date: Option<&api::google::r#type::Date>,
        violations: &mut Violations,
    ) -> Date {
        let today = directory.day(self.clock.now());
        date.map_or(today, |date| {
            violations
                .check(
                    "effective_date",
                    api::day(date),
                    "is not a day with year, month and day",
                )
                .unwrap_or(today)
        })
    }
}

/// Cases that would lose their owner, for a caller that may learn which, or how many only.
fn told(ownerless: &Ownerless, names_cases: bool) -> Vec<proto::OwnerlessCase> {
    let one = |(owner, case): &(AgencyId, Uuid)| proto::OwnerlessCase {
        case_name: if names_cases { store::name(*case) } else { String::new() },
        owner: owner.resource_name(),
    };
    ownerless.cases.iter().map(one).collect()
}

/// Reads and checks an upload, and compares it with the active directory.
fn propose(
    upload: &Upload,
    active: &Active,
    calendars: &Calendars,
) -> Result<(Active, ApplyDirectoryResponse), Failure> {
    let directory = Arc::new(upload.directory(&active.directory)?);
    calendars
        .check(&directory)
        .map_err(|error| invalid("agencies", &error))?;
    let next = active
        .with_directory(directory)
        .map_err(|error| invalid("agencies (for the rule set in force)", &error))?;
    let response = view::applied(&next.directory, &active.directory, &next.functions());
    Ok((next, response))
}

/// The code of a territory in the tree, abolished or not.
fn known(tree: &Territories, field: &str, name: &str) -> Result<TerritoryCode, Failure> {
    let mut violations = Violations::new();
    let code = violations.name(field, TERRITORY, name);
    let code = violations.finish(|| code)?;
    match tree.get(code) {
        Some(_) => Ok(code),
        None => Err(Failure::invalid(
            field,
            format!("there never was a territory {code}; places outside the tree are countries, by ISO 3166"),
        )),
    }
}

/// The id of a category. The directory does not know which categories exist.
fn category<'a>(name: &'a str, violations: &mut Violations) -> Option<&'a str> {
    if name.is_empty() {
        return None;
    }
    let categories = names::Collection::CATEGORIES;
    violations.check("category", categories.id(name), categories.fault())
}

fn etag(field: &str, text: &str) -> Result<Option<Bytes32>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = HEXLOWER.decode(text.as_bytes()).ok();
    let digest = bytes.and_then(|bytes| Bytes32::try_from(bytes.as_slice()).ok());
    digest
        .map(Some)
        .ok_or_else(|| Failure::invalid(field, "must be a version's etag, 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readers of several versions by turns share a copy of each, and nothing is kept of what nobody
    /// reads.
    #[test]
    fn each_version_that_is_read_is_there_once() {
        let mut read = Read::default();
        let (first, second) = (Arc::new(1), Arc::new(2));
        read.add([1; 32], &first);
        read.add([2; 32], &second);
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&read.get(&[1; 32]).unwrap(), &first));
            assert!(Arc::ptr_eq(&read.get(&[2; 32]).unwrap(), &second));
        }
        drop(first);
        assert!(read.get(&[1; 32]).is_none());
        let third = Arc::new(3);
        read.add([3; 32], &third);
        assert_eq!(read.0.len(), 2);
    }

    /// Thousands of readers hold one copy.
    #[test]
    fn readers_of_a_directory_share_its_bytes() {
        let directory = Arc::new(Directory::shipped().clone());
        for territories in [false, true] {
            let (first, second) = (shared(&directory, territories), shared(&directory, territories));
            assert_eq!(first.as_ptr(), second.as_ptr());
            let source = match territories {
                true => directory.territories().source(),
                false => directory.source(),
            };
            assert_eq!((first.as_ptr(), first.len()), (source.as_ptr(), source.len()));
        }
    }
}
