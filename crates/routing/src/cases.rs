//! What agencies and operators do with cases: read, list, follow, act.

use std::sync::Arc;

use api::routing::{Case, CaseSight, ListCasesRequest, ListCasesResponse};
use decision::directory::AgencyId;
use journal::{Committer, RequestId, Time};
use rpc::{AgencyCaller, Failure, Identity, Role, Violation, Violations, page};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    case::{Action, Party, Refusal, State},
    feed::{Feed, OpenFeeds},
    store::{self, Acted, Command, Cursor, Store, Versions},
    upkeep::FEED_WINDOW,
    view,
};

/// The use cases of `CaseService`.
pub(crate) struct Cases {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) commands: Committer<Command, Acted>,
    /// Changes after each commit of this process.
    pub(crate) commits: watch::Receiver<()>,
    pub(crate) open_feeds: OpenFeeds,
    pub(crate) tokens: page::Tokens,
    pub(crate) shutdown: CancellationToken,
}

/// A change of a case, as it was asked for.
pub(crate) struct Asked {
    /// The verb, as the contract names it.
    pub(crate) method: &'static str,
    /// Resource name of the case.
    pub(crate) name: String,
    /// The case as the caller last saw it; empty for as it is now.
    pub(crate) etag: String,
    /// The caller's id for the request; empty for none.
    pub(crate) request_id: String,
    /// The encoded arguments, to tell a repeat from other content.
    pub(crate) content: Vec<u8>,
    /// What is to be done, or what is wrong with the arguments.
    pub(crate) action: Result<Action, Vec<Violation>>,
}

impl Cases {
    /// A case, as the caller sees it.
    pub(crate) async fn get(&self, caller: &Identity, name: &str) -> Result<Case, Failure> {
        let viewer = party(caller)?;
        let mut violations = Violations::new();
        let id = violations.name("name", names::CASE, name);
        let id = violations.finish(|| id).map_err(Failure::InvalidInput)?;
        let stored = self.store.case(id, &viewer).await?;
        let stored = stored.ok_or(Failure::NotFound { what: "case" })?;
        Ok(view::case(&stored, &viewer, &self.versions.active().directory))
    }

    /// A page of the cases that the caller sees.
    pub(crate) async fn list(
        &self,
        caller: &Identity,
        request: &ListCasesRequest,
    ) -> Result<ListCasesResponse, Failure> {
        let viewer = party(caller)?;
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let state = State::from_proto(request.state());
        if request.state != 0 && state.is_none() {
            violations.add("state", "is not one that this server knows");
        }
        let filter = match &viewer {
            Party::Agency(agency) => format!("ListCases agency={agency} state={}", request.state),
            Party::Operator => format!("ListCases operator state={}", request.state),
        };
        let after = violations.note(seal.position(&filter, &request.page_token, cursor))?;
        let (size, after) = violations.finish(|| size.zip(after)).map_err(Failure::InvalidInput)?;
        let mut found = self.store.cases(&viewer, state, after, size + 1).await?;
        let next_page_token = seal.cut(&mut found, size, &filter, |last| {
            format!("{}/{}", last.open_time.0, last.id)
        });
        let directory = &self.versions.active().directory;
        Ok(ListCasesResponse {
            cases: found.iter().map(|stored| view::outline(stored, directory)).collect(),
            next_page_token,
        })
    }

    /// The changes of the cases that the caller's agency sees, from a token on.
    pub(crate) async fn watch(&self, caller: &Identity, resume_token: &str) -> Result<Feed, Failure> {
        let agency = own_agency(caller)?;
        let seal = self.tokens.seal().await?;
        let position = seal.position(&watched(&agency), resume_token, |cursor| cursor.parse().ok());
        let position = position.map_err(|_| {
            let description = "is not one that this server gave to this agency; start again with an empty one";
            Failure::invalid("resume_token", description)
        })?;
        // Without a token, the feed begins with the oldest change it still has.
        if let Some(position) = position
            && !self.store.feed_reaches(&agency, position).await?
        {
            return Err(forgotten());
        }
        Ok(Feed::new(
            Arc::clone(&self.store),
            self.open_feeds.admit(agency).ok_or(Failure::Overloaded)?,
            position.unwrap_or(0),
            self.commits.clone(),
            self.shutdown.clone(),
        ))
    }

    /// Does what is asked for, and returns the case as the caller sees it then.
    pub(crate) async fn act(&self, caller: &Identity, asked: Asked) -> Result<CaseSight, Failure> {
        let by = Party::Agency(own_agency(caller)?);
        let mut violations = Violations::new();
        let case = violations.name("name", names::CASE, &asked.name);
        let request_id = violations.request_id("request_id", &asked.request_id);
        let action = violations.note(asked.action.map_err(Failure::InvalidInput))?;
        let (case, action) = violations.finish(|| case.zip(action)).map_err(Failure::InvalidInput)?;
        let mut content = case.as_bytes().to_vec();
        content.extend((asked.etag.len() as u64).to_be_bytes());
        content.extend(asked.etag.as_bytes());
        content.extend(asked.content);
        let command = Command {
            case,
            by,
            action,
            etag: asked.etag,
            request: request_id.map(|id| RequestId::new(&caller.system, id, asked.method, &content)),
            actor: caller.actor(case.as_bytes()),
            traceparent: telemetry::traceparent(),
        };
        match self.commands.commit(command).await? {
            Acted::Done(sight) => Ok(*sight),
            Acted::NotFound => Err(Failure::NotFound { what: "case" }),
            Acted::EtagMismatch => Err(Failure::EtagMismatch),
            Acted::RequestIdReused => Err(Failure::RequestIdReused),
            Acted::Refused(refusal) => Err(refused(refusal, case, caller)),
        }
    }
}

/// The one place where a refusal of the rules becomes an error.
fn refused(refusal: Refusal, case: Uuid, caller: &Identity) -> Failure {
    match refusal {
        Refusal::Unseen => Failure::NotFound { what: "case" },
        Refusal::NotYours { description } => Failure::denied(description, &caller.system),
        Refusal::WrongState { state, description } => Failure::WrongState {
            record: store::name(case),
            state: state.name(),
            description,
        },
        Refusal::Argument { field, description } => Failure::invalid(field, description),
    }
}

fn cursor(text: &str) -> Option<Cursor> {
    let (time, id) = text.split_once('/')?;
    Some(Cursor {
        open_time: Time(time.parse().ok()?),
        id: Uuid::parse_str(id).ok()?,
    })
}

/// A feed cannot go on: it is too old, or the database was restored to a time before it.
pub(crate) fn forgotten() -> Failure {
    let days = FEED_WINDOW.as_secs() / (24 * 60 * 60);
    Failure::invalid(
        "resume_token",
        format!("is older than the {days} days that are kept, or not of this database; start again with an empty one"),
    )
}

/// What resume tokens of an agency are bound to.
pub(crate) fn watched(agency: &AgencyId) -> String {
    format!("WatchCases agency={agency}")
}

fn own_agency(caller: &Identity) -> Result<AgencyId, Failure> {
    Ok(AgencyCaller::from_identity(caller)?.agency.clone())
}

/// Whom the caller stands for.
pub(crate) fn party(caller: &Identity) -> Result<Party, Failure> {
    match caller.role {
        Role::Operator => Ok(Party::Operator),
        Role::Agency => own_agency(caller).map(Party::Agency),
        Role::Auditor | Role::Partner | Role::Service => Err(rpc::unlisted()),
    }
}
