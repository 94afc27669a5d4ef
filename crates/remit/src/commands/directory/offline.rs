//! Answers from files, without a server.

use std::{borrow::Cow, path::Path, sync::Arc};

use api::google::r#type::Date;
use api::routing::{
    ApplyDirectoryResponse, FunctionDesk, ListAgenciesRequest, ListAgenciesResponse, ListDesksRequest,
    ListDesksResponse, LocateAgencyRequest, LocateAgencyResponse, locate_agency_request::Place,
};
use decision::{
    directory::view::{agency, applied, located},
    directory::{AgencyId, Directory, Function, LIMIT},
};
use host::input::read;
use journal::{Clock as _, SystemClock};
use places::{Territories, TerritoryCode};

use super::Proposal;
use crate::{client::Failed, output};

/// The territory file at a path, or the built-in one.
pub(super) fn tree(path: Option<&Path>) -> anyhow::Result<Cow<'static, Territories>> {
    let Some(path) = path else {
        return Ok(Cow::Borrowed(Territories::shipped()));
    };
    let text = text(path)?;
    let tree = Territories::parse(&text).map_err(|error| wrong(path, &error))?;
    Ok(Cow::Owned(tree))
}

fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path, LIMIT)?).map_err(|error| wrong(path, &error).into())
}

fn wrong(path: &Path, error: &dyn std::error::Error) -> Failed {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Failed::Usage(format!("{}: {error}{source}", path.display()))
}

fn directory(path: &Path, tree: &Territories) -> anyhow::Result<Directory> {
    Directory::parse(&text(path)?, tree).map_err(|error| wrong(path, &error).into())
}

/// Whether an agency file has an agency.
pub(in crate::commands) fn has_agency(
    agencies: &Path,
    territories: Option<&Path>,
    id: &AgencyId,
) -> anyhow::Result<bool> {
    let tree = tree(territories)?;
    Ok(directory(agencies, &tree)?.agency(id).is_some())
}

/// The differences between two files. Every function in either counts as used.
pub(super) fn diff(proposal: &Proposal, old: &Path) -> anyhow::Result<ApplyDirectoryResponse> {
    let tree = tree(proposal.territories.as_deref())?;
    let old = directory(old, &tree)?;
    let new = match proposal.changes {
        true => old
            .with_changes(&text(&proposal.file)?)
            .map_err(|error| wrong(&proposal.file, &error))?,
        false => directory(&proposal.file, &tree)?,
    };
    let mut functions: Vec<Function> = old.functions().into_iter().chain(new.functions()).cloned().collect();
    functions.sort();
    functions.dedup();
    Ok(applied(&new, &old, &functions))
}

pub(super) fn locate(
    request: &LocateAgencyRequest,
    agencies: &Path,
    territories: Option<&Path>,
) -> anyhow::Result<LocateAgencyResponse> {
    if let Some(Place::RegionCode(country)) = &request.place {
        return Ok(LocateAgencyResponse {
            outcome: format!("{country} is outside the tree of territories: no agency there"),
            ..Default::default()
        });
    }
    let directory = directory(agencies, &*tree(territories)?)?;
    let function = Function::new(&request.agency_function).map_err(|error| Failed::Usage(error.to_string()))?;
    let place = match &request.place {
        Some(Place::Territory(name)) => place(&directory, name)?,
        _ => return Err(Failed::Usage("name a place".to_owned()).into()),
    };
    let category = Some(output::id(&request.category)).filter(|category| !category.is_empty());
    Ok(located(
        &directory,
        &function,
        category,
        day(&directory, request.effective_date.as_ref())?,
        place,
    ))
}

pub(super) fn desks(
    request: &ListDesksRequest,
    agencies: &Path,
    territories: Option<&Path>,
) -> anyhow::Result<ListDesksResponse> {
    let directory = Arc::new(directory(agencies, &*tree(territories)?)?);
    let (place, day) = (
        place(&directory, &request.territory)?,
        day(&directory, request.effective_date.as_ref())?,
    );
    let category = Some(output::id(&request.category)).filter(|category| !category.is_empty());
    let desk = |function: &Function| FunctionDesk {
        agency_function: function.to_string(),
        located: Some(located(&directory, function, category, day, place)),
    };
    Ok(ListDesksResponse {
        desks: directory.functions().into_iter().map(desk).collect(),
        next_page_token: String::new(),
    })
}

pub(super) fn agencies(
    request: &ListAgenciesRequest,
    agencies: &Path,
    territories: Option<&Path>,
) -> anyhow::Result<ListAgenciesResponse> {
    let directory = directory(agencies, &*tree(territories)?)?;
    let root = place(&directory, &request.territory)?;
    let has = |functions: &[Function]| {
        functions
            .iter()
            .any(|function| function.as_str() == request.agency_function)
    };
    let tree = directory.territories().on(directory.day(SystemClock.now()));
    let wanted = directory
        .agencies()
        .filter(|agency| request.agency_function.is_empty() || has(&agency.functions))
        .filter(|agency| tree.contains(root, agency.territory));
    Ok(ListAgenciesResponse {
        agencies: wanted.map(agency).collect(),
        next_page_token: String::new(),
    })
}

fn place(directory: &Directory, name: &str) -> anyhow::Result<TerritoryCode> {
    let code = TerritoryCode::from_resource_name(name).map_err(|error| Failed::Usage(error.to_string()))?;
    match directory.territories().get(code) {
        Some(_) => Ok(code),
        None => Err(Failed::NotFound(format!(
            "the territory {code} never existed; places outside the tree are countries, by ISO 3166"
        ))
        .into()),
    }
}

fn day(directory: &Directory, date: Option<&Date>) -> anyhow::Result<jiff::civil::Date> {
    match date {
        None => Ok(directory.day(SystemClock.now())),
        Some(date) => api::day(date).ok_or_else(|| Failed::Usage("that is not a day".to_owned()).into()),
    }
}
