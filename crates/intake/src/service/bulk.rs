//! Submitting many reports: each by the use case of one, beside each other, so that they share
//! commits with each other and with everybody else's.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use api::{
    cost::{self, Kept},
    intake::{SubmitReportRequest, SubmitReportsRequest, SubmittedReport, submitted_report::Result as Became},
};
use futures::{
    FutureExt as _, Stream, StreamExt as _, TryStreamExt as _,
    future::{Either, ready},
    stream,
};
use prost::Message as _;
use rpc::{Failure, Identity, Violation};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tonic::Status;
use tracing::Instrument as _;

use super::{
    Service,
    submit::{Queue, Submitted},
};

/// Reports of a batch, by the contract.
const BATCH: usize = 100;
/// Reports of one stream or batch that are at work at once: as many as one commit takes.
const AT_WORK: usize = crate::ACCEPTANCES;
/// The same of one caller, and in all: half of what may wait for a commit is left to those who
/// submit singly, who are refused rather than made to wait.
const OF_ONE: usize = 512;
const OF_ALL: usize = 2_048;

/// How long the next report of a stream waits for room in its caller's bytes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that come with a message: the beginning of the next, and what its parts take.
const MARGIN: usize = 64 << 10;

/// Whose turn it is of those who submit many.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    of_one: usize,
    callers: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(OF_ONE, OF_ALL)
    }
}

/// Callers at which those who have nothing at work are forgotten.
const MANY: usize = 256;

impl Turns {
    fn new(of_one: usize, of_all: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(of_all)),
            of_one,
            callers: Mutex::default(),
        }
    }

    fn of(&self, caller: &Identity) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = callers.get(&caller.system).and_then(Weak::upgrade) {
            return own;
        }
        if callers.len() >= MANY {
            callers.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.of_one));
        callers.insert(caller.system.clone(), Arc::downgrade(&own));
        own
    }

    /// Waits for a turn: of the caller's own first, so that nobody waits for another's many.
    async fn take(&self, own: Arc<Semaphore>) -> Result<[OwnedSemaphorePermit; 2], Failure> {
        // They are never closed.
        let own = own.acquire_owned().await.map_err(|_| Failure::Overloaded)?;
        let all = Arc::clone(&self.all).acquire_owned().await;
        Ok([own, all.map_err(|_| Failure::Overloaded)?])
    }
}

impl Service {
    /// Submits each report of a batch, and answers for each in their order.
    pub(crate) async fn submit_each(
        &self,
        caller: &Identity,
        requests: Vec<SubmitReportRequest>,
    ) -> Result<Vec<SubmittedReport>, Failure> {
        if requests.is_empty() || requests.len() > BATCH {
            let description = format!("must be 1 to {BATCH} requests, not {}", requests.len());
            return Err(Failure::invalid("requests", description));
        }
        let requests = stream::iter(requests).map(|request| Ok((request, None)));
        let answers = Arc::new(self.clone()).answers(caller.clone(), requests);
        let answers: Result<Vec<_>, Failure> = answers.try_collect().await;
        answers
    }

    /// Submits each report of a stream, and answers for each in their order. Ends with the first
    /// message that cannot be had.
    pub(crate) fn submit_stream(
        &self,
        caller: Identity,
        requests: impl Stream<Item = Result<SubmitReportsRequest, Status>> + Send + 'static,
    ) -> impl Stream<Item = Result<SubmittedReport, Status>> + Send + 'static {
        let reading = Reading {
            requests: Box::pin(requests),
            at_work: Arc::default(),
            answered: Arc::default(),
            last: 0,
        };
        let requests = stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            let message = reading.next().await?;
            // Behind an error there is nothing more to ask for.
            let next = message.is_ok().then_some(reading);
            Some((message, next))
        });
        Arc::new(self.clone()).answers(caller, requests)
    }

    /// Begins one after the other, and lets them be recorded beside each other, whether or not the
    /// caller reads. One with the id of another that is at work waits for it: of two with one id
    /// the first is the first.
    fn answers<E: From<Failure> + Send + 'static>(
        self: Arc<Self>,
        caller: Identity,
        requests: impl Stream<Item = Result<(SubmitReportRequest, Option<Held>), E>> + Send,
    ) -> impl Stream<Item = Result<SubmittedReport, E>> + Send {
        let own = self.turns.of(&caller);
        let caller = Arc::new(caller);
        let ids = Arc::new(Ids::default());
        let begun = requests.then(move |message| {
            let (service, caller, own) = (Arc::clone(&self), Arc::clone(&caller), Arc::clone(&own));
            let ids = Arc::clone(&ids);
            async move {
                let (request, kept) = message?;
                let named = ids.enter(&request).await;
                let turn = service.turns.take(own).await?;
                let begun = match texts(&request) {
                    none if none.is_empty() => Ok(service.begin(&caller, request, Queue::Wait).await),
                    refused => Err(Failure::InvalidInput(refused)),
                };
                let answer = tokio::spawn(
                    async move {
                        let submitted = match begun {
                            Ok(begun) => service.finish(&caller, begun).await,
                            Err(refused) => Err(refused),
                        };
                        drop((kept, turn, named));
                        answer(submitted)
                    }
                    .in_current_span(),
                );
                Ok(answer)
            }
        });
        let answers = begun.map(|begun| match begun {
            Ok(answer) => Either::Left(ended(answer).map(Ok)),
            Err(error) => Either::Right(ready(Err(error))),
        });
        answers.buffered(AT_WORK)
    }
}

/// The ids of the reports of a stream or batch that are at work.
#[derive(Default)]
struct Ids {
    at_work: Mutex<HashSet<String>>,
    left: Notify,
}

impl Ids {
    fn at_work(&self) -> MutexGuard<'_, HashSet<String>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no report with an id of this one is at work.
    async fn enter(self: Arc<Self>, request: &SubmitReportRequest) -> Named {
        let external = request.report.as_ref().map(|report| report.external_id.as_str());
        let named = [
            ("request", request.request_id.as_str()),
            ("report", external.unwrap_or_default()),
        ];
        let named = named.into_iter().filter(|(_, id)| !id.is_empty());
        let named: Vec<String> = named.map(|(kind, id)| format!("{kind} {id}")).collect();
        loop {
            let left = self.left.notified();
            {
                let mut at_work = self.at_work();
                if !named.iter().any(|id| at_work.contains(id)) {
                    at_work.extend(named.iter().cloned());
                    break;
                }
            }
            left.await;
        }
        Named { ids: self, named }
    }
}

/// Ids of a report that is at work.
struct Named {
    ids: Arc<Ids>,
    named: Vec<String>,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut at_work = self.ids.at_work();
        for id in &self.named {
            at_work.remove(id);
        }
        drop(at_work);
        self.ids.left.notify_waiters();
    }
}

/// What became of a report; one whose task was broken off keeps no other from its answer.
async fn ended(task: JoinHandle<SubmittedReport>) -> SubmittedReport {
    task.await
        .unwrap_or_else(|error| answer(Err(Failure::Internal(Box::new(error)))))
}

/// A stream that is read.
struct Reading<S> {
    requests: Pin<Box<S>>,
    /// Reports of it that have no outcome yet.
    at_work: Arc<AtomicUsize>,
    /// Woken when one of them has its outcome.
    answered: Arc<Notify>,
    /// Bytes of the last one, in all that it takes.
    last: usize,
}

impl<S: Stream<Item = Result<SubmitReportsRequest, Status>>> Reading<S> {
    /// The next report. It is asked for once there is room for one like the last, or none of this
    /// stream is at work: what is at work waits for no room, so that streams do not wait for each
    /// other.
    async fn next(&mut self) -> Option<Result<(SubmitReportRequest, Option<Held>), Status>> {
        let until = Instant::now() + PATIENCE;
        loop {
            let freed = cost::freed();
            if self.at_work.load(Ordering::Acquire) == 0 || cost::has_room(self.last) {
                break;
            }
            tokio::select! {
                () = freed => {}
                () = self.answered.notified() => {}
                () = sleep_until(until) => break,
            }
        }
        let message = match self.requests.next().await? {
            Ok(message) => message,
            Err(status) => return Some(Err(status)),
        };
        let request = message.request.unwrap_or_default();
        let bytes = request.encoded_len();
        // As it comes, and decoded.
        self.last = bytes.saturating_mul(2) + MARGIN;
        self.at_work.fetch_add(1, Ordering::AcqRel);
        let held = Held {
            _paid: cost::hold(bytes),
            at_work: Arc::clone(&self.at_work),
            answered: Arc::clone(&self.answered),
        };
        Some(Ok((request, Some(held))))
    }
}

/// A report of a stream that is at work, and paid for until it is answered.
struct Held {
    _paid: Kept,
    at_work: Arc<AtomicUsize>,
    answered: Arc<Notify>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.at_work.fetch_sub(1, Ordering::AcqRel);
        self.answered.notify_one();
    }
}

fn answer(submitted: Result<Submitted, Failure>) -> SubmittedReport {
    match submitted {
        Ok(Submitted { response, known }) => SubmittedReport {
            result: Some(Became::Response(response)),
            known,
        },
        Err(failure) => SubmittedReport {
            result: Some(Became::Error(failure.into())),
            known: false,
        },
    }
}

/// What the codec refuses in a single request.
fn texts(request: &SubmitReportRequest) -> Vec<Violation> {
    let refused = api::refused_texts(request).into_iter();
    refused
        .map(|(field, description)| Violation::new(field, description))
        .collect()
}

#[cfg(test)]
mod tests {
    use rpc::{OfficerKey, Roles};

    use super::*;

    fn caller(system: &str) -> Identity {
        Identity {
            system: system.to_owned(),
            agency: None,
            roles: Roles::PARTNER,
            officer: None,
            officer_key: OfficerKey::default(),
            proof: rpc::Proof::Token,
        }
    }

    #[tokio::test]
    async fn one_caller_waits_for_its_own_turns_and_for_no_other() {
        let turns = Turns::new(2, 3);
        let (first, second) = (turns.of(&caller("first")), turns.of(&caller("second")));
        let taken = [
            turns.take(Arc::clone(&first)).await.unwrap(),
            turns.take(Arc::clone(&first)).await.unwrap(),
        ];
        // Its third has to wait, through whatever stream.
        let again = turns.of(&caller("first"));
        let mut third = Box::pin(turns.take(again));
        assert!(futures::poll!(&mut third).is_pending());
        let other = turns.take(Arc::clone(&second)).await.unwrap();
        // And in all there are three.
        let mut fourth = Box::pin(turns.take(second));
        assert!(futures::poll!(&mut fourth).is_pending());
        drop((taken, other));
        assert!(futures::poll!(&mut third).is_ready());
        assert!(futures::poll!(&mut fourth).is_ready());
    }

    #[tokio::test]
    async fn a_report_whose_task_is_broken_off_is_an_error_of_its_own() {
        let broken = tokio::spawn(async { panic!("one of many") });
        let Some(Became::Error(error)) = ended(broken).await.result else {
            panic!("it is not recorded");
        };
        assert_eq!(error.code, i32::from(tonic::Code::Internal));
        assert!(!error.message.contains("one of many"), "{}", error.message);
    }

    #[tokio::test]
    async fn callers_that_have_nothing_at_work_are_forgotten() {
        let turns = Turns::default();
        let kept = turns.of(&caller("kept"));
        for number in 0..10_000 {
            drop(turns.of(&caller(&number.to_string())));
        }
        assert!(turns.callers.lock().unwrap().len() <= MANY + 1);
        assert!(Arc::ptr_eq(&kept, &turns.of(&caller("kept"))));
    }
}
