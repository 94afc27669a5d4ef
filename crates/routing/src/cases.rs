//! Use cases of agencies and operators: read, list, follow and act on cases.

use std::{collections::BTreeMap, sync::Arc};

use api::routing::{
    Case, CaseNote, CaseSight, CountWorklistsRequest, CountWorklistsResponse, HandOverPreview, ListCasesRequest,
    ListCasesResponse, ListUndeliveredRequest, ListUndeliveredResponse, WorklistCount,
};
use decision::directory::AgencyId;
use futures::StreamExt as _;
use journal::{Clock, Committer, Entropy, RequestId, Time, Writer};
use rpc::{AgencyCaller, Failure, Identity, Officer, Role, Violation, Violations, page};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    case::{Action, Party, Refusal, Sight, State, Worklist, sees},
    feed::{Cases as FeedOfCases, Feed, OpenFeeds},
    store::{self, Acted, Command, Cursor, Given, Listing, Read, Store, Undelivered, Versions},
    upkeep::FEED_WINDOW,
    view,
};

/// Maximum number of cases that a count tells exactly.
const MOST_COUNTED: u32 = 10_000;

/// Maximum number of refused deliveries that are told.
const MOST_REFUSED: u32 = 100;

/// Maximum number of cases in a batch.
const LARGEST_BATCH: usize = 500;

/// Changes of one batch that wait to be committed at once, so that no caller fills the queue.
const AT_ONCE: usize = 256;

/// The use cases of `CaseService`.
pub(crate) struct Cases {
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) commands: Committer<Command, Acted>,
    pub(crate) reads: Committer<Read, ()>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) writer: Writer,
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
    /// The same, for a notice to the affected side.
    Notified(Box<CaseSight>, Given),
    /// What the change would do.
    Previewed(Box<HandOverPreview>),
}

impl Cases {
    /// A case as the caller sees it.
    pub(crate) async fn get(&self, caller: &Identity, name: &str) -> Result<Case, Failure> {
        let viewer = party(caller)?;
        let mut violations = Violations::new();
        let id = violations.name("name", names::CASE, name);
        let id = violations.finish(|| id).map_err(Failure::InvalidInput)?;
        let directory = &self.versions.active().directory;
        let stored = match (self.store.case(id, &viewer).await?, &viewer) {
            (Some(stored), _) => stored,
            (None, Party::Agency(agency)) => {
                let below = self.store.case_below(id, agency).await?;
                let stored = below.ok_or(Failure::NotFound { what: "case" })?.ok_or_else(in_flux)?;
                return Ok(view::case(&stored, &viewer, directory));
            }
            (None, _) => return Err(Failure::NotFound { what: "case" }),
        };
        if let Party::Agency(agency) = &viewer {
            self.note_read(agency, id, stored.head.sequence).await;
        }
        let case = view::case(&stored, &viewer, directory);
        match (&viewer, sees(&stored.case, &viewer, directory, Sight::Content)) {
            (Party::Agency(agency), true) => Ok(view::linked(case, &self.store.links(id, agency).await?)),
            _ => Ok(case),
        }
    }

    /// Takes a case from the list of what its agency has not read. That it stays there for once is
    /// no reason not to show it.
    async fn note_read(&self, agency: &AgencyId, case: Uuid, sequence: u64) {
        let noted = async {
            if !self.store.is_unread(agency, case).await? {
                return Ok(());
            }
            let read = Read {
                case,
                agency: agency.clone(),
                sequence,
            };
            self.reads.commit(read).await.map_err(Failure::from)
        };
        if let Err(error) = noted.await {
            tracing::warn!(?error, "a case that was read stays on the list of what was not");
        }
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
        let worklist = Worklist::from_proto(request.worklist());
        if request.worklist != 0 {
            let fault = match &viewer {
                _ if worklist.is_none() => Some("is not one that this server knows"),
                _ if request.state != 0 => Some("cannot be combined with `state`: set one of them"),
                Party::Operator | Party::Subject(_) => Some("is an agency's, and an operator has none: set `state`"),
                Party::Agency(_) => None,
            };
            violations.check("worklist", fault.is_none().then_some(()), fault.unwrap_or_default());
        }
        let listing = match worklist {
            Some(worklist) => Some(Listing::Worklist(worklist, self.clock.now())),
            None => state.map(Listing::State),
        };
        let of = match &viewer {
            Party::Agency(agency) => format!("agency={agency}"),
            Party::Operator => "operator".to_owned(),
            Party::Subject(_) => return Err(rpc::unlisted()),
        };
        let officer = violations.note(self.officer(&viewer, &request.officer))?.flatten();
        let below = self.below(
            &mut violations,
            &viewer,
            request.below,
            &request.lead,
            !request.officer.is_empty(),
        );
        if request.below {
            check_below(&mut violations, listing);
        }
        // The name last: it may have any character.
        let named = officer.as_deref().unwrap_or_default();
        let filter = format!(
            "ListCases {of} state={} worklist={} below={} lead={} officer={named}",
            request.state, request.worklist, request.below, request.lead
        );
        let after = violations.note(seal.position(&filter, &request.page_token, cursor))?;
        let (size, after) = violations.finish(|| size.zip(after)).map_err(Failure::InvalidInput)?;
        let page = match (&viewer, officer) {
            (Party::Agency(agency), _) if request.below => {
                let found = self.store.below(agency, below.as_ref(), listing, after, size).await?;
                found.ok_or_else(in_flux)?
            }
            (Party::Agency(agency), Some(officer)) => {
                let listing = listing.unwrap_or(Listing::Worklist(Worklist::Assigned, self.clock.now()));
                let officers = self.officers(agency, &officer).await?;
                self.store
                    .cases_of_officers(agency, &officers, listing, after, size)
                    .await?
            }
            _ => self.store.cases(&viewer, listing, after, size).await?,
        };
        let next = page.next.map(|last| format!("{}/{}", last.place, last.id));
        let directory = &self.versions.active().directory;
        Ok(ListCasesResponse {
            cases: page
                .items
                .iter()
                .map(|stored| view::outline(stored, &viewer, directory))
                .collect(),
            next_page_token: next.map(|next| seal.encode(&filter, &next)).unwrap_or_default(),
        })
    }

    /// An officer that a list is of, as lists know them; `None` for all.
    fn officer(&self, viewer: &Party, name: &str) -> Result<Option<String>, Failure> {
        match (name, viewer) {
            ("", _) => Ok(None),
            (name, Party::Agency(_)) => match Officer::new(name) {
                Ok(officer) => Ok(Some(names::text::person(officer.as_str()))),
                Err(invalid) => Err(Failure::invalid("officer", invalid.to_string())),
            },
            _ => Err(Failure::invalid("officer", "is an agency's, and an operator has none")),
        }
    }

    /// The owner that lists of what is below the caller are of; `None` for all.
    fn below(
        &self,
        violations: &mut Violations,
        viewer: &Party,
        below: bool,
        lead: &str,
        of_officer: bool,
    ) -> Option<AgencyId> {
        let Party::Agency(agency) = viewer else {
            if below {
                violations.add("below", "is for agencies; an operator sees all cases: leave it out");
            }
            return None;
        };
        if below && of_officer {
            violations.add(
                "officer",
                "cannot be combined with `below`: an agency's officers are its own affair",
            );
        }
        if lead.is_empty() {
            return None;
        }
        if !below {
            violations.add("lead", "is one of the agencies below yours: set `below` with it");
        }
        let lead = violations.name("lead", names::AGENCY, lead)?;
        let directory = &self.versions.active().directory;
        if lead == *agency || !directory.is_under(&lead, agency) {
            violations.add("lead", "is not below your agency");
        }
        Some(lead)
    }

    /// How many cases are on each worklist of the caller's agency.
    pub(crate) async fn count(
        &self,
        caller: &Identity,
        request: &CountWorklistsRequest,
    ) -> Result<CountWorklistsResponse, Failure> {
        let agency = own_agency(caller)?;
        let viewer = Party::Agency(agency.clone());
        let mut violations = Violations::new();
        let officer = violations.note(self.officer(&viewer, &request.officer))?.flatten();
        let lead = self.below(
            &mut violations,
            &viewer,
            request.below,
            &request.lead,
            !request.officer.is_empty(),
        );
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        // One more, which tells whether there are more.
        let (now, most) = (self.clock.now(), MOST_COUNTED + 1);
        let counts = match officer {
            _ if request.below => self.store.count_below(&agency, lead.as_ref(), now, most).await?,
            Some(officer) => {
                let officers = self.officers(&agency, &officer).await?;
                self.store.count_of_officers(&agency, &officers, now, most).await?
            }
            None => self.store.count(&agency, now, most).await?,
        };
        let counts = counts.ok_or_else(in_flux)?;
        let count = |(worklist, found): (Worklist, u32)| WorklistCount {
            worklist: worklist.row().wire.into(),
            case_count: i32::try_from(found.min(MOST_COUNTED)).unwrap_or(i32::MAX),
            more: found > MOST_COUNTED,
        };
        Ok(CountWorklistsResponse {
            counts: counts.into_iter().map(count).collect(),
            agency: agency.resource_name(),
        })
    }

    /// Who has not got what, as far as the caller is told.
    pub(crate) async fn undelivered(
        &self,
        caller: &Identity,
        request: &ListUndeliveredRequest,
    ) -> Result<ListUndeliveredResponse, Failure> {
        let viewer = party(caller)?;
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let of = match request.agency.as_str() {
            "" => None,
            name => violations.name("agency", names::AGENCY, name),
        };
        if matches!(viewer, Party::Agency(_)) && !request.agency.is_empty() {
            violations.add("agency", "is for operators: an agency is told its own; leave it out");
        }
        let as_whom = viewer.agency().map(AgencyId::as_str).unwrap_or_default();
        let filter = format!("ListUndelivered as={as_whom} agency={}", request.agency);
        let after = violations.note(seal.position(&filter, &request.page_token, undelivered))?;
        let (size, after) = violations.finish(|| size.zip(after)).map_err(Failure::InvalidInput)?;
        let (found, next) = match &viewer {
            // As on its list of what is unread, and so without what a directory bars it from.
            Party::Agency(agency) => {
                let listing = Listing::Worklist(Worklist::Unread, self.clock.now());
                let after = after.as_ref().map(|after| Cursor {
                    place: after.time.0,
                    id: after.case,
                });
                let page = self.store.cases(&viewer, Some(listing), after, size).await?;
                let row = |time: Time, case: Uuid| Undelivered {
                    time,
                    case,
                    agency: agency.clone(),
                };
                let next = page.next.map(|next| row(Time(next.place), next.id));
                let found = page.items.iter().map(|stored| row(stored.head.time, stored.id));
                (found.collect(), next)
            }
            _ => {
                // One more, which tells whether there are more.
                let mut found = self.store.undelivered(of.as_ref(), after.clone(), size + 1).await?;
                let more = found.len() > size as usize;
                found.truncate(size as usize);
                let next = found.last().filter(|_| more).cloned();
                (found, next)
            }
        };
        let refused = match (&viewer, &after) {
            (Party::Operator, None) => self.store.refused(MOST_REFUSED).await?,
            _ => Vec::new(),
        };
        let next = next.map(|next| format!("{}/{}/{}", next.time.0, next.case, next.agency));
        Ok(ListUndeliveredResponse {
            undelivered: found.iter().map(view::undelivered).collect(),
            next_page_token: next.map(|next| seal.encode(&filter, &next)).unwrap_or_default(),
            refused: refused.into_iter().map(view::refused_delivery).collect(),
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
        let admission = self.open_feeds.admit(agency.as_str()).ok_or(Failure::Overloaded)?;
        let store = Arc::clone(&self.store);
        Ok(Feed::new(
            FeedOfCases { store, agency },
            admission,
            position.unwrap_or(0),
            self.commits.clone(),
            self.shutdown.clone(),
        ))
    }

    /// Changes cases, each by itself. Returns the name of each and its answer, in their order.
    ///
    /// # Errors
    /// For the whole, with nothing done, only if there are none or too many, or one is named twice.
    pub(crate) async fn act_each(
        &self,
        caller: &Identity,
        requests: Vec<ChangeRequest>,
    ) -> Result<Vec<(String, Result<Answered, Failure>)>, Failure> {
        check_batch(&requests)?;
        let answers = requests.into_iter().map(async |request| {
            let name = request.name.clone();
            // As in lists, at once: a batch has to fit into memory, and into a message.
            let answer = self.act(caller, request).await.map(|answered| match answered {
                Answered::Changed(sight) => Answered::Changed(Box::new(view::without_details(*sight))),
                previewed => previewed,
            });
            (name, answer)
        });
        Ok(futures::stream::iter(answers).buffered(AT_ONCE).collect().await)
    }

    /// Changes a case, or shows what the change would do.
    pub(crate) async fn act(&self, caller: &Identity, request: ChangeRequest) -> Result<Answered, Failure> {
        let by = Party::Agency(own_agency(caller)?);
        let mut violations = Violations::new();
        let case = violations.name("name", names::CASE, &request.name);
        let request_id = violations.request_id("request_id", &request.request_id);
        let action = violations.note(request.action.map_err(Failure::InvalidInput))?;
        let (case, mut action) = violations.finish(|| case.zip(action)).map_err(Failure::InvalidInput)?;
        if let Action::Assign(assign) = &mut action {
            let commitment = assign
                .officer()
                .map(|officer| caller.officer_commitment(officer, case.as_bytes()));
            assign.commitment = commitment.unwrap_or_default();
        }
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
            Acted::Notified(sight, given) => Ok(Answered::Notified(sight, given)),
            Acted::Previewed(preview) => Ok(Answered::Previewed(preview)),
            Acted::NotFound => Err(Failure::NotFound { what: "case" }),
            Acted::EtagMismatch => Err(Failure::EtagMismatch),
            Acted::RequestIdReused => Err(Failure::RequestIdReused),
            Acted::Refused(refusal) => Err(refused(refusal, case, caller)),
        }
    }
}

/// The error for what cannot be told in the moment in which cases follow a new directory.
fn in_flux() -> Failure {
    Failure::Unavailable {
        what: "what is asked for, while a new directory is being applied,",
    }
}

/// Checks that a list is one of those that superiors have of what is below them.
fn check_below(violations: &mut Violations, listing: Option<Listing>) {
    match listing {
        Some(Listing::State(state)) if !state.is_open() => {
            violations.add(
                "state",
                "is of cases that have ended: those below are listed while they are open",
            );
        }
        Some(Listing::Worklist(worklist, _)) if !Worklist::BELOW.contains(&worklist) => {
            let known: Vec<_> = Worklist::BELOW.iter().map(|worklist| worklist.row().name).collect();
            let description = format!("is not one of what is below: those are {}", known.join(", "));
            violations.add("worklist", description);
        }
        _ => {}
    }
}

/// Checks how many a batch has, before anything of it costs more.
pub(crate) fn check_count(requests: usize) -> Result<(), Failure> {
    match requests {
        0 => Err(Failure::invalid("requests", "is required: one for each case")),
        1..=LARGEST_BATCH => Ok(()),
        _ => {
            let description = format!("has {requests} requests, more than {LARGEST_BATCH}: send them in several calls");
            Err(Failure::invalid("requests", description))
        }
    }
}

/// Checks what a batch must hold as a whole.
fn check_batch(requests: &[ChangeRequest]) -> Result<(), Failure> {
    check_count(requests.len())?;
    let mut violations = Violations::new();
    let mut first = BTreeMap::new();
    for (index, request) in requests.iter().enumerate() {
        // One that is no name is refused for itself.
        let Some(case) = names::CASE.id(&request.name) else {
            continue;
        };
        if let Some(first) = first.get(&case) {
            let description = format!("names the case of `requests[{first}]` again: name each case once");
            violations.add(format_args!("requests[{index}].name"), description);
        } else {
            first.insert(case, index);
        }
    }
    violations.finish(|| Some(())).map_err(Failure::InvalidInput)
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

fn undelivered(text: &str) -> Option<Undelivered> {
    let (time, rest) = text.split_once('/')?;
    let (case, agency) = rest.split_once('/')?;
    Some(Undelivered {
        time: Time(time.parse().ok()?),
        case: Uuid::parse_str(case).ok()?,
        agency: AgencyId::new(agency).ok()?,
    })
}

pub(crate) fn cursor(text: &str) -> Option<Cursor> {
    let (place, id) = text.split_once('/')?;
    Some(Cursor {
        place: place.parse().ok()?,
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
    match caller.acts_for() {
        Some(agency) => Ok(Party::Agency(agency.clone())),
        None if caller.is(Role::Operator) => Ok(Party::Operator),
        None => Err(rpc::unlisted()),
    }
}
