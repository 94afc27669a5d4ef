//! `remit.routing.v1.DirectoryService`: decodes, calls, encodes.

use std::{collections::BTreeMap, sync::Arc};

use api::routing::{
    self as proto, ApplyDirectoryRequest, ApplyDirectoryResponse, FunctionDesk, GetAgencyRequest, GetAgencyResponse,
    GetDirectoryRequest, GetDirectoryResponse, GetTerritoryRequest, GetTerritoryResponse, ListAgenciesRequest,
    ListAgenciesResponse, ListDesksRequest, ListDesksResponse, ListDirectoryVersionsRequest,
    ListDirectoryVersionsResponse, ListTerritoriesRequest, ListTerritoriesResponse, LocateAgencyRequest,
    LocateAgencyResponse, directory_service_server::DirectoryService, locate_agency_request::Place,
};
use data_encoding::HEXLOWER;
use futures::{StreamExt as _, stream::BoxStream};
use jiff::civil::Date;
use journal::{Bytes32, Clock};
use places::{Country, Territories, TerritoryCode};
use rpc::{Failure, Identity, Violation, access, caller, page};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    active::{Active, VersionKind},
    calendar::Calendars,
    directory::{self, AgencyId, ConfigError, Directory, Function, LIMIT},
    directory_view,
    store::{
        self, Versions,
        versions::{Activated, Activation, Ownerless},
    },
};

/// Cases that a refusal names: it travels in headers, which have a limit.
const NAMED: usize = 20;
/// Bytes of a file in one message.
const PART: usize = 64 << 10;
/// How often a switch is proposed again, when others come first each time.
const TRIES: usize = 8;

/// The service.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) calendars: Arc<Calendars>,
    pub(crate) wake: Arc<dyn Fn() + Send + Sync>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A directory as it was sent.
#[derive(Default)]
struct Upload {
    changes: bool,
    validate_only: bool,
    etag: String,
    agencies: Vec<u8>,
    territories: Vec<u8>,
}

impl Upload {
    /// Takes the parts, no more than files have.
    async fn receive(mut parts: Streaming<ApplyDirectoryRequest>) -> Result<Self, Status> {
        let mut upload: Option<Self> = None;
        while let Some(part) = parts.message().await? {
            let upload = upload.get_or_insert_with(|| Self {
                changes: part.changes,
                validate_only: part.validate_only,
                etag: part.etag,
                ..Self::default()
            });
            for (field, file, bytes) in [
                ("agencies", &mut upload.agencies, &part.agencies),
                ("territories", &mut upload.territories, &part.territories),
            ] {
                if (file.len() + bytes.len()) as u64 > LIMIT {
                    let problem = format!("is larger than {} MB: is it the right file?", LIMIT / 1_000_000);
                    return Err(Failure::invalid(field, problem).into());
                }
                file.extend_from_slice(bytes);
            }
        }
        upload.ok_or_else(|| Failure::invalid("agencies", "is missing: send the file").into())
    }

    /// The directory that it makes, where this one is in force.
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
        let directory = match (self.changes, self.territories.is_empty()) {
            (false, _) => Directory::parse(agencies, &territories),
            (true, true) => active.with_changes(agencies),
            // Over the new tree, what is there comes first.
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

/// Each fault by itself.
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
    async fn apply(&self, caller: &Identity, upload: Upload) -> Result<ApplyDirectoryResponse, Failure> {
        let expected = etag(&upload.etag)?;
        let upload = Arc::new(upload);
        for _ in 0..TRIES {
            let active = self.versions.active();
            let seen = active.digests();
            if expected.is_some_and(|expected| expected != seen.directory) {
                return Err(Failure::EtagMismatch);
            }
            let (next, mut response) = {
                let (upload, calendars) = (Arc::clone(&upload), Arc::clone(&self.calendars));
                // Off the runtime: reading a large file takes a moment.
                let proposed = tokio::task::spawn_blocking(move || propose(&upload, &active, &calendars));
                proposed.await.map_err(|error| Failure::Internal(Box::new(error)))??
            };
            if upload.validate_only {
                let ownerless = self.ownerless(&next.directory).await?;
                response.ownerless = ownerless
                    .cases
                    .iter()
                    .map(|(owner, case)| proto::OwnerlessCase {
                        case_name: store::name(*case),
                        owner: owner.resource_name(),
                    })
                    .collect();
                return Ok(response);
            }
            let activation = Activation {
                next,
                seen,
                purpose: String::new(),
                actor: caller.actor(&seen.directory),
                traceparent: telemetry::traceparent(),
            };
            let (versions, now) = (Arc::clone(&self.versions), self.clock.now());
            let activated = journal::uncancelled(async move { versions.activate(&activation, now).await }).await?;
            match activated {
                Activated::Done(_) => {
                    (self.wake)();
                    response.applied = true;
                    return Ok(response);
                }
                Activated::Unchanged => return Ok(response),
                Activated::Ownerless(ownerless) => return Err(refused(&ownerless)),
                Activated::Outdated => {}
            }
        }
        Err(Failure::Overloaded)
    }

    async fn ownerless(&self, directory: &Arc<Directory>) -> Result<Ownerless, Failure> {
        let (versions, directory) = (Arc::clone(&self.versions), Arc::clone(directory));
        Ok(journal::uncancelled(async move { versions.ownerless(&directory).await }).await?)
    }

    /// The file of agencies of a version, or of its territories.
    async fn source(&self, wanted: &str, territories: bool) -> Result<(Vec<u8>, Bytes32), Failure> {
        let active = self.versions.active();
        let digest = etag(wanted)?.unwrap_or(active.digests().directory);
        let kept = match digest == active.digests().directory {
            true => None,
            false => self.versions.directory(&digest).await?,
        };
        let directory = match &kept {
            Some(kept) => kept,
            None if digest == active.digests().directory => &*active.directory,
            None => return Err(Failure::NotFound { what: "directory" }),
        };
        let source = match territories {
            true => directory.territories().source(),
            false => directory.source(),
        };
        Ok((source.as_bytes().to_vec(), digest))
    }

    async fn list_versions(
        &self,
        request: &ListDirectoryVersionsRequest,
    ) -> Result<ListDirectoryVersionsResponse, Failure> {
        const FILTER: &str = "ListDirectoryVersions";
        let size = page::size(request.page_size)?;
        let below = page::decode(FILTER, &request.page_token)?.and_then(|cursor| cursor.parse().ok());
        let kind = VersionKind::Directory;
        let mut past = self.versions.activations(kind, below, size + 1).await?;
        Ok(ListDirectoryVersionsResponse {
            next_page_token: page::cut(&mut past, size, FILTER, |last| last.sequence.to_string()),
            versions: past
                .into_iter()
                .map(|past| proto::DirectoryVersion {
                    etag: HEXLOWER.encode(&past.digest),
                    activate_time: Some(past.activate_time.to_proto()),
                    activated_by: past.activated_by,
                    event_id: past.event_id,
                })
                .collect(),
        })
    }

    fn list_territories(&self, request: &ListTerritoriesRequest) -> Result<ListTerritoriesResponse, Failure> {
        let directory = &self.versions.active().directory;
        let tree = directory.territories();
        let size = page::size(request.page_size)?;
        let parent = match request.parent.as_str() {
            "" => None,
            name => Some(known(tree, "parent", name)?),
        };
        let filter = format!("ListTerritories parent={}", request.parent);
        let after = page::decode(&filter, &request.page_token)?.and_then(|cursor| cursor.parse().ok());
        let mut found: Vec<_> = match parent {
            None => tree.after(after).take(size as usize + 1).collect(),
            Some(parent) => tree
                .children(parent)
                .filter(|child| after.is_none_or(|after| child.code > after))
                .take(size as usize + 1)
                .collect(),
        };
        Ok(ListTerritoriesResponse {
            next_page_token: page::cut(&mut found, size, &filter, |last| last.code.to_string()),
            territories: found
                .iter()
                .map(|territory| directory_view::territory(tree, territory))
                .collect(),
        })
    }

    fn list_agencies(&self, request: &ListAgenciesRequest) -> Result<ListAgenciesResponse, Failure> {
        let directory = &self.versions.active().directory;
        let tree = directory.territories();
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
        let after = page::decode(&filter, &request.page_token)?.and_then(|cursor| AgencyId::new(&cursor).ok());
        let mut found: Vec<_> = directory
            .after(after.as_ref())
            .filter(|agency| {
                function
                    .as_ref()
                    .is_none_or(|function| agency.functions.contains(function))
            })
            .filter(|agency| territory.is_none_or(|territory| tree.contains(territory, agency.territory)))
            .take(size as usize + 1)
            .collect();
        Ok(ListAgenciesResponse {
            next_page_token: page::cut(&mut found, size, &filter, |last| last.id.to_string()),
            agencies: found.into_iter().map(directory_view::agency).collect(),
        })
    }

    fn locate(&self, request: &LocateAgencyRequest) -> Result<LocateAgencyResponse, Failure> {
        let active = self.versions.active();
        let mut violations = Vec::new();
        let function = Function::new(&request.agency_function)
            .map_err(|error| violations.push(Violation::new("agency_function", error.to_string())))
            .ok();
        let day = self.day(request.effective_date.as_ref(), &mut violations);
        let category = category(&request.category, &mut violations);
        let place = match &request.place {
            None => Err(Failure::invalid(
                "territory",
                "is missing; name a territory, or a country by region_code",
            )),
            Some(Place::Territory(name)) => known(active.directory.territories(), "territory", name).map(Ok),
            Some(Place::RegionCode(code)) => match code.to_ascii_uppercase().parse::<Country>() {
                Ok(country) => Ok(Err(country)),
                Err(_) => Err(Failure::invalid(
                    "region_code",
                    "must be a country outside the tree, by ISO 3166-1, such as `US`",
                )),
            },
        };
        let place = place.map_err(|failure| violations.extend(violations_of(failure))).ok();
        let (Some(function), Some(place), true) = (function, place, violations.is_empty()) else {
            return Err(Failure::InvalidInput(violations));
        };
        Ok(match place {
            Err(country) => LocateAgencyResponse {
                outcome: format!("{country} is outside the tree of territories: no agency there"),
                ..Default::default()
            },
            Ok(place) => directory_view::located(&active.directory, &function, category, day, place),
        })
    }

    fn list_desks(&self, request: &ListDesksRequest) -> Result<ListDesksResponse, Failure> {
        let active = self.versions.active();
        let directory = &active.directory;
        let mut violations = Vec::new();
        let day = self.day(request.effective_date.as_ref(), &mut violations);
        let category = category(&request.category, &mut violations);
        let place = known(directory.territories(), "territory", &request.territory)
            .map_err(|failure| violations.extend(violations_of(failure)))
            .ok();
        let filter = format!("ListDesks {} {} {day}", request.territory, request.category);
        let page = page::size(request.page_size)
            .and_then(|size| Ok((size, page::decode(&filter, &request.page_token)?)))
            .map_err(|failure| violations.extend(violations_of(failure)))
            .ok();
        let (Some(place), Some((size, after)), true) = (place, page, violations.is_empty()) else {
            return Err(Failure::InvalidInput(violations));
        };
        let desk = |function: &Function| FunctionDesk {
            agency_function: function.to_string(),
            located: Some(directory_view::located(directory, function, category, day, place)),
        };
        let functions = directory.functions().into_iter();
        let mut found: Vec<_> = functions
            .filter(|function| after.as_deref().is_none_or(|after| function.as_str() > after))
            .take(size as usize + 1)
            .collect();
        Ok(ListDesksResponse {
            next_page_token: page::cut(&mut found, size, &filter, |last| last.to_string()),
            desks: found.into_iter().map(desk).collect(),
        })
    }

    fn day(&self, date: Option<&api::google::r#type::Date>, violations: &mut Vec<Violation>) -> Date {
        let today = directory::day(self.clock.now());
        date.map_or(today, |date| {
            api::day(date).unwrap_or_else(|| {
                violations.push(Violation::new(
                    "effective_date",
                    "is not a day with year, month and day",
                ));
                today
            })
        })
    }
}

/// Reads, checks and compares what was sent.
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
    let response = directory_view::applied(&next.directory, &active.directory, &next.functions());
    Ok((next, response))
}

/// A territory that the tree has, in force or abolished.
fn known(tree: &Territories, field: &str, name: &str) -> Result<TerritoryCode, Failure> {
    let code = TerritoryCode::from_resource_name(name)
        .map_err(|_| Failure::invalid(field, "must be the name of a territory, such as `territories/320500`"))?;
    match tree.get(code) {
        Some(_) => Ok(code),
        None => Err(Failure::invalid(
            field,
            format!("there never was a territory {code}; places outside the tree are countries, by ISO 3166"),
        )),
    }
}

/// The id of a category; whether there is such a one, the directory does not know.
fn category<'a>(name: &'a str, violations: &mut Vec<Violation>) -> Option<&'a str> {
    if name.is_empty() {
        return None;
    }
    let id = name.strip_prefix("categories/").filter(|id| !id.is_empty());
    if id.is_none() {
        let problem = "must be the name of a category, such as `categories/fraud.loan`";
        violations.push(Violation::new("category", problem));
    }
    id
}

fn violations_of(failure: Failure) -> Vec<Violation> {
    match failure {
        Failure::InvalidInput(violations) => violations,
        _ => Vec::new(),
    }
}

fn etag(text: &str) -> Result<Option<Bytes32>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    let bytes = HEXLOWER.decode(text.as_bytes()).ok();
    let digest = bytes.and_then(|bytes| Bytes32::try_from(bytes.as_slice()).ok());
    digest
        .map(Some)
        .ok_or_else(|| Failure::invalid("etag", "must be a version's etag, 64 hexadecimal digits"))
}

/// Open cases would have nobody.
fn refused(ownerless: &Ownerless) -> Failure {
    let mut cases: BTreeMap<&AgencyId, Vec<String>> = BTreeMap::new();
    for (owner, case) in ownerless.cases.iter().take(NAMED) {
        cases.entry(owner).or_default().push(store::name(*case));
    }
    let each: Vec<_> = cases
        .iter()
        .map(|(agency, cases)| format!("`{agency}` owns {}", cases.join(", ")))
        .collect();
    let more = match ownerless.more || ownerless.cases.len() > NAMED {
        true => "; and more",
        false => "",
    };
    Failure::WrongState {
        record: VersionKind::Directory.record().to_owned(),
        state: "OWNERLESS_CASES",
        description: format!(
            "open cases would have nobody: {}{more}; keep these agencies, or give each a last day and a successor",
            each.join("; ")
        ),
    }
}

#[tonic::async_trait]
impl DirectoryService for Service {
    async fn apply_directory(
        &self,
        request: Request<Streaming<ApplyDirectoryRequest>>,
    ) -> Result<Response<ApplyDirectoryResponse>, Status> {
        let caller = caller(&request)?.clone();
        let upload = Upload::receive(request.into_inner()).await?;
        Ok(Response::new(self.apply(&caller, upload).await?))
    }

    type GetDirectoryStream = BoxStream<'static, Result<GetDirectoryResponse, Status>>;

    async fn get_directory(
        &self,
        request: Request<GetDirectoryRequest>,
    ) -> Result<Response<Self::GetDirectoryStream>, Status> {
        let asked = request.get_ref();
        if !asked.territories {
            access::require(&request)?;
        }
        let (source, digest) = self.source(&asked.etag, asked.territories).await?;
        let (etag, territories) = (HEXLOWER.encode(&digest), asked.territories);
        let source = bytes::Bytes::from(source);
        let parts = (0..source.len().max(1)).step_by(PART).map(move |start| {
            let part = source.slice(start..(start + PART).min(source.len()));
            let (agencies, territories) = match territories {
                true => (bytes::Bytes::new(), part),
                false => (part, bytes::Bytes::new()),
            };
            Ok(GetDirectoryResponse {
                agencies,
                territories,
                etag: etag.clone(),
            })
        });
        Ok(Response::new(futures::stream::iter(parts).boxed()))
    }

    async fn list_directory_versions(
        &self,
        request: Request<ListDirectoryVersionsRequest>,
    ) -> Result<Response<ListDirectoryVersionsResponse>, Status> {
        Ok(Response::new(self.list_versions(request.get_ref()).await?))
    }

    async fn list_territories(
        &self,
        request: Request<ListTerritoriesRequest>,
    ) -> Result<Response<ListTerritoriesResponse>, Status> {
        Ok(Response::new(self.list_territories(request.get_ref())?))
    }

    async fn get_territory(
        &self,
        request: Request<GetTerritoryRequest>,
    ) -> Result<Response<GetTerritoryResponse>, Status> {
        let active = self.versions.active();
        let tree = active.directory.territories();
        let code = TerritoryCode::from_resource_name(&request.get_ref().name)
            .map_err(|_| Failure::invalid("name", "must be the name of a territory, such as `territories/320500`"))?;
        let territory = tree.get(code).ok_or(Failure::NotFound { what: "territory" })?;
        Ok(Response::new(GetTerritoryResponse {
            territory: Some(directory_view::territory(tree, &territory)),
        }))
    }

    async fn list_agencies(
        &self,
        request: Request<ListAgenciesRequest>,
    ) -> Result<Response<ListAgenciesResponse>, Status> {
        Ok(Response::new(self.list_agencies(request.get_ref())?))
    }

    async fn get_agency(&self, request: Request<GetAgencyRequest>) -> Result<Response<GetAgencyResponse>, Status> {
        let id = AgencyId::from_resource_name(&request.get_ref().name)
            .map_err(|_| Failure::invalid("name", "must be the name of an agency, such as `agencies/police-CN`"))?;
        let active = self.versions.active();
        let agency = active
            .directory
            .agency(&id)
            .ok_or(Failure::NotFound { what: "agency" })?;
        Ok(Response::new(GetAgencyResponse {
            agency: Some(directory_view::agency(agency)),
        }))
    }

    async fn locate_agency(
        &self,
        request: Request<LocateAgencyRequest>,
    ) -> Result<Response<LocateAgencyResponse>, Status> {
        Ok(Response::new(self.locate(request.get_ref())?))
    }

    async fn list_desks(&self, request: Request<ListDesksRequest>) -> Result<Response<ListDesksResponse>, Status> {
        Ok(Response::new(self.list_desks(request.get_ref())?))
    }
}
