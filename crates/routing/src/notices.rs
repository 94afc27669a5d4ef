//! Use cases of the side that a disposition affects, by the receipt that it got with its notice.

use api::{
    event::{ReviewRequester, StatementKind},
    routing::{CaseNote, Notice, RequestDecisionReviewRequest, SubmitStatementRequest},
};
use decision::directory::AgencyId;
use journal::RequestId;
use rpc::{Failure, Identity, Violations};

use crate::{
    case::{Action, Party, Refusal, RequestReview, SubmitStatement},
    cases::Cases,
    store::{Acted, Command, Noticed},
    view,
};

/// Maximum characters of what the affected side says.
const LONGEST: usize = 5_000;

/// Something that the affected side says.
struct Word<'a> {
    method: &'static str,
    receipt: &'a str,
    text: &'a str,
    request_id: &'a str,
    action: fn(u64, StatementKind, Option<AgencyId>) -> Action,
    kind: StatementKind,
}

impl Cases {
    /// What the affected side may know of its matter.
    pub(crate) async fn check_notice(&self, receipt: &str) -> Result<Notice, Failure> {
        Ok(self.shown(&self.noticed(receipt).await?))
    }

    /// States the affected side's view before a decision.
    pub(crate) async fn submit_statement(
        &self,
        caller: &Identity,
        request: &SubmitStatementRequest,
    ) -> Result<Notice, Failure> {
        let kind = request.kind();
        let mut violations = Violations::new();
        if kind == StatementKind::Unspecified {
            violations.add(
                "kind",
                "must be set to one that this server knows, such as STATEMENT_KIND_STATEMENT",
            );
        }
        check_text(&request.text, kind != StatementKind::Waived, &mut violations);
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        self.say(
            caller,
            Word {
                method: "SubmitStatement",
                receipt: &request.receipt,
                text: &request.text,
                request_id: &request.request_id,
                action: |notice, kind, through| Action::SubmitStatement(SubmitStatement { notice, kind, through }),
                kind,
            },
        )
        .await
    }

    /// Asks for a review of a decision.
    pub(crate) async fn request_decision_review(
        &self,
        caller: &Identity,
        request: &RequestDecisionReviewRequest,
    ) -> Result<Notice, Failure> {
        let mut violations = Violations::new();
        check_text(&request.text, true, &mut violations);
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        self.say(
            caller,
            Word {
                method: "RequestDecisionReview",
                receipt: &request.receipt,
                text: &request.text,
                request_id: &request.request_id,
                action: |notice, _, _| {
                    Action::RequestReview(RequestReview {
                        requester: ReviewRequester::Subject,
                        notice: Some(notice),
                    })
                },
                kind: StatementKind::Unspecified,
            },
        )
        .await
    }

    async fn noticed(&self, receipt: &str) -> Result<Noticed, Failure> {
        let found = self.store.notice(receipt, self.clock.now()).await?;
        found.ok_or(Failure::NotFound { what: "notice" })
    }

    fn shown(&self, noticed: &Noticed) -> Notice {
        view::notice(noticed, &self.versions.active().directory, self.clock.now())
    }

    /// Does what the affected side asks for, and shows how its matter stands then.
    async fn say(&self, caller: &Identity, word: Word<'_>) -> Result<Notice, Failure> {
        let mut violations = Violations::new();
        let request = violations.request_id("request_id", word.request_id);
        let request = violations.finish(|| Some(request)).map_err(Failure::InvalidInput)?;
        let Noticed { stored, notice, .. } = self.noticed(word.receipt).await?;
        let case = stored.id;
        let mut content = case.as_bytes().to_vec();
        content.extend(notice.to_be_bytes());
        content.extend(i32::from(word.kind).to_be_bytes());
        content.extend(word.text.as_bytes());
        let command = Command {
            case,
            by: Party::Subject(notice),
            action: (word.action)(notice, word.kind, caller.agency.clone()),
            note: CaseNote {
                text: word.text.to_owned(),
                ..CaseNote::default()
            },
            etag: String::new(),
            request: request.map(|id| RequestId::new(&caller.system, id, word.method, &content)),
            actor: caller.actor(case.as_bytes()),
            traceparent: telemetry::traceparent(),
            validate_only: false,
        };
        match self.commands.commit(command).await? {
            Acted::Done(_) | Acted::Notified(..) | Acted::Previewed(_) => self.check_notice(word.receipt).await,
            Acted::NotFound | Acted::EtagMismatch => Err(Failure::NotFound { what: "notice" }),
            Acted::RequestIdReused => Err(Failure::RequestIdReused),
            Acted::Refused(refusal) => Err(self.refused(refusal, word.receipt).await?),
        }
    }

    /// Converts a refusal of the rules to an error, which tells no more than the notice does.
    async fn refused(&self, refusal: Refusal, receipt: &str) -> Result<Failure, Failure> {
        if let Refusal::Argument { field, description } = refusal {
            return Ok(Failure::invalid(field, description));
        }
        let standing = self.check_notice(receipt).await?.standing();
        Ok(Failure::WrongState {
            record: "notice".to_owned(),
            state: standing.as_str_name(),
            description: view::refused(standing).to_owned(),
        })
    }
}

fn check_text(text: &str, is_required: bool, violations: &mut Violations) {
    let length = text.chars().count();
    if length > LONGEST {
        violations.add("text", format!("has {length} characters, more than {LONGEST}"));
    }
    if is_required && names::text::visible(text).trim().is_empty() {
        violations.add("text", "is required");
    }
}
