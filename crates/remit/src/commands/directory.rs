//! `remit directory`: apply directories of agencies, and query them. This file talks to a server;
//! `directory/offline.rs` answers from files.

pub(super) mod offline;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use api::routing::{
    Agency, ApplyDirectoryRequest, ApplyDirectoryResponse, ApproveDirectoryRequest, DifferenceKind, DirectorySpec,
    GetDirectoryRequest, ListAgenciesRequest, ListAgenciesResponse, ListDesksRequest, ListDesksResponse,
    ListDirectoryVersionsRequest, LocateAgencyRequest, LocateAgencyResponse, apply_directory_request::Part,
    directory_service_client::DirectoryServiceClient, locate_agency_request::Place,
};
use api::text_in;
use clap::{Args, Subcommand};
use decision::directory::{Directory, LIMIT};
use host::{config::Service, input::read};
use journal::{Clock as _, SystemClock};
use places::{OnDay, Territories, TerritoryCode};
use rpc::client::Caller;

use crate::{
    client::{Access, Failed, RoutingServer, Target},
    output::{self, Paint as _, bad, dim, field, id, line, strong, tr},
};

/// Apply and compare directories of agencies, and find the agency for a function and place
#[derive(Args, Clone, Debug)]
pub struct Command {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    server: RoutingServer,
}

/// A directory in files, queried without a server.
#[derive(Args, Clone, Debug)]
struct Files {
    /// Query this agency file instead of a server
    #[arg(long, value_name = "FILE")]
    agencies: Option<PathBuf>,
    /// Territory file for the agency file [default: the built-in one]
    #[arg(long, value_name = "FILE", requires = "agencies")]
    territories: Option<PathBuf>,
}

/// A directory to apply.
#[derive(Args, Clone, Debug)]
struct Proposal {
    /// File with agencies, or with changes; `-` for standard input
    file: PathBuf,
    /// The file contains changes: `put` (agencies added or replaced) and `remove` (ids)
    #[arg(long)]
    changes: bool,
    /// Territory file to apply with it [default: the one in force; offline, the built-in one]
    #[arg(long, value_name = "FILE")]
    territories: Option<PathBuf>,
}

#[derive(Subcommand, Clone, Debug)]
enum Action {
    /// Show what a file would change, and its faults; nothing is applied
    #[command(after_help = "\
Examples:
  remit directory diff agencies.yaml                       against what is in force
  remit directory diff changes.yaml --changes
  remit directory diff new.yaml --against old.yaml         two files, without a server")]
    Diff {
        #[command(flatten)]
        proposal: Proposal,
        /// Compare with this file instead of the directory in force on a server
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
    },
    /// Propose a file, as a whole; another officer puts it in force
    ///
    /// Until the first case is opened, one is enough, and it is in force at once. Every version is
    /// kept.
    #[command(after_help = "\
Examples:
  remit directory apply agencies.yaml --officer o-17
  remit directory apply changes.yaml --changes --etag 5b1f…
  printf 'remove: [police-320600]' | remit directory apply - --changes")]
    Apply {
        #[command(flatten)]
        proposal: Proposal,
        /// Only if the version in force still has this etag
        #[arg(long, value_name = "ETAG", default_value = "", hide_default_value = true)]
        etag: String,
        /// Request id, a UUID: repeated with the same files within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Put the proposed directory in force, as another officer than the one who proposed it
    #[command(after_help = "\
Examples:
  remit directory approve --dry-run                        what is proposed, and what it would change
  remit directory approve 5b1f… --officer o-18 --as registry-office")]
    Approve {
        /// Its etag, as `remit directory apply` printed it
        #[arg(
            value_name = "ETAG",
            required_unless_present = "dry_run",
            default_value = "",
            hide_default_value = true
        )]
        etag: String,
        /// Only show what would change
        #[arg(long)]
        dry_run: bool,
        /// Request id, a UUID: repeated within 24 hours it has the first answer
        #[arg(long, value_name = "UUID", default_value = "", hide_default_value = true)]
        request_id: String,
    },
    /// Show which agency has a function at a place, and how it is found
    #[command(after_help = "\
Examples:
  remit directory locate 320504 police
  remit directory locate 320508018 police --category fraud.loan --day 2026-07-01
  remit directory locate 320500 inspection --agencies agencies.yaml")]
    Locate {
        /// Code of a territory (six digits, nine for a township, or CN) or ISO 3166 code of a
        /// country
        place: String,
        /// Function of the agency, such as police
        function: String,
        /// Category that it accepts
        #[arg(long, value_name = "ID")]
        category: Option<String>,
        /// Day on which it is valid, such as 2026-07-01 [default: today]
        #[arg(long, value_name = "DAY")]
        day: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// List the functions available at a place, with the agency for each
    #[command(
        after_help = "Examples:\n  remit directory desks 320300\n  remit directory desks 320300 --category fraud"
    )]
    Desks {
        /// Code of a territory
        place: String,
        /// Category that the agencies accept
        #[arg(long, value_name = "ID")]
        category: Option<String>,
        /// Day on which they are valid, such as 2026-07-01 [default: today]
        #[arg(long, value_name = "DAY")]
        day: Option<String>,
        #[command(flatten)]
        files: Files,
    },
    /// Show agencies in the tree of territories
    #[command(after_help = "\
Examples:
  remit directory tree
  remit directory tree 320000 --function police
  remit directory tree 320500 --depth 2                    with territories that have none
  remit directory tree --agencies agencies.yaml")]
    Tree {
        /// Code of the territory to start from
        #[arg(default_value = "CN")]
        place: String,
        /// Only agencies with this function
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
        /// Also show territories without an agency, this many levels down
        #[arg(long, value_name = "N", default_value_t = 0)]
        depth: usize,
        #[command(flatten)]
        files: Files,
    },
    /// List the versions and when each came into force, newest first
    #[command(after_help = "Example:\n  remit directory versions --limit 10")]
    Versions {
        /// Maximum number of versions
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: i32,
    },
    /// Print the agency file of the version in force or of an earlier one, or its territory file
    #[command(after_help = "\
Examples:
  remit directory show > agencies.yaml
  remit directory show --etag 5b1f… > old.yaml
  remit directory show --territories > territories.csv")]
    Show {
        /// Etag of the version, from `remit directory versions`
        #[arg(long)]
        etag: Option<String>,
        /// Print the territory file instead of the agency file
        #[arg(long)]
        territories: bool,
    },
}

impl Command {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let json = self.access.json;
        match &self.action {
            Action::Diff {
                proposal,
                against: Some(old),
            } => {
                let response = offline::diff(proposal, old)?;
                print_applied(&response, true, json)
            }
            Action::Diff {
                proposal,
                against: None,
            } => {
                let spec = DirectorySpec {
                    validate_only: true,
                    ..DirectorySpec::default()
                };
                let response = self.apply(proposal, spec).await?;
                print_applied(&response, true, json)
            }
            Action::Apply {
                proposal,
                etag,
                request_id,
            } => {
                let spec = DirectorySpec {
                    etag: etag.clone(),
                    request_id: request_id.clone(),
                    ..DirectorySpec::default()
                };
                let response = self.apply(proposal, spec).await?;
                print_applied(&response, false, json)
            }
            Action::Approve {
                etag,
                dry_run,
                request_id,
            } => {
                let request = ApproveDirectoryRequest {
                    etag: etag.clone(),
                    validate_only: *dry_run,
                    request_id: request_id.clone(),
                };
                let (mut client, target) = self.client()?;
                let failed = Failed::call(&target.address);
                let response = client.approve_directory(request).await.map_err(failed)?.into_inner();
                if json {
                    return output::json(&response);
                }
                let proposed = format!("proposed by {}; its etag is {}", response.proposed_by, response.etag);
                let applied = ApplyDirectoryResponse {
                    etag: response.etag,
                    applied: response.applied,
                    differences: response.differences,
                    difference_count: response.difference_count,
                    findings: response.findings,
                    ..ApplyDirectoryResponse::default()
                };
                print_applied(&applied, *dry_run, json)?;
                if usize::try_from(applied.difference_count).is_ok_and(|count| count > applied.differences.len()) {
                    line(
                        "not all that differs is shown: compare the files (`remit directory show`) before it is in force",
                    )?;
                }
                Ok(line(proposed)?)
            }
            Action::Locate {
                place,
                function,
                category,
                day,
                files,
            } => {
                let request = LocateAgencyRequest {
                    place: Some(match place.to_ascii_uppercase().parse::<places::Country>() {
                        Ok(country) => Place::RegionCode(country.to_string()),
                        Err(_) => Place::Territory(territory_name(place)),
                    }),
                    agency_function: function.clone(),
                    category: category_name(category.as_deref()),
                    effective_date: effective_date(day.as_deref())?,
                };
                let located = match &files.agencies {
                    Some(agencies) => offline::locate(&request, agencies, files.territories.as_deref())?,
                    None => {
                        let (mut client, target) = self.client()?;
                        let failed = Failed::call(&target.address);
                        client.locate_agency(request).await.map_err(failed)?.into_inner()
                    }
                };
                print_located(&located, place, json)
            }
            Action::Desks {
                place,
                category,
                day,
                files,
            } => {
                let request = ListDesksRequest {
                    territory: territory_name(place),
                    category: category_name(category.as_deref()),
                    effective_date: effective_date(day.as_deref())?,
                    page_size: 1_000,
                    ..Default::default()
                };
                let desks = match &files.agencies {
                    Some(agencies) => offline::desks(&request, agencies, files.territories.as_deref())?,
                    None => {
                        let (mut client, target) = self.client()?;
                        let failed = Failed::call(&target.address);
                        client.list_desks(request).await.map_err(failed)?.into_inner()
                    }
                };
                print_desks(&desks, json)
            }
            Action::Tree {
                place,
                function,
                depth,
                files,
            } => {
                let request = ListAgenciesRequest {
                    agency_function: function.clone().unwrap_or_default(),
                    territory: territory_name(place),
                    page_size: 1_000,
                    ..Default::default()
                };
                let agencies = match &files.agencies {
                    Some(agencies) => offline::agencies(&request, agencies, files.territories.as_deref())?,
                    None => self.agencies(request).await?,
                };
                if json {
                    return output::json(&agencies);
                }
                let tree = match &files.agencies {
                    Some(_) => offline::tree(files.territories.as_deref())?.into_owned(),
                    None => self.tree().await?,
                };
                // The zone of the shipped directory: only the agency file says another.
                let today = Directory::shipped().day(SystemClock.now());
                print_tree(&agencies.agencies, tree.on(today), &tree, place, *depth)
            }
            Action::Versions { limit } => self.versions(*limit).await,
            Action::Show { etag, territories } => {
                let file = self.file(etag.clone().unwrap_or_default(), *territories).await?;
                Ok(output::document(&file)?)
            }
        }
    }

    fn client(&self) -> anyhow::Result<(DirectoryServiceClient<Caller>, Target)> {
        let target = self.access.target(Service::Routing, self.server.address())?;
        let client = DirectoryServiceClient::new(target.channel.clone()).max_decoding_message_size(64 << 20);
        Ok((client, target))
    }

    async fn apply(&self, proposal: &Proposal, spec: DirectorySpec) -> anyhow::Result<ApplyDirectoryResponse> {
        let agencies = read(&proposal.file, LIMIT)?;
        let territories = match &proposal.territories {
            Some(territories) => read(territories, LIMIT)?,
            None => Default::default(),
        };
        let spec = DirectorySpec {
            agencies_size_bytes: i64::try_from(agencies.len())?,
            territories_size_bytes: i64::try_from(territories.len())?,
            changes: proposal.changes,
            ..spec
        };
        let part = |part| ApplyDirectoryRequest { part: Some(part) };
        let files = bytes::Bytes::from([agencies, territories].concat());
        let mut parts = vec![part(Part::Spec(spec))];
        parts.extend(in_parts(&files).map(|data| part(Part::Data(data))));
        let (mut client, target) = self.client()?;
        let failed = Failed::call(&target.address);
        let response = client.apply_directory(futures::stream::iter(parts)).await;
        Ok(response.map_err(failed)?.into_inner())
    }

    async fn agencies(&self, mut request: ListAgenciesRequest) -> anyhow::Result<ListAgenciesResponse> {
        let (mut client, target) = self.client()?;
        let failed = Failed::call(&target.address);
        let mut all = ListAgenciesResponse::default();
        loop {
            let page = client
                .list_agencies(request.clone())
                .await
                .map_err(&failed)?
                .into_inner();
            all.agencies.extend(page.agencies);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn versions(&self, limit: i32) -> anyhow::Result<()> {
        let (mut client, target) = self.client()?;
        let failed = Failed::call(&target.address);
        let request = ListDirectoryVersionsRequest {
            page_size: limit.clamp(1, 1_000),
            ..Default::default()
        };
        let response = client
            .list_directory_versions(request)
            .await
            .map_err(failed)?
            .into_inner();
        if self.access.json {
            return output::json(&response);
        }
        for (i, version) in response.versions.iter().enumerate() {
            let now = if i == 0 { "  in force" } else { "" };
            line(format_args!(
                "{}  {}  by {}{}",
                output::time(version.activate_time.as_ref()),
                version.etag,
                version.activated_by,
                now.style(strong())
            ))?;
        }
        Ok(())
    }

    /// The tree of territories in force.
    async fn tree(&self) -> anyhow::Result<Territories> {
        let file = self.file(String::new(), true).await?;
        Ok(Territories::parse(std::str::from_utf8(&file)?)?)
    }

    async fn file(&self, etag: String, territories: bool) -> anyhow::Result<Vec<u8>> {
        let (mut client, target) = self.client()?;
        let failed = Failed::call(&target.address);
        let name = match etag.as_str() {
            "" => etag,
            etag => format!("directoryVersions/{}", id(etag)),
        };
        let request = GetDirectoryRequest { name, territories };
        let mut parts = client.get_directory(request).await.map_err(&failed)?.into_inner();
        let mut file = Vec::new();
        while let Some(part) = parts.message().await.map_err(&failed)? {
            file.extend_from_slice(&part.agencies);
            file.extend_from_slice(&part.territories);
        }
        Ok(file)
    }
}

/// Bytes per message.
const PART: usize = 256 << 10;

fn in_parts(file: &bytes::Bytes) -> impl Iterator<Item = bytes::Bytes> {
    (0..file.len())
        .step_by(PART)
        .map(|start| file.slice(start..(start + PART).min(file.len())))
}

fn territory_name(code: &str) -> String {
    format!("territories/{}", id(code))
}

fn effective_date(day: Option<&str>) -> anyhow::Result<Option<api::google::r#type::Date>> {
    let read = |text: &str| {
        text.parse()
            .map(api::date)
            .map_err(|_| Failed::Usage(format!("`{text}` is not a date; the form is 2026-07-01")).into())
    };
    day.map(read).transpose()
}

fn category_name(category: Option<&str>) -> String {
    category
        .map(|category| format!("categories/{}", id(category)))
        .unwrap_or_default()
}

fn print_applied(response: &ApplyDirectoryResponse, tried: bool, json: bool) -> anyhow::Result<()> {
    if json {
        output::json(response)?;
    } else {
        print_differences(response, tried)?;
    }
    // A trial that would be refused fails like the refusal.
    match response.ownerless.is_empty() {
        true => Ok(()),
        false => Err(Failed::Told.into()),
    }
}

fn print_differences(response: &ApplyDirectoryResponse, tried: bool) -> std::io::Result<()> {
    for difference in &response.differences {
        let resource = match difference.resource.strip_prefix("territories/") {
            Some(code) => output::territory(code),
            // A field of the directory itself.
            None if difference.resource.is_empty() => "directory".to_owned(),
            None => id(&difference.resource).to_owned(),
        };
        match difference.kind() {
            DifferenceKind::Added => line(format_args!("+ {resource}").style(output::good()))?,
            DifferenceKind::Removed => line(format_args!("- {resource}").style(bad()))?,
            _ if difference.field.is_empty() && difference.after.is_empty() => line(format_args!("~ {resource}"))?,
            _ => {
                let nothing = |text: &str| {
                    if text.is_empty() {
                        "nothing".to_owned()
                    } else {
                        text.to_owned()
                    }
                };
                line(format_args!(
                    "~ {resource}  {}: {} → {}",
                    difference.field,
                    nothing(&difference.before).style(bad()),
                    nothing(&difference.after).style(output::good())
                ))?;
            }
        }
    }
    let shown = response.differences.len();
    let listed = usize::try_from(response.difference_count).unwrap_or(shown);
    if shown < listed {
        line(format_args!("… and {} more", listed - shown).style(dim()))?;
    }
    for finding in &response.findings {
        line(format_args!("note: {}", finding.description))?;
        if !finding.territories.is_empty() {
            let names: Vec<_> = finding
                .territories
                .iter()
                .take(8)
                .map(|name| output::territory(id(name)))
                .collect();
            let more = if usize::try_from(finding.territory_count).is_ok_and(|count| count > names.len()) {
                ", …"
            } else {
                ""
            };
            line(format_args!("      {}{more}", names.join(", ")).style(dim()))?;
        }
    }
    let (named, counted): (Vec<_>, Vec<_>) = response.ownerless.iter().partition(|of| !of.case_name.is_empty());
    let mut counts = BTreeMap::<_, usize>::new();
    for ownerless in counted {
        *counts.entry(id(&ownerless.owner)).or_default() += 1;
    }
    for (owner, count) in counts {
        let words = format!("open cases that would be left without an owner: {count} that {owner} owns");
        line(words.style(bad()))?;
    }
    for ownerless in named {
        let words = format!(
            "{} would be left without an owner: {} owns it",
            ownerless.case_name,
            id(&ownerless.owner)
        );
        line(words.style(bad()))?;
    }
    let count = match response.difference_count {
        0 => "no difference".to_owned(),
        1 => "1 difference".to_owned(),
        count => format!("{count} differences"),
    };
    if response.proposed {
        line(format_args!("{count}; proposed, and not in force"))?;
        return line(format_args!(
            "another officer puts it in force, by another system's token: remit directory approve {} --officer NAME --as SYSTEM",
            response.etag
        ));
    }
    match (tried, response.applied, response.ownerless.is_empty()) {
        (true, _, true) => line(format_args!("{count}; nothing was applied")),
        (true, _, false) => line(format_args!("{count}; it would be refused").style(bad())),
        (false, true, _) => line(format_args!("{count}; in force as {}", response.etag).style(strong())),
        (false, false, _) => line(format_args!("{count}; already in force as {}", response.etag)),
    }
}

fn print_located(located: &LocateAgencyResponse, place: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(located);
    }
    match &located.agency {
        Some(agency) => {
            let title = format!("{} · {}", text_in(&agency.titles, "en"), text_in(&agency.titles, "zh"));
            line(format_args!(
                "{} {}",
                id(&agency.name).style(strong()),
                title.style(dim())
            ))?;
        }
        None => line(tr("nobody").style(bad()))?,
    }
    if !located.climb.is_empty() {
        field("climbed", output::climb(id(place), &located.climb))?;
    }
    field("outcome", output::said(&located.outcome))?;
    if let Some(agency) = &located.agency {
        let ends = output::date(agency.valid_to_date.as_ref());
        if !agency.superior.is_empty() {
            field("superior", id(&agency.superior))?;
        }
        if !agency.hours.is_empty() {
            field("hours", &agency.hours)?;
        }
        if !agency.contact.is_empty() {
            field("contact", &agency.contact)?;
        }
        if !ends.is_empty() {
            field("ends", ends)?;
        }
    }
    Ok(())
}

fn print_desks(desks: &ListDesksResponse, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(desks);
    }
    let functions = desks.desks.iter().map(|desk| desk.agency_function.len());
    let width = functions.max().unwrap_or(0);
    for desk in &desks.desks {
        let located = desk.located.clone().unwrap_or_default();
        // What other commands take, so not in words.
        let function = format!("{:width$}", desk.agency_function);
        match &located.agency {
            Some(agency) => line(format_args!(
                "{function}  {}  {}",
                id(&agency.name).style(strong()),
                output::text(&agency.titles).style(dim())
            ))?,
            None => line(format_args!("{function}  {}", tr("none").style(bad())))?,
        }
    }
    Ok(())
}

/// Territories with agencies and those above them; all territories of the first `depth` levels.
fn print_tree(
    agencies: &[Agency],
    tree: OnDay<'_>,
    names: &Territories,
    place: &str,
    depth: usize,
) -> anyhow::Result<()> {
    let unknown = || Failed::NotFound(format!("the tree of territories has no {place}"));
    let root: TerritoryCode = id(place).parse().map_err(|error| Failed::Usage(format!("{error}")))?;
    let root = tree.resolve(root).ok_or_else(unknown)?.code;
    let mut desks: BTreeMap<TerritoryCode, Vec<&Agency>> = BTreeMap::new();
    let mut shown = BTreeSet::from([root]);
    for agency in agencies {
        let Ok(code) = TerritoryCode::from_resource_name(&agency.territory) else {
            continue;
        };
        desks.entry(code).or_default().push(agency);
        shown.extend(tree.ancestors(code).take_while(|above| *above != root));
    }
    let mut level = vec![root];
    for _ in 0..depth {
        let children = |code: &TerritoryCode| tree.children(*code).map(|child| child.code).collect::<Vec<_>>();
        level = level.iter().flat_map(children).collect();
        shown.extend(&level);
    }
    let base = tree.ancestors(root).count();
    for code in shown {
        let indent = 2 * (tree.ancestors(code).count() - base);
        let names = names
            .name(code)
            .map(|(zh, en)| format!("{zh} {en}"))
            .unwrap_or_default();
        line(format_args!("{:indent$}{} {}", "", code.style(strong()), names))?;
        for agency in desks.get(&code).into_iter().flatten() {
            let ends = match output::date(agency.valid_to_date.as_ref()).as_str() {
                "" => String::new(),
                day => format!(", ends on {day}"),
            };
            let words = format!("{} ({}){ends}", id(&agency.name), agency.functions.join(", "));
            line(format_args!("{:indent$}  · {}", "", words.style(dim())))?;
        }
    }
    Ok(())
}
