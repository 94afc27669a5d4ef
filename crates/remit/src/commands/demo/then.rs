//! What then happens to some of the stories' cases: who declines, claims, decides and reviews. Each
//! step is made with the token of its agency, and its proof is verified like that of a route.

use std::time::Duration;

use anyhow::Context as _;
use api::{
    audit::{ChangeFilter, ListChangesRequest, audit_service_client::AuditServiceClient},
    event::{
        CaseState, ClaimAnswer, Disposition, DispositionEffect, DispositionKind, HandOverReason, NoticeMeans,
        ReopenReason, ReviewVerdict, StatementAnswer, StatementKind,
    },
    intake::{
        AddInformationRequest, AnswerQuestionRequest, CheckReceiptRequest, LogReference,
        add_information_request::Target as Whose, intake_service_client::IntakeServiceClient,
    },
    routing::{
        AcknowledgeCaseRequest, AnswerClaimRequest, AnswerStatementRequest, AskReporterRequest, Case, ClaimLeadRequest,
        DeclineCaseRequest, DesignateAgencyRequest, GetCaseRequest, NotifySubjectRequest, ProposeDispositionRequest,
        ReopenCaseRequest, RequestDecisionReviewRequest, ReviewDispositionRequest, SubmitStatementRequest,
        TransferCaseRequest, case_service_client::CaseServiceClient, notice_service_client::NoticeServiceClient,
    },
};
use host::config::Service;
use journal::{Opened, RoutingKind};
use rpc::{Officer, client::Caller};
use tokio::time::Instant;
use tonic::{Response, Status};
use tonic_types::StatusExt as _;

use super::{Demo, PATIENCE, Sent, story::proofs};
use crate::{
    client::Failed,
    commands::proof::{self, Logged},
    output::{self, Paint as _, dim, good, id, strong},
};

type Desk = CaseServiceClient<Caller>;

/// One case, and who acts on it.
struct Play<'a> {
    demo: &'a Demo,
    vkey: &'a str,
    case: String,
}

impl Demo {
    /// Goes on with the case of a story, if something is told of it. Returns the number of proofs.
    pub(super) async fn then(&self, sent: &Sent, case: &Case, vkey: &str) -> anyhow::Result<usize> {
        let play = Play {
            demo: self,
            vkey,
            case: case.name.clone(),
        };
        match sent.example.story {
            3 => play.reviewed_twice().await?,
            4 => play.moved_away().await?,
            5 => play.asked(sent).await?,
            6 => play.claimed().await?,
            9 => play.kept_out().await?,
            _ => return Ok(0),
        }
        play.prove().await
    }
}

impl Play<'_> {
    /// The third story: a penalty needs a second person, and the say of whom it affects; a review
    /// goes up.
    async fn reviewed_twice(&self) -> anyhow::Result<()> {
        let (beijing, nation) = ("police-110000", "police-CN");
        self.title("a penalty: notice, statement, two people, and a review above")
            .await?;
        self.acknowledge(beijing).await?;
        let propose = |name: String| ProposeDispositionRequest {
            name,
            disposition: Some(Disposition {
                kind: DispositionKind::Penalty.into(),
                effects: vec![DispositionEffect::Sanctioned.into(), DispositionEffect::Removed.into()],
                legal_basis: "治安管理处罚法 58".to_owned(),
            }),
            reasons: "The accounts demanded money for leaving a story out; two payments are proven.".to_owned(),
            reporter_text: "The operators of the accounts were fined, and the posts are gone.".to_owned(),
            ..Default::default()
        };
        let verdict = |name: String, verdict: ReviewVerdict| ReviewDispositionRequest {
            name,
            verdict: verdict.into(),
            note: match verdict {
                ReviewVerdict::Returned => "The second payment's record is missing.".to_owned(),
                _ => String::new(),
            },
            ..Default::default()
        };
        self.act(beijing, "o-17", "proposes a penalty", async |mut desk, name| {
            desk.propose_disposition(propose(name)).await
        })
        .await?;
        self.refused(beijing, "o-17", "approves its own proposal", async |mut desk, name| {
            desk.review_disposition(verdict(name, ReviewVerdict::Approved)).await
        })
        .await?;
        self.act(
            beijing,
            "o-20",
            "returns it: a record is missing",
            async |mut desk, name| desk.review_disposition(verdict(name, ReviewVerdict::Returned)).await,
        )
        .await?;
        self.act(beijing, "o-17", "proposes it again", async |mut desk, name| {
            desk.propose_disposition(propose(name)).await
        })
        .await?;
        self.refused(
            beijing,
            "o-20",
            "approves it before anybody was told",
            async |mut desk, name| desk.review_disposition(verdict(name, ReviewVerdict::Approved)).await,
        )
        .await?;
        let receipt = self.notify(beijing, 0, "gives the accounts' holder notice").await?;
        self.holder(
            &receipt,
            "states that the account was stolen",
            async |mut door, receipt| {
                let request = SubmitStatementRequest {
                    receipt,
                    kind: StatementKind::Statement.into(),
                    text: "The account was stolen in March.".to_owned(),
                    ..Default::default()
                };
                door.submit_statement(request).await
            },
        )
        .await?;
        self.act(beijing, "o-17", "answers the statement", async |mut desk, name| {
            let request = AnswerStatementRequest {
                name,
                notice_number: 1,
                statement_count: 1,
                answer: StatementAnswer::Considered.into(),
                subject_text: "Both payments went to the holder's own account.".to_owned(),
                ..Default::default()
            };
            desk.answer_statement(request).await
        })
        .await?;
        self.act(beijing, "o-20", "approves it", async |mut desk, name| {
            desk.review_disposition(verdict(name, ReviewVerdict::Approved)).await
        })
        .await?;
        self.notify(beijing, 1, "gives the holder notice of the decision")
            .await?;
        self.holder(
            &receipt,
            "asks for a review by its receipt",
            async |mut door, receipt| {
                let request = RequestDecisionReviewRequest {
                    receipt,
                    text: "The payments were refunds.".to_owned(),
                    ..Default::default()
                };
                door.request_decision_review(request).await
            },
        )
        .await?;
        self.acknowledge(nation).await
    }

    /// Gives notice to the affected side: to another one, or again. Returns its receipt, if it got one.
    async fn notify(&self, agency: &str, again: i64, what: &str) -> anyhow::Result<String> {
        let mut receipt = String::new();
        self.act(agency, "o-17", what, async |mut desk, name| {
            let request = NotifySubjectRequest {
                name,
                notice_number: again,
                of_decision: again != 0,
                recipient: "holder of the accounts".to_owned(),
                means: NoticeMeans::Electronic.into(),
                subject_text: "Money was demanded for leaving a story out; two payments are proven.".to_owned(),
                ..Default::default()
            };
            let given = desk.notify_subject(request).await?;
            receipt.clone_from(&given.get_ref().receipt);
            Ok(given)
        })
        .await?;
        Ok(receipt)
    }

    /// A step of the affected side, through the platform that calls for it.
    async fn holder<A>(
        &self,
        receipt: &str,
        what: &str,
        step: impl AsyncFnOnce(NoticeServiceClient<Caller>, String) -> Result<Response<A>, Status>,
    ) -> anyhow::Result<()> {
        let routing = self.demo.access.target(Service::Routing, None)?;
        let door = NoticeServiceClient::new(routing.channel);
        let made = step(door, receipt.to_owned()).await;
        made.map_err(Failed::call(&routing.address))
            .with_context(|| format!("the holder {what}"))?;
        let case = self.current().await?;
        let now = format!("{}, with {}", output::case_state(case.state()), id(&case.lead));
        self.tell("holder", what, &now.as_str().style(dim()))
    }

    /// The fourth story: declined once, then designated.
    async fn moved_away(&self) -> anyhow::Result<()> {
        let (nanning, liuzhou, guangxi) = ("police-450100", "police-450200", "police-450000");
        self.title("declined once, then designated: no circle").await?;
        let decline = |name: String, better: &str| DeclineCaseRequest {
            name,
            reason: HandOverReason::Place.into(),
            better_agency: better.to_owned(),
            note: "The operator has moved to Liuzhou.".to_owned(),
            ..Default::default()
        };
        self.act(
            nanning,
            "o-3",
            "declines: the operator has moved to Liuzhou",
            async |mut desk, name| desk.decline_case(decline(name, "agencies/police-450200")).await,
        )
        .await?;
        self.act(guangxi, "o-1", "designates Liuzhou", async |mut desk, name| {
            let request = DesignateAgencyRequest {
                name,
                agency: format!("agencies/{liuzhou}"),
                ..Default::default()
            };
            desk.designate_agency(request).await
        })
        .await?;
        self.refused(liuzhou, "o-8", "declines", async |mut desk, name| {
            desk.decline_case(decline(name, "")).await
        })
        .await?;
        self.refused(nanning, "o-3", "looks at it once more", async |mut desk, name| {
            desk.get_case(GetCaseRequest { name }).await
        })
        .await?;
        self.acknowledge(liuzhou).await
    }

    /// The fifth story: the reporter is asked and answers, and what it adds later opens the case
    /// again.
    async fn asked(&self, sent: &Sent) -> anyhow::Result<()> {
        let nation = "police-CN";
        self.title("the reporter is asked, and adds screenshots once it is decided")
            .await?;
        self.acknowledge(nation).await?;
        self.act(nation, "o-4", "asks the reporter", async |mut desk, name| {
            let request = AskReporterRequest {
                name,
                question: "Which account did you pay to, and do you have screenshots?".to_owned(),
                answer_day_count: 7,
                ..Default::default()
            };
            desk.ask_reporter(request).await
        })
        .await?;
        // The reporter, through the form of whoever took the report in.
        let intake = self
            .demo
            .access
            .of(&sent.example.sender)
            .target(Service::Intake, None)?;
        let mut form = IntakeServiceClient::new(intake.channel);
        let question = awaited("the receipt does not show the question", async || {
            let receipt = sent.receipt.clone();
            let shown = form.clone().check_receipt(CheckReceiptRequest { receipt }).await;
            Ok(shown.map_err(Failed::call(&intake.address))?.into_inner().question)
        });
        let question = question.await?;
        let answer = AnswerQuestionRequest {
            receipt: sent.receipt.clone(),
            question_number: question.question_number,
            text: "To an account at a bank in Guangdong. I have no screenshots now.".to_owned(),
            ..Default::default()
        };
        let answered = form.answer_question(answer).await;
        answered.map_err(Failed::call(&intake.address))?;
        self.heard("answers by the receipt", RoutingKind::QuestionAnswered)
            .await?;
        self.act(nation, "o-4", "decides: too little is known", async |mut desk, name| {
            let request = ProposeDispositionRequest {
                name,
                disposition: Some(Disposition {
                    kind: DispositionKind::InsufficientInformation.into(),
                    effects: vec![DispositionEffect::None.into()],
                    legal_basis: "公安机关办理刑事案件程序规定 174".to_owned(),
                }),
                reasons: "The account's holder is not known, and the app is gone.".to_owned(),
                reporter_text: "Without more we cannot go on. You can still add to your report.".to_owned(),
                ..Default::default()
            };
            desk.propose_disposition(request).await
        })
        .await?;
        if self.current().await?.state() == CaseState::InReview {
            self.act(nation, "o-5", "approves it", async |mut desk, name| {
                let request = ReviewDispositionRequest {
                    name,
                    verdict: ReviewVerdict::Approved.into(),
                    ..Default::default()
                };
                desk.review_disposition(request).await
            })
            .await?;
        }
        let more = AddInformationRequest {
            target: Some(Whose::Receipt(sent.receipt.clone())),
            text: "I found the screenshots: the transfer, and the talk with the agent.".to_owned(),
            ..Default::default()
        };
        let added = form.add_information(more).await;
        added.map_err(Failed::call(&intake.address))?;
        self.heard("adds screenshots by the receipt", RoutingKind::InformationAdded)
            .await?;
        self.act(nation, "o-4", "opens the case again", async |mut desk, name| {
            let request = ReopenCaseRequest {
                name,
                reason: ReopenReason::NewInformation.into(),
                note: "The screenshots name the holder.".to_owned(),
                ..Default::default()
            };
            desk.reopen_case(request).await
        })
        .await
    }

    /// Waits until the case has what its reporter did.
    async fn heard(&self, what: &str, kind: RoutingKind) -> anyhow::Result<()> {
        let missing = format!("{} has no {}", self.case, kind.name());
        let case = awaited(&missing, async || {
            let case = self.current().await?;
            let is_told = case.history.last().is_some_and(|step| step.kind == kind.name());
            Ok(is_told.then_some(case))
        });
        let now = output::case_state(case.await?.state());
        self.tell("reporter", what, &now.style(dim()))
    }

    /// The sixth story: a supporting agency claims the lead, and the nation decides.
    async fn claimed(&self) -> anyhow::Result<()> {
        let (xiamen, shanghai, nation) = ("police-350200", "police-310000", "police-CN");
        self.title("claimed, disputed, and settled above both").await?;
        self.acknowledge(xiamen).await?;
        self.act(
            shanghai,
            "o-5",
            "claims the lead: the server is there",
            async |mut desk, name| {
                let request = ClaimLeadRequest {
                    name,
                    reason: HandOverReason::BetterPlaced.into(),
                    ..Default::default()
                };
                desk.claim_lead(request).await
            },
        )
        .await?;
        self.act(xiamen, "o-2", "disputes the claim", async |mut desk, name| {
            let request = AnswerClaimRequest {
                name,
                answer: ClaimAnswer::Disputed.into(),
                ..Default::default()
            };
            desk.answer_claim(request).await
        })
        .await?;
        self.act(nation, "o-1", "designates Xiamen", async |mut desk, name| {
            let request = DesignateAgencyRequest {
                name,
                agency: format!("agencies/{xiamen}"),
                ..Default::default()
            };
            desk.designate_agency(request).await
        })
        .await
    }

    /// The ninth story: the unit complained of gets the case by no door.
    async fn kept_out(&self) -> anyhow::Result<()> {
        let (inspection, handan) = ("inspection-130000", "police-130400");
        self.title("the unit complained of is kept out").await?;
        self.acknowledge(inspection).await?;
        self.refused(inspection, "o-1", "transfers it to Handan", async |mut desk, name| {
            let request = TransferCaseRequest {
                name,
                agency: format!("agencies/{handan}"),
                reason: HandOverReason::Place.into(),
                ..Default::default()
            };
            desk.transfer_case(request).await
        })
        .await
    }

    async fn title(&self, title: &str) -> anyhow::Result<()> {
        Ok(output::indented_field(6, 9, "then", title.style(strong()))?)
    }

    async fn acknowledge(&self, agency: &str) -> anyhow::Result<()> {
        self.act(agency, "o-1", "takes it over", async |mut desk, name| {
            let request = AcknowledgeCaseRequest {
                name,
                ..Default::default()
            };
            desk.acknowledge_case(request).await
        })
        .await
    }

    /// A step, and where the case is after it.
    async fn act<A>(
        &self,
        agency: &str,
        officer: &str,
        what: &str,
        step: impl AsyncFnOnce(Desk, String) -> Result<Response<A>, Status>,
    ) -> anyhow::Result<()> {
        let (desk, address) = self.desk(agency, officer)?;
        let made = step(desk, self.case.clone()).await;
        made.map_err(Failed::call(&address))
            .with_context(|| format!("{agency} {what}"))?;
        let case = self.current().await?;
        let owner = match case.lead.is_empty() {
            true => String::new(),
            false => format!(", with {}", id(&case.lead)),
        };
        let now = format!("{}{owner}", output::case_state(case.state()));
        self.tell(agency, what, &now.as_str().style(dim()))
    }

    /// A step that must be refused, and what is said.
    async fn refused<A>(
        &self,
        agency: &str,
        officer: &str,
        what: &str,
        step: impl AsyncFnOnce(Desk, String) -> Result<Response<A>, Status>,
    ) -> anyhow::Result<()> {
        let (desk, _) = self.desk(agency, officer)?;
        match step(desk, self.case.clone()).await {
            Ok(_) => anyhow::bail!("{agency} {what}: it was not refused"),
            Err(status) => {
                let details = status.get_error_details();
                let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
                let why = match violation {
                    Some(violation) => format!("refused: {} {}", violation.field, violation.description),
                    None => format!("refused: {}", status.message()),
                };
                self.tell(agency, what, &why.as_str().style(dim()))
            }
        }
    }

    fn tell(&self, agency: &str, what: &str, then: &dyn std::fmt::Display) -> anyhow::Result<()> {
        Ok(output::indented_field(
            6,
            9,
            "",
            format_args!("{agency} {what} → {then}"),
        )?)
    }

    fn desk(&self, agency: &str, officer: &str) -> anyhow::Result<(Desk, String)> {
        let mut access = self.demo.access.of(agency);
        access.officer = Some(Officer::new(officer)?);
        let routing = access.target(Service::Routing, None)?;
        Ok((CaseServiceClient::new(routing.channel), routing.address))
    }

    /// The case as the operator sees it.
    async fn current(&self) -> anyhow::Result<Case> {
        let routing = self.demo.access.target(Service::Routing, None)?;
        let request = GetCaseRequest {
            name: self.case.clone(),
        };
        let answer = CaseServiceClient::new(routing.channel).get_case(request).await;
        let answer = answer.map_err(Failed::call(&routing.address))?.into_inner();
        Ok(answer.current_case.unwrap_or_default())
    }

    /// Waits until all changes of the case are in the log, and verifies their chain and their proofs.
    async fn prove(&self) -> anyhow::Result<usize> {
        let audit = self.demo.access.target(Service::Audit, None)?;
        let expected = self.current().await?.history.len() + 1;
        let missing = format!("not all of {} is in the log", self.case);
        let listed = awaited(&missing, async || {
            let request = ListChangesRequest {
                filter: Some(ChangeFilter {
                    record: self.case.clone(),
                    ..ChangeFilter::default()
                }),
                ..ListChangesRequest::default()
            };
            let listed = AuditServiceClient::new(audit.channel.clone())
                .list_changes(request)
                .await;
            let listed = listed.map_err(Failed::call(&audit.address))?.into_inner().changes;
            Ok((listed.len() >= expected).then_some(listed))
        });
        let mut changes = Vec::new();
        for change in listed.await? {
            let chain = change.chain.unwrap_or_default();
            let opened = Opened::new(&change.entry, (&chain).into())?;
            changes.push(LogReference {
                entry: change.entry,
                chain: Some(chain),
                event_id: opened.event_id.to_string(),
                kind: opened.kind.clone(),
                logged: true,
                ..LogReference::default()
            });
        }
        self.verify(&audit, &changes).await
    }

    async fn verify(&self, audit: &crate::client::Target, changes: &[LogReference]) -> anyhow::Result<usize> {
        proof::chained(changes).map_err(|fault| Failed::Unverified(format!("{}: {fault}", self.case)))?;
        let mut proven = Vec::with_capacity(changes.len());
        for change in changes {
            match proof::check(audit, self.vkey, change).await? {
                Logged::Proven(found) => proven.push(found),
                Logged::NotYet => return Err(Failed::Unverified(format!("{} is not in the log", change.kind)).into()),
                Logged::Wrong(fault) => {
                    return Err(Failed::Unverified(format!("proof of {}: {fault}", change.kind)).into());
                }
            }
        }
        output::indented_field(6, 9, "log", format_args!("{}", proofs(&proven).style(good())))?;
        Ok(proven.len())
    }
}

/// Looks until something is there, for as long as patience lasts. `missing` says what was not.
async fn awaited<T>(missing: &str, look: impl AsyncFn() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(there) = look().await? {
            return Ok(there);
        }
        if Instant::now() >= deadline {
            anyhow::bail!("after {} s {missing}", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
