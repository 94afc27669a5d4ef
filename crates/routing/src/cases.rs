//! Use cases of agencies and operators: read, list, follow and act on cases.

use std::sync::Arc;

use api::routing::{Case, CaseNote, CaseSight, HandOverPreview, ListCasesRequest, ListCasesResponse};
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

/// A request to change a case.
pub(crate) struct ChangeRequest {
    /// Name of the request message, which names the verb.
    pub(crate) method: &'static str,
    /// Resource name of the case.
    pub(crate) name: String,
    /// Etag of the case as the caller last saw it; empty for any.
    pub(crate) etag: String,
    /// The caller's id for the request, or empty.
    pub(crate) request_id: String,
    /// The encoded arguments, to tell a repetition from a different request.
    pub(crate) content: Vec<u8>,
    /// The verb with its arguments, or their violations.
    pub(crate) action: Result<Action, Vec<Violation>>,
    /// What the officer writes with it.
    pub(crate) note: CaseNote,
    /// Whether only to show what it would do.
    pub(crate) validate_only: bool,
}

/// The answer to a request to change a case.
pub(crate) enum Answered {
    /// The case after the change, as the caller sees it then.
    Changed(Box<CaseSight>),
    /// What the change would do.
    Previewed(HandOverPreview),
}

impl Cases {
    /// A case as the caller sees it.
    pub(crate) async fn get(&self, caller: &Identity, name: &str) -> Result<Case, Failure> {
        let viewer = party(caller)?;
        let mut violations = Violations::new();
        let id = violations.name("name", names::CASE, name);
        let id = violations.finish(|| id).map_err(Failure::InvalidInput)?;
        let stored = self.store.case(id, &viewer).await?;
        let stored = stored.ok_or(Failure::NotFound { what: "case" })?;
        Ok(view::case(&stored, &viewer, &self.versions.active().directory))
    }

    /// A page of the cases visible to the caller.
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
        let page = self.store.cases(&viewer, state, after, size).await?;
        let next = page.next.map(|last| format!("{}/{}", last.open_time.0, last.id));
        let directory = &self.versions.active().directory;
        Ok(ListCasesResponse {
            cases: page
                .items
                .iter()
                .map(|stored| view::outline(stored, directory))
                .collect(),
            next_page_token: next.map(|next| seal.encode(&filter, &next)).unwrap_or_default(),
        })
    }

    /// The feed of the caller's agency, after a token.
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

    /// Changes a case, or shows what the change would do.
    pub(crate) async fn act(&self, caller: &Identity, request: ChangeRequest) -> Result<Answered, Failure> {
        let by = Party::Agency(own_agency(caller)?);
        let mut violations = Violations::new();
        let case = violations.name("name", names::CASE, &request.name);
        let request_id = violations.request_id("request_id", &request.request_id);
        let action = violations.note(request.action.map_err(Failure::InvalidInput))?;
        let (case, action) = violations.finish(|| case.zip(action)).map_err(Failure::InvalidInput)?;
        let mut content = case.as_bytes().to_vec();
        content.extend((request.etag.len() as u64).to_be_bytes());
        content.extend(request.etag.as_bytes());
        content.extend(request.content);
        let command = Command {
            case,
            by,
            action,
            note: request.note,
            etag: request.etag,
            // A preview has no answer to repeat: the next one is of the case as it is then.
            request: request_id
                .filter(|_| !request.validate_only)
                .map(|id| RequestId::new(&caller.system, id, request.method, &content)),
            actor: caller.actor(case.as_bytes()),
            traceparent: telemetry::traceparent(),
            validate_only: request.validate_only,
        };
        match self.commands.commit(command).await? {
            Acted::Done(sight) => Ok(Answered::Changed(sight)),
            Acted::Previewed(preview) => Ok(Answered::Previewed(*preview)),
            Acted::NotFound => Err(Failure::NotFound { what: "case" }),
            Acted::EtagMismatch => Err(Failure::EtagMismatch),
            Acted::RequestIdReused => Err(Failure::RequestIdReused),
            Acted::Refused(refusal) => Err(refused(refusal, case, caller)),
        }
    }
}

/// Converts a refusal of the rules to an error.
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

/// The error for a feed that cannot continue: the token is too old, or the database was restored to
/// an earlier time.
pub(crate) fn forgotten() -> Failure {
    let days = FEED_WINDOW.as_secs() / (24 * 60 * 60);
    Failure::invalid(
        "resume_token",
        format!("is older than the {days} days that are kept, or not of this database; start again with an empty one"),
    )
}

/// The filter that resume tokens of an agency are bound to.
pub(crate) fn watched(agency: &AgencyId) -> String {
    format!("WatchCases agency={agency}")
}

fn own_agency(caller: &Identity) -> Result<AgencyId, Failure> {
    Ok(AgencyCaller::from_identity(caller)?.agency.clone())
}

/// The party that the caller stands for.
pub(crate) fn party(caller: &Identity) -> Result<Party, Failure> {
    match caller.role {
        Role::Operator => Ok(Party::Operator),
        Role::Agency => own_agency(caller).map(Party::Agency),
        Role::Auditor | Role::Partner | Role::Service => Err(rpc::unlisted()),
    }
}
