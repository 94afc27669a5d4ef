//! Use cases inside an agency: deputies of its officers, and the cases of one who leaves.

use api::{
    event::Deputyship,
    routing::{
        AppointDeputyRequest, BatchedCase, CaseNote, CaseSight, Deputy as WireDeputy, EndDeputyRequest,
        ListDeputiesRequest, ListDeputiesResponse, MoveCasesRequest, MoveCasesResponse,
        batched_case::Result as BatchedResult, case_sight::Sight, move_cases_request::Assignee as MoveTo,
    },
};
use journal::{RequestId, Time, ordered_id};
use names::text::person;
use prost::{Message as _, Name as _};
use rpc::{AgencyCaller, Failure, Identity, Violations, page};
use uuid::Uuid;

use crate::{
    case::{Action, Assign, Assignee, Deputy, Party, Worklist, stands_in_for},
    cases::{Answered, Cases, ChangeRequest, cursor},
    store::{Appointed, Appointment, Ended, Ending, Listing},
    view,
};

/// Maximum number of cases that one call moves.
const MOST_MOVED: u32 = 500;

impl Cases {
    /// The officers whose cases one has now, each as lists know them: with those in whose stead it
    /// acts.
    pub(crate) async fn officers(
        &self,
        agency: &decision::directory::AgencyId,
        officer: &str,
    ) -> Result<Vec<String>, Failure> {
        let now = self.clock.now();
        let all = self.store.deputies(agency, now).await?;
        Ok(stands_in_for(&all, officer, now).into_iter().collect())
    }

    /// Appoints a deputy.
    pub(crate) async fn appoint(
        &self,
        caller: &Identity,
        request: AppointDeputyRequest,
    ) -> Result<WireDeputy, Failure> {
        let agency = AgencyCaller::from_identity(caller)?.agency.clone();
        let now = self.clock.now();
        let mut violations = Violations::new();
        let by = violations.note(assigning(caller))?;
        let officer = violations.note(named("officer", &request.officer))?;
        let deputy = violations.note(named("deputy", &request.deputy))?;
        let request_id = violations.request_id("request_id", &request.request_id);
        let begin = request.begin_time.as_ref().map_or(Some(now), Time::from_proto);
        let begin = violations.check("begin_time", begin, "is not a time between the years 1 and 9999");
        let end = request.end_time.as_ref().and_then(Time::from_proto);
        let end = violations.check("end_time", end, "is required: a time, after which it ends by itself");
        let all = violations.finish(|| by.zip(officer.zip(deputy)).zip(begin.zip(end)));
        let ((by, (officer, deputy)), (begin, end)) = all.map_err(Failure::InvalidInput)?;
        let id = ordered_id(now, &*self.entropy);
        let commitment = |name: &str| caller.officer_commitment(name, id.as_bytes()).into();
        let appointment = Appointment {
            logged: Deputyship {
                officer_commitment: commitment(&officer),
                deputy_commitment: commitment(&deputy),
                begin_time: Some(begin.to_proto()),
                end_time: Some(end.to_proto()),
            },
            agency,
            deputy: Deputy {
                id,
                officer,
                deputy,
                // What has passed already cannot be acted in any more.
                begin: begin.max(now),
                end,
                appointer: by,
                time: now,
            },
            actor: caller.actor(id.as_bytes()),
            request: request_id.map(|id| {
                let content = request.encode_to_vec();
                RequestId::new(&caller.system, id, AppointDeputyRequest::NAME, &content)
            }),
            traceparent: telemetry::traceparent(),
        };
        let appointed = self.writer.write(
            &self.store,
            |store| async move { store.appoint(&appointment, now).await },
        );
        match appointed.await? {
            Appointed::Done(deputy) => Ok(view::deputy(&deputy)),
            Appointed::Refused(field, description) => Err(Failure::invalid(field, description)),
            Appointed::RequestIdReused => Err(Failure::RequestIdReused),
        }
    }

    /// Ends a deputy's time.
    pub(crate) async fn end_deputy(
        &self,
        caller: &Identity,
        request: &EndDeputyRequest,
    ) -> Result<WireDeputy, Failure> {
        let agency = AgencyCaller::from_identity(caller)?.agency.clone();
        let now = self.clock.now();
        let mut violations = Violations::new();
        let by = violations.note(assigning(caller))?;
        let id = violations.name("name", names::DEPUTY, &request.name);
        let (_, id) = violations.finish(|| by.zip(id)).map_err(Failure::InvalidInput)?;
        let ending = Ending {
            agency,
            id,
            actor: caller.actor(id.as_bytes()),
            traceparent: telemetry::traceparent(),
        };
        let ended = self
            .writer
            .write(&self.store, |store| async move { store.end_deputy(&ending, now).await });
        match ended.await? {
            Ended::Done(deputy) => Ok(view::deputy(&deputy)),
            Ended::Before(end) => Err(Failure::WrongState {
                record: names::DEPUTY.of(id),
                state: "ENDED",
                description: format!("it ended already, at {end}"),
            }),
            Ended::NotFound => Err(Failure::NotFound { what: "deputy" }),
        }
    }

    /// The deputies of the caller's agency that have not ended.
    pub(crate) async fn list_deputies(
        &self,
        caller: &Identity,
        request: &ListDeputiesRequest,
    ) -> Result<ListDeputiesResponse, Failure> {
        let agency = AgencyCaller::from_identity(caller)?.agency.clone();
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let filter = format!("ListDeputies agency={agency}");
        let after = seal.position(&filter, &request.page_token, |id| Uuid::parse_str(id).ok());
        let after = violations.note(after)?;
        let (size, after) = violations.finish(|| size.zip(after)).map_err(Failure::InvalidInput)?;
        // Of a bounded number.
        let mut all = self.store.deputies(&agency, self.clock.now()).await?;
        all.retain(|deputy| after.is_none_or(|after| deputy.id > after));
        let more = all.len() > size as usize;
        all.truncate(size as usize);
        let next = all.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(ListDeputiesResponse {
            deputies: all.iter().map(view::deputy).collect(),
            next_page_token: next.map(|next| seal.encode(&filter, &next)).unwrap_or_default(),
        })
    }

    /// Moves the next cases of an officer to another or into the pool, or shows which those are.
    /// Each is assigned like by `AssignCase`, and only if that officer still has it.
    pub(crate) async fn move_cases(
        &self,
        caller: &Identity,
        request: &MoveCasesRequest,
    ) -> Result<MoveCasesResponse, Failure> {
        let agency = AgencyCaller::from_identity(caller)?.agency.clone();
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let by = violations.note(assigning(caller))?;
        let former = violations.note(named("former_officer", &request.former_officer))?;
        let to = match &request.assignee {
            Some(MoveTo::Officer(name)) => violations.note(named("officer", name))?.map(Assignee::Officer),
            Some(MoveTo::Pool(true)) => Some(Assignee::Pool),
            Some(MoveTo::Pool(false)) | None => {
                violations.add("assignee", "is required: set `officer`, or set `pool` to true");
                None
            }
        };
        if let (Some(former), Some(Assignee::Officer(to))) = (&former, &to)
            && person(former) == person(to)
        {
            violations.add("officer", "is the one who has them");
        }
        let size = violations
            .note(page::size(request.page_size))?
            .map(|size| size.min(MOST_MOVED));
        let of = former.as_deref().map(person).unwrap_or_default();
        let target = match &to {
            Some(Assignee::Officer(to)) => format!("officer {}", person(to)),
            _ => "pool".to_owned(),
        };
        // The names last: they may have any character.
        let preview = request.validate_only;
        let filter = format!("MoveCases agency={agency} preview={preview} of={of} to={target}");
        let after = violations.note(seal.position(&filter, &request.page_token, cursor))?;
        let all = violations.finish(|| by.zip(former.zip(to)).zip(size.zip(after)));
        let ((by, (former, to)), (size, after)) = all.map_err(Failure::InvalidInput)?;
        let listing = Listing::Worklist(Worklist::Assigned, self.clock.now());
        let page = self
            .store
            .cases_of_officers(&agency, &[of], listing, after, size)
            .await?;
        let next = page.next.map(|last| format!("{}/{}", last.place, last.id));
        let viewer = Party::Agency(agency);
        let results = match preview {
            true => {
                let directory = &self.versions.active().directory;
                let shown = page.items.iter().map(|stored| BatchedCase {
                    name: names::CASE.of(stored.id),
                    result: Some(BatchedResult::Sight(CaseSight {
                        sight: Some(Sight::CurrentCase(view::outline(stored, &viewer, directory))),
                    })),
                });
                shown.collect()
            }
            false => {
                let changes = page.items.iter().map(|stored| ChangeRequest {
                    method: MoveCasesRequest::NAME,
                    name: names::CASE.of(stored.id),
                    etag: String::new(),
                    // What was moved is not there any more: a repeat moves what is left.
                    request_id: String::new(),
                    content: Vec::new(),
                    action: Ok(Action::Assign(Assign {
                        to: to.clone(),
                        former: Some(former.clone()),
                        by: by.clone(),
                        commitment: Vec::new(),
                    })),
                    note: CaseNote::default(),
                    validate_only: false,
                });
                self.moved(caller, changes.collect()).await?
            }
        };
        Ok(MoveCasesResponse {
            results,
            next_page_token: next.map(|next| seal.encode(&filter, &next)).unwrap_or_default(),
        })
    }

    async fn moved(&self, caller: &Identity, changes: Vec<ChangeRequest>) -> Result<Vec<BatchedCase>, Failure> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.act_each(caller, changes).await?;
        Ok(answers.into_iter().map(batched).collect())
    }
}

/// What became of a case of a batch.
pub(crate) fn batched((name, answer): (String, Result<Answered, Failure>)) -> BatchedCase {
    BatchedCase {
        name,
        result: Some(match answer {
            Ok(Answered::Changed(sight) | Answered::Notified(sight, _)) => BatchedResult::Sight(*sight),
            Ok(Answered::Previewed(preview)) => BatchedResult::Preview(*preview),
            Err(failure) => BatchedResult::Error(failure.into()),
        }),
    }
}

/// The name of the officer who acts.
fn assigning(caller: &Identity) -> Result<String, Failure> {
    crate::grpc::arguments::assigning(caller.officer.as_ref()).map_err(Failure::InvalidInput)
}

/// An officer who is named in a field, in canonical form.
fn named(field: &'static str, name: &str) -> Result<String, Failure> {
    crate::grpc::arguments::named(field, name).map_err(Failure::InvalidInput)
}
