//! Following a report by its receipt.

use api::intake::{Advice, CheckReceiptResponse, LogReference};
use journal::Time;
use rpc::{Failure, Identity, Role};

use super::{Service, shown_state};
use crate::{outcome, state::State, store::StoredReport};

impl Service {
    /// Tells whoever has a receipt how its report stands.
    pub(crate) async fn check_receipt(
        &self,
        caller: &Identity,
        receipt: &str,
    ) -> Result<CheckReceiptResponse, Failure> {
        let now = self.clock.now();
        // Read before the report is: what arrives in between is perhaps not shown, and must not be
        // called known.
        let progress = self.store.progress(now).await?;
        let stored = self.by_receipt(receipt).await?;
        // Read before routing is asked: it then knows of everything that could be shown.
        let mut changes = self.store.changes(stored.report).await?;
        let mut steps = self.store.steps(stored.report).await?;
        let open = stored.case.as_ref().and_then(|case| case.question.as_ref());
        // Routing tells of the answer only later.
        let is_answered = match open {
            Some(open) => self.store.is_answered(stored.report, open.question_number).await?,
            None => false,
        };
        let hidden = self.is_hidden_from_bearer(caller, &stored).await?;
        if hidden {
            steps.clear();
        }
        let (as_of, outdated) = currency(&stored, progress, hidden, now);
        let case = stored.case.clone().filter(|_| !hidden).unwrap_or_default();
        let state = shown_state(stored.state, hidden);
        // Whether it is hidden or not routed yet: what its bearers did since would tell which, as
        // between that and what is hidden there are gaps.
        if state == State::Accepted {
            changes.truncate(1);
        }
        Ok(CheckReceiptResponse {
            state: state.to_proto().into(),
            // The same as before it is routed: nothing shows that somebody is excluded.
            inquiry: (state == State::Accepted).then(inquiry),
            accept_time: Some(stored.accept_time.to_proto()),
            agency: case.lead,
            agency_titles: case.lead_titles,
            acknowledged: case.acknowledged,
            as_of_time: Some(as_of.to_proto()),
            outdated,
            changes: changes
                .into_iter()
                .map(|change| LogReference {
                    entry: change.entry.into(),
                    chain: Some(change.chain),
                    event_id: change.event_id,
                    kind: change.kind,
                    change_time: Some(change.time.to_proto()),
                    logged: change.delivered,
                })
                .collect(),
            advice: case.advice,
            outcome: case.outcome.map(outcome::in_words),
            due_time: case.due_time,
            steps: steps.into_iter().map(outcome::step).collect(),
            question: case.question.filter(|_| !is_answered),
        })
    }

    /// The report of a receipt. Whatever is done with a receipt begins here: an unknown one takes
    /// one path and has one answer.
    pub(super) async fn by_receipt(&self, receipt: &str) -> Result<StoredReport, Failure> {
        let found = self.store.report_by_receipt(self.receipts.lookup(receipt)).await?;
        found.ok_or(Failure::NotFound { what: "receipt" })
    }

    /// Whether what became of a report is hidden from whoever shows its receipt. An excluded sender
    /// may have kept the receipt, or show it through somebody else: then it tells nobody the
    /// outcome. Operators are told: reporters ask them.
    pub(super) async fn is_hidden_from_bearer(
        &self,
        caller: &Identity,
        stored: &StoredReport,
    ) -> Result<bool, Failure> {
        let sender = stored.sender.agency.as_ref().filter(|_| !caller.is(Role::Operator));
        self.is_hidden(caller.agency.iter().chain(sender), stored).await
    }
}

/// Seconds without word from routing after which an answer counts as outdated.
const OUTDATED_SECONDS: i64 = 60;

/// Up to when an answer about a report is complete, and whether that is too long ago. Nothing of
/// this differs between a report that is hidden and one that is not routed yet.
fn currency(stored: &StoredReport, progress: Option<Time>, hidden: bool, now: Time) -> (Time, bool) {
    let known = if hidden { stored.accept_time } else { stored.known_time };
    let as_of = progress.map_or(known, |arrived| arrived.max(known));
    // A change that arrived on its own says nothing of later ones, of this case or another's.
    let heard = progress.unwrap_or(stored.accept_time).max(stored.accept_time);
    (as_of, now > heard.plus_seconds(OUTDATED_SECONDS))
}

/// Where a reporter can ask for more than a receipt tells.
fn inquiry() -> Advice {
    let zh = "本查询码目前只能证明举报已受理。举报人可凭本查询码，向运行本平台的受理中心查询后续情况。";
    let en = "For now this receipt shows only that the report was accepted. Its reporter can ask the centre that runs this \
              service, with this receipt, what became of it.";
    Advice {
        texts: api::bilingual(zh, en),
    }
}
