//! Withdrawing a report.

use api::{
    google::r#type::LocalizedText,
    intake::{WithdrawReportRequest, WithdrawReportResponse},
};
use journal::keyed_hash;
use rpc::{Failure, Identity, Violations};

use super::{Service, sender};
use crate::{
    state::State,
    store::{self, Withdrawal, Withdrawn},
};

impl Service {
    /// Records that the bearer of a receipt withdraws. Routing decides what that does to the case.
    pub(crate) async fn withdraw(
        &self,
        caller: &Identity,
        request: &WithdrawReportRequest,
    ) -> Result<WithdrawReportResponse, Failure> {
        let mut violations = Violations::new();
        let request_id = violations.request_id("request_id", &request.request_id);
        violations.finish(|| Some(())).map_err(Failure::InvalidInput)?;
        let stored = self.by_receipt(&request.receipt).await?;
        let report = stored.report;
        let fingerprint = keyed_hash(&self.fingerprint_key, "withdrawal-fingerprint-v1", report.as_bytes());
        let withdrawal = Withdrawal {
            report,
            sender: sender(caller),
            actor: caller.actor(report.as_bytes()),
            is_hidden: self.is_hidden_from_bearer(caller, &stored).await?,
            traceparent: telemetry::traceparent(),
            request: request_id.map(|id| (id, fingerprint)),
        };
        let now = self.clock.now();
        let withdrawn = self
            .writer
            .write(
                &self.store,
                |store| async move { store.withdraw(&withdrawal, now).await },
            )
            .await?;
        match withdrawn {
            Withdrawn::Requested(time) => Ok(WithdrawReportResponse {
                request_time: Some(time.to_proto()),
                notices: notices(),
            }),
            Withdrawn::RequestIdReused => Err(Failure::RequestIdReused),
            Withdrawn::NotFound => Err(Failure::NotFound { what: "report" }),
            Withdrawn::Ended(state) => Err(Failure::WrongState {
                record: store::name(report),
                state: state.name(),
                description: match state {
                    State::Routed => "its case is decided; ask the agency that decided",
                    State::Withdrawn => "it is withdrawn already",
                    _ => "it has ended",
                }
                .to_owned(),
            }),
        }
    }
}

/// What follows: the same whatever the case, which an answer would tell an excluded sender.
fn notices() -> Vec<LocalizedText> {
    api::bilingual(
        "撤回申请已记录。承办单位尚未签收的，线索随即终止；紧急类别、有回避单位的或者已签收的，由承办单位决定。凭查询码可查看结果。",
        "Your wish was recorded. If no agency has taken the report over yet, its case ends; if one has, the category is \
         urgent or the report is kept from somebody, the agency decides. The receipt shows what comes of it.",
    )
}
