//! Use cases of a superior that puts an agency under supervision, and of the agency that answers.

use api::routing::{
    AgencySupervision as Wire, AnswerSupervisionRequest, EndSupervisionRequest, ListSupervisionsRequest,
    ListSupervisionsResponse, SuperviseAgencyRequest,
};
use decision::directory::AgencyId;
use journal::{RequestId, Time, ordered_id};
use prost::{Message, Name};
use rpc::{AgencyCaller, Failure, Identity, Violations, page};
use uuid::Uuid;

use crate::{
    cases::Cases,
    grpc::arguments::{LONGEST_NOTE, within, written},
    store::{AgencySupervision, MOST_SUPERVISIONS, Step, StepTaken, Stepped},
    view,
};

/// The longest time to correct something, in days.
const LONGEST_TERM_DAYS: i64 = 366;

impl Cases {
    /// A superior puts an agency under supervision.
    pub(crate) async fn supervise_agency(
        &self,
        caller: &Identity,
        request: SuperviseAgencyRequest,
    ) -> Result<Wire, Failure> {
        let by = AgencyCaller::from_identity(caller)?.agency.clone();
        let now = self.clock.now();
        let mut violations = Violations::new();
        let agency = violations.name("agency", names::AGENCY, &request.agency);
        let is_below = |agency: &AgencyId| *agency != by && self.versions.active().directory.is_under(agency, &by);
        let agency = agency.and_then(|agency| {
            let below = is_below(&agency).then_some(agency);
            violations.check("agency", below, "is not below your agency")
        });
        text(&mut violations, "demand", &request.demand)?;
        let correct_by = request.correct_by_time.as_ref().and_then(Time::from_proto);
        let in_time = |time: &Time| *time > now && *time <= now.plus_seconds(LONGEST_TERM_DAYS * 86_400);
        let fault = "is required: a time to come, at most 366 days from now";
        let correct_by = violations.check("correct_by_time", correct_by.filter(in_time), fault);
        let request_id = violations.request_id("request_id", &request.request_id);
        let (agency, correct_by) = violations
            .finish(|| agency.zip(correct_by))
            .map_err(Failure::InvalidInput)?;
        let id = ordered_id(now, &*self.entropy);
        let new = AgencySupervision {
            id,
            agency,
            supervisor: by.clone(),
            demand: request.demand.clone(),
            correct_by,
            time: now,
            answer: None,
            end: None,
        };
        self.step(caller, id, by, Step::Begin(Box::new(new)), request_id, &request)
            .await
    }

    /// The agency under supervision answers.
    pub(crate) async fn answer_supervision(
        &self,
        caller: &Identity,
        request: AnswerSupervisionRequest,
    ) -> Result<Wire, Failure> {
        let by = AgencyCaller::from_identity(caller)?.agency.clone();
        let mut violations = Violations::new();
        let id = violations.name("name", names::SUPERVISION, &request.name);
        text(&mut violations, "answer", &request.answer)?;
        let request_id = violations.request_id("request_id", &request.request_id);
        let id = violations.finish(|| id).map_err(Failure::InvalidInput)?;
        let step = Step::Answer(request.answer.clone());
        self.step(caller, id, by, step, request_id, &request).await
    }

    /// The superior ends the supervision.
    pub(crate) async fn end_supervision(
        &self,
        caller: &Identity,
        request: EndSupervisionRequest,
    ) -> Result<Wire, Failure> {
        let by = AgencyCaller::from_identity(caller)?.agency.clone();
        let mut violations = Violations::new();
        let id = violations.name("name", names::SUPERVISION, &request.name);
        text(&mut violations, "note", &request.note)?;
        let request_id = violations.request_id("request_id", &request.request_id);
        let id = violations.finish(|| id).map_err(Failure::InvalidInput)?;
        let step = Step::End {
            corrected: request.corrected,
            note: request.note.clone(),
        };
        self.step(caller, id, by, step, request_id, &request).await
    }

    async fn step<R: Message + Name>(
        &self,
        caller: &Identity,
        id: Uuid,
        by: AgencyId,
        step: Step,
        request_id: Option<Uuid>,
        request: &R,
    ) -> Result<Wire, Failure> {
        let now = self.clock.now();
        let taken = StepTaken {
            id,
            by,
            step,
            actor: caller.actor(id.as_bytes()),
            request: request_id
                .map(|request_id| RequestId::new(&caller.system, request_id, R::NAME, &request.encode_to_vec())),
            traceparent: telemetry::traceparent(),
        };
        let stepped = self
            .writer
            .write(&self.store, |store| async move { store.step(&taken, now).await });
        match stepped.await? {
            Stepped::Done(supervision) => Ok(view::agency_supervision(&supervision)),
            Stepped::NotFound => Err(Failure::NotFound { what: "supervision" }),
            Stepped::NotYours(description) => Err(Failure::denied(description, &caller.system)),
            Stepped::WrongState(state, description) => Err(Failure::WrongState {
                record: names::SUPERVISION.of(id),
                state,
                description,
            }),
            Stepped::TooMany => {
                let description =
                    format!("is under {MOST_SUPERVISIONS} supervisions of yours already: end one of them first");
                Err(Failure::invalid("agency", description))
            }
            Stepped::RequestIdReused => Err(Failure::RequestIdReused),
        }
    }

    /// The supervisions that the caller's agency is under, and those that it began.
    pub(crate) async fn list_supervisions(
        &self,
        caller: &Identity,
        request: &ListSupervisionsRequest,
    ) -> Result<ListSupervisionsResponse, Failure> {
        let agency = AgencyCaller::from_identity(caller)?.agency.clone();
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let filter = format!("ListSupervisions agency={agency}");
        let after = seal.position(&filter, &request.page_token, |id| Uuid::parse_str(id).ok());
        let after = violations.note(after)?;
        let (size, after) = violations.finish(|| size.zip(after)).map_err(Failure::InvalidInput)?;
        // One more, which tells whether there are more.
        let mut found = self.store.supervisions(&agency, after, size + 1).await?;
        let more = found.len() > size as usize;
        found.truncate(size as usize);
        let next = found.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(ListSupervisionsResponse {
            supervisions: found.iter().map(view::agency_supervision).collect(),
            next_page_token: next.map(|next| seal.encode(&filter, &next)).unwrap_or_default(),
        })
    }
}

/// Notes what is wrong with a text that has to be there.
fn text(violations: &mut Violations, field: &'static str, text: &str) -> Result<(), Failure> {
    violations.note(written(field, text).map_err(Failure::InvalidInput))?;
    let long = within(field, text, LONGEST_NOTE).map_err(|violation| Failure::InvalidInput(vec![violation]));
    violations.note(long).map(drop)
}
