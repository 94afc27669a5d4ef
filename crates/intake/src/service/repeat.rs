//! Repeats that the fingerprint does not know: it is made with a key that may have been changed
//! since, of a form that another version may have made otherwise, and of the names of files that
//! were uploaded again. What the two reports say decides.

use api::intake::{Report, SubmitReportRequest};
use prost::Message as _;
use rpc::Failure;
use uuid::Uuid;

use super::Service;
use crate::{store::Accepted, submission};

impl Service {
    /// Whether a report that has the sender's own id of another says the same, in the form of
    /// today.
    pub(super) async fn repeated(&self, report: Uuid, content: &[u8]) -> Result<Accepted, Failure> {
        let reused = Accepted::ExternalIdReused { report };
        let Some(stored) = self.store.report(report).await? else {
            return Ok(reused);
        };
        let read = |content: &[u8]| Report::decode(content).map_err(|error| Failure::Internal(Box::new(error)));
        let (mut was, now) = (read(&stored.content)?, read(content)?);
        if self.same_files(&was.evidence, &now.evidence).await? {
            was.evidence.clone_from(&now.evidence);
        }
        let accepted = Accepted::Report {
            report,
            accept_time: stored.accept_time,
        };
        if was == now {
            return Ok(accepted);
        }
        // As it would be recorded today, by the rules of the day on which it was.
        let known = self.directory.known_for(Some(&was)).await;
        let request = SubmitReportRequest {
            report: Some(was),
            ..SubmitReportRequest::default()
        };
        let agency = stored.sender.agency.as_ref();
        let again = submission::check(request, &self.categories, &known, agency, stored.accept_time);
        let is_same = again.is_ok_and(|again| again.report == now);
        Ok(if is_same { accepted } else { reused })
    }

    /// Whether files are the same bytes, one by one.
    async fn same_files(&self, was: &[String], now: &[String]) -> Result<bool, Failure> {
        if was.len() != now.len() {
            return Ok(false);
        }
        for (was, now) in was.iter().zip(now).filter(|(was, now)| was != now) {
            let (Some(was), Some(now)) = (names::EVIDENCE.id(was), names::EVIDENCE.id(now)) else {
                return Ok(false);
            };
            let (was, now) = (self.evidence.evidence(was).await?, self.evidence.evidence(now).await?);
            match (was, now) {
                // The sender's own, or the answer would tell of another's.
                (Some(was), Some(now)) if was.sha256 == now.sha256 && was.sender.owns(&now.sender) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
