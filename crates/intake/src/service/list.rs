//! Listing what a sender sent.

use api::intake::{ListReportsRequest, ListReportsResponse, Report, ReportState};
use journal::Time;
use rpc::{Failure, Identity, Violations, page};
use uuid::Uuid;

use super::{Service, sender, shown_state};
use crate::{
    sight::{self, BLOCK},
    state::State,
    store::{self, Sent},
    submission,
};

/// Blocks of as many reports as routing is asked about at once that a page reads at most, where
/// only some are shown.
const BLOCKS: usize = 4;

impl Service {
    /// A page of the reports that the caller sent.
    pub(crate) async fn list(
        &self,
        caller: &Identity,
        request: &ListReportsRequest,
    ) -> Result<ListReportsResponse, Failure> {
        let mut violations = Violations::new();
        let seal = self.tokens.seal().await?;
        let size = violations.note(page::size(request.page_size))?;
        let state = violations.check(
            "state",
            wanted_state(request.state),
            "is not one that this server knows",
        );
        let mut bound = |field, time: Option<Option<Time>>| match time {
            None => None,
            Some(time) => violations.check(field, time, "is out of range"),
        };
        let start = bound("start_time", request.start_time.as_ref().map(Time::from_proto));
        let end = bound("end_time", request.end_time.as_ref().map(Time::from_proto));
        let external_id = submission::wanted_external_id("external_id", &request.external_id, &mut violations);
        // Of one caller and one filter: a token shows nobody else's reports, nor skips over any.
        let filter = format!(
            "ListReports system={} agency={} state={} from={:?} to={:?} external_id={:?}",
            caller.system,
            caller.agency.as_ref().map(names::AgencyId::as_str).unwrap_or_default(),
            request.state,
            start,
            end,
            external_id,
        );
        let before = violations.note(seal.position(&filter, &request.page_token, |text| Uuid::parse_str(text).ok()))?;
        let (size, state, before) = violations.finish(|| Some((size?, state?, before?)))?;
        let sent = Sent {
            by: sender(caller),
            start,
            end,
            external_id,
        };
        // Of a state there may be few: more is read than shown, up to a number.
        let (blocks, mut block) = match state {
            Some(_) => (BLOCKS, BLOCK),
            None => (1, size + 1),
        };
        let (mut shown, mut before, mut is_last) = (Vec::new(), before, false);
        for _ in 0..blocks {
            let found = self.store.sent(&sent, before, block).await?;
            is_last = found.len() < block as usize;
            before = found.last().map(|last| last.report).or(before);
            let asked: Vec<_> = found.iter().map(|sent| (sent.report, sent.case.as_ref())).collect();
            let hidden = sight::hidden_of(&self.routing, caller.agency.as_ref(), &asked).await?;
            shown.extend(found.into_iter().filter_map(|sent| {
                let is_hidden = hidden.contains(&store::name(sent.report));
                let shown = shown_state(sent.state, is_hidden);
                // As it is shown: chosen by what is kept from the caller, the list would tell it.
                state.is_none_or(|wanted| wanted == shown).then_some((sent, shown))
            }));
            if is_last || shown.len() > size as usize {
                break;
            }
            block = BLOCK;
        }
        let cut = seal.cut(&mut shown, size, &filter, |(last, _)| last.report.to_string());
        let next_page_token = match before {
            _ if !cut.is_empty() || is_last => cut,
            Some(before) => seal.encode(&filter, &before.to_string()),
            None => String::new(),
        };
        let reports = shown.into_iter().map(|(sent, shown)| Report {
            name: store::name(sent.report),
            state: shown.to_proto().into(),
            accept_time: Some(sent.accept_time.to_proto()),
            external_id: sent.external_id,
            ..Report::default()
        });
        Ok(ListReportsResponse {
            reports: reports.collect(),
            next_page_token,
        })
    }
}

/// The state that is asked for, `None` for any; nothing for one that this version does not know.
fn wanted_state(state: i32) -> Option<Option<State>> {
    match ReportState::try_from(state).ok()? {
        ReportState::Unspecified => Some(None),
        state => State::from_proto(state).map(Some),
    }
}
