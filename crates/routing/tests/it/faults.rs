//! Routing over a store that fails before or after its work, or delays it.

use api::event::ChangeOutcome;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use decision::directory::{AgencyId, Directory};
use futures::StreamExt as _;
use journal::{Arrival, Time, Writer};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use routing::{
    case::{Deputy, Party, Worklist},
    clocks::Ticker,
    feed::{Cases, Feed, Interrupted, OpenFeeds},
    store::{
        Acted, AgencySupervision, Appointed, Appointment, Command, Cursor, Ended, Ending, Error, FeedItem, Links,
        Listing, MissedAfter, MissedClock, Noticed, Page, Read, RefusedDelivery, Remade, ReportNews, SqlStore,
        StepTaken, Stepped, Store, StoredCase, Undelivered, versions::Versions as _,
    },
    upkeep::Upkeep,
};
use testkit::Backend;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use uuid::Uuid;

use crate::{
    fixture::{DAY, Fixture, HOUR, agency, by, gambling, official, request},
    service::{Running, next, refused},
};

testkit::on_each_backend!(
    p1_a_failed_delivery_is_neither_lost_nor_taken_twice,
    p1_a_failed_command_is_neither_lost_nor_done_twice,
    p1_a_command_whose_caller_gave_up_is_completed,
    p1_a_change_without_an_answer_is_not_taken,
    p4_one_owner_under_random_faults,
    p5_a_clock_that_runs_out_in_a_failing_store_is_recorded_once,
    a_feed_that_fails_half_way_is_resumed_without_loss,
    upkeep_of_one_kind_does_not_depend_on_the_other,
    health_depends_on_the_active_versions,
);

/// What happens to a call.
#[derive(Clone)]
pub enum Fault {
    /// It fails and does nothing.
    Before,
    /// It does its work and fails.
    After,
    /// It waits for a permit and does its work.
    Delay(Arc<Semaphore>),
    /// It does its work and loses the last answer.
    Short,
}

/// A store with faults: those planned for the next calls of a method, and random ones.
pub struct Faulty {
    inner: Arc<SqlStore>,
    planned: Mutex<BTreeMap<&'static str, VecDeque<Fault>>>,
    random: Mutex<Option<StdRng>>,
}

impl Faulty {
    pub fn new(inner: &Arc<SqlStore>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            planned: Mutex::default(),
            random: Mutex::default(),
        })
    }

    fn plan(&self, method: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.planned.lock().unwrap().entry(method).or_default().extend(faults);
    }

    fn fault(&self, method: &'static str) -> Option<Fault> {
        if let Some(planned) = self.planned.lock().unwrap().get_mut(method)
            && let Some(fault) = planned.pop_front()
        {
            return Some(fault);
        }
        match self.random.lock().unwrap().as_mut()?.random_range(0..10) {
            0 | 1 => Some(Fault::Before),
            2 | 3 => Some(Fault::After),
            _ => None,
        }
    }

    async fn around<T>(&self, method: &'static str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match self.fault(method) {
            Some(Fault::Before) => Err(Error::Injected("before")),
            Some(Fault::After) => {
                work.await?;
                Err(Error::Injected("after"))
            }
            Some(Fault::Delay(until)) => {
                until.acquire().await.unwrap().forget();
                work.await
            }
            Some(Fault::Short) | None => work.await,
        }
    }
}

#[async_trait]
impl Store for Faulty {
    async fn open(&self, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error> {
        let short = matches!(
            self.planned.lock().unwrap().get("open").and_then(VecDeque::front),
            Some(Fault::Short)
        );
        let mut arrivals = self.around("open", self.inner.open(news, now)).await?;
        if short {
            arrivals.pop();
        }
        Ok(arrivals)
    }
    async fn act(&self, commands: &[Command], now: Time) -> Result<Vec<Acted>, Error> {
        self.around("act", self.inner.act(commands, now)).await
    }
    async fn missed(
        &self,
        now: Time,
        after: Option<MissedAfter>,
        limit: u32,
    ) -> Result<Page<MissedClock, MissedAfter>, Error> {
        self.around("missed", self.inner.missed(now, after, limit)).await
    }
    async fn hand_up(&self, missed: &[MissedClock], now: Time) -> Result<usize, Error> {
        self.around("hand_up", self.inner.hand_up(missed, now)).await
    }
    async fn successions(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
        self.around("successions", self.inner.successions(now, after, limit))
            .await
    }
    async fn succeed(&self, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        self.around("succeed", self.inner.succeed(cases, now)).await
    }
    async fn following(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
        self.around("following", self.inner.following(now, after, limit)).await
    }
    async fn follow(&self, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        self.around("follow", self.inner.follow(cases, now)).await
    }
    async fn links(&self, case: Uuid, viewer: &AgencyId) -> Result<Links, Error> {
        self.around("links", self.inner.links(case, viewer)).await
    }
    async fn provisional(&self, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
        self.around("provisional", self.inner.provisional(after, limit)).await
    }
    async fn settle(&self, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        self.around("settle", self.inner.settle(cases, now)).await
    }
    async fn case(&self, id: Uuid, viewer: &Party) -> Result<Option<StoredCase>, Error> {
        self.around("case", self.inner.case(id, viewer)).await
    }
    async fn notice(&self, receipt: &str, now: Time) -> Result<Option<Noticed>, Error> {
        self.around("notice", self.inner.notice(receipt, now)).await
    }
    async fn cases(
        &self,
        viewer: &Party,
        listing: Option<Listing>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        self.around("cases", self.inner.cases(viewer, listing, after, limit))
            .await
    }
    async fn cases_of_officers(
        &self,
        agency: &AgencyId,
        officers: &[String],
        listing: Listing,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        let cases = self.inner.cases_of_officers(agency, officers, listing, after, limit);
        self.around("cases_of_officers", cases).await
    }
    async fn below(
        &self,
        superior: &AgencyId,
        owner: Option<&AgencyId>,
        listing: Option<Listing>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Option<Page<StoredCase, Cursor>>, Error> {
        let below = self.inner.below(superior, owner, listing, after, limit);
        self.around("below", below).await
    }
    async fn count_below(
        &self,
        superior: &AgencyId,
        owner: Option<&AgencyId>,
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        let count = self.inner.count_below(superior, owner, now, most);
        self.around("count_below", count).await
    }
    async fn case_below(&self, id: Uuid, superior: &AgencyId) -> Result<Option<Option<StoredCase>>, Error> {
        self.around("case_below", self.inner.case_below(id, superior)).await
    }
    async fn oversee_late(&self, after: Option<String>, limit: u32) -> Result<Option<String>, Error> {
        self.around("oversee_late", self.inner.oversee_late(after, limit)).await
    }

    async fn oversee(&self, after: Option<Remade>, limit: u32) -> Result<Option<Remade>, Error> {
        self.around("oversee", self.inner.oversee(after, limit)).await
    }
    async fn supervisions(
        &self,
        of: &AgencyId,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<AgencySupervision>, Error> {
        self.around("supervisions", self.inner.supervisions(of, after, limit))
            .await
    }
    async fn step(&self, taken: &StepTaken, now: Time) -> Result<Stepped, Error> {
        self.around("step", self.inner.step(taken, now)).await
    }
    async fn deputies(&self, agency: &AgencyId, after: Time) -> Result<Vec<Deputy>, Error> {
        self.around("deputies", self.inner.deputies(agency, after)).await
    }
    async fn appoint(&self, appointment: &Appointment, now: Time) -> Result<Appointed, Error> {
        self.around("appoint", self.inner.appoint(appointment, now)).await
    }
    async fn end_deputy(&self, ending: &Ending, now: Time) -> Result<Ended, Error> {
        self.around("end_deputy", self.inner.end_deputy(ending, now)).await
    }
    async fn count_of_officers(
        &self,
        agency: &AgencyId,
        officers: &[String],
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        let counts = self.inner.count_of_officers(agency, officers, now, most);
        self.around("count_of_officers", counts).await
    }
    async fn count(&self, agency: &AgencyId, now: Time, most: u32) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        self.around("count", self.inner.count(agency, now, most)).await
    }
    async fn undelivered(
        &self,
        of: Option<&AgencyId>,
        after: Option<Undelivered>,
        limit: u32,
    ) -> Result<Vec<Undelivered>, Error> {
        self.around("undelivered", self.inner.undelivered(of, after, limit))
            .await
    }
    async fn refused(&self, limit: u32) -> Result<Vec<RefusedDelivery>, Error> {
        self.around("refused", self.inner.refused(limit)).await
    }
    async fn is_unread(&self, agency: &AgencyId, case: Uuid) -> Result<bool, Error> {
        self.around("is_unread", self.inner.is_unread(agency, case)).await
    }
    async fn read(&self, reads: &[Read]) -> Result<(), Error> {
        self.around("read", self.inner.read(reads)).await
    }
    async fn sees_content(&self, agency: &AgencyId, report: Uuid) -> Result<bool, Error> {
        self.around("sees_content", self.inner.sees_content(agency, report))
            .await
    }
    async fn excluded(&self, reports: &[Uuid]) -> Result<BTreeMap<Uuid, BTreeSet<AgencyId>>, Error> {
        self.around("excluded", self.inner.excluded(reports)).await
    }
    async fn feed(&self, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error> {
        self.around("feed", self.inner.feed(agency, after, limit)).await
    }
    async fn feed_reaches(&self, agency: &AgencyId, position: u64) -> Result<bool, Error> {
        self.around("feed_reaches", self.inner.feed_reaches(agency, position))
            .await
    }
    async fn forget_feed(&self, before: Time, limit: u32) -> Result<u64, Error> {
        self.around("forget_feed", self.inner.forget_feed(before, limit)).await
    }
    async fn forget_requests(&self, before: Time, limit: u32) -> Result<u64, Error> {
        self.around("forget_requests", self.inner.forget_requests(before, limit))
            .await
    }
    async fn ping(&self) -> Result<(), Error> {
        self.around("ping", self.inner.ping()).await
    }
}

/// A service over a faulty store.
async fn start(backend: Backend) -> (Running, Arc<Faulty>) {
    let fixture = Fixture::new(backend).await;
    let faulty = Faulty::new(&fixture.store);
    (
        Running::start_over(fixture, Arc::clone(&faulty) as Arc<dyn Store>).await,
        faulty,
    )
}

fn ticker(fixture: &Fixture, store: &Arc<Faulty>) -> Ticker {
    Ticker {
        store: Arc::clone(store) as Arc<dyn Store>,
        ..fixture.ticker(&fixture.store)
    }
}

async fn p1_a_failed_delivery_is_neither_lost_nor_taken_twice(backend: Backend) {
    let (running, faulty) = start(backend).await;
    let (report, _, change) = running.fixture.accepted(gambling());
    for (fault, cases) in [(Fault::Before, 0), (Fault::After, 1), (Fault::After, 1)] {
        faulty.plan("open", [fault]);
        let status = running.try_route(vec![change.clone()]).await;
        refused(status, Code::Internal, "INTERNAL");
        assert_eq!(running.fixture.count("SELECT count(*) FROM case_states").await, cases);
        running.fixture.assert_promises().await;
    }
    // Delivered again, it is taken and opens no second case.
    assert_eq!(running.route(vec![change]).await, [ChangeOutcome::Recorded]);
    assert_eq!(running.fixture.count("SELECT count(*) FROM case_states").await, 1);
    let case = running.fixture.case_of(report).await;
    assert_eq!(running.fixture.kinds(case).await, ["case.opened"]);
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn p1_a_failed_command_is_neither_lost_nor_done_twice(backend: Backend) {
    let (running, faulty) = start(backend).await;
    running.report(gambling()).await;
    let case = running.list("nanning").await.remove(0);
    let id = names::CASE.id(&case.name).unwrap();
    let request = Uuid::from_u128(7).to_string();
    let acknowledge = async || running.acknowledge("nanning", &case.name, &case.etag, &request).await;
    let mut watching = running.watch("nanning", "").await.unwrap();
    assert_eq!(next(&mut watching).await.kind, "case.opened");

    faulty.plan("act", [Fault::Before]);
    refused(acknowledge().await, Code::Internal, "INTERNAL");
    assert_eq!(running.fixture.kinds(id).await, ["case.opened"]);

    faulty.plan("act", [Fault::After]);
    refused(acknowledge().await, Code::Internal, "INTERNAL");
    // It may have been done, so those who follow the case are told.
    assert_eq!(next(&mut watching).await.kind, "case.acknowledged");

    // Repeated, it gets the answer it would have had, although the etag is an old one by now.
    let done = acknowledge().await.unwrap();
    assert_eq!(acknowledge().await.unwrap(), done);
    assert_eq!(running.get("nanning", &case.name).await.unwrap().etag, done.etag);
    assert_eq!(running.fixture.kinds(id).await, ["case.opened", "case.acknowledged"]);
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn p1_a_command_whose_caller_gave_up_is_completed(backend: Backend) {
    let (running, faulty) = start(backend).await;
    let until = Arc::new(Semaphore::new(0));
    let (report, _, change) = running.fixture.accepted(gambling());
    let mut watching = running.watch("nanning", "").await.unwrap();

    faulty.plan("open", [Fault::Delay(Arc::clone(&until))]);
    let given_up = tokio::time::timeout(Duration::from_millis(200), running.try_route(vec![change]));
    assert!(given_up.await.is_err());
    until.add_permits(1);
    assert_eq!(next(&mut watching).await.kind, "case.opened");

    let name = names::CASE.of(running.fixture.case_of(report).await);
    faulty.plan("act", [Fault::Delay(Arc::clone(&until))]);
    let acknowledged = running.acknowledge("nanning", &name, "", "");
    let given_up = tokio::time::timeout(Duration::from_millis(200), acknowledged);
    assert!(given_up.await.is_err());
    until.add_permits(1);
    assert_eq!(next(&mut watching).await.kind, "case.acknowledged");
    running.fixture.assert_promises().await;
    running.finish().await;
}

async fn p1_a_change_without_an_answer_is_not_taken(backend: Backend) {
    let (running, faulty) = start(backend).await;
    let changes = [gambling(), official()].map(|facts| running.fixture.accepted(facts).2);
    faulty.plan("open", [Fault::Short]);
    refused(running.try_route(changes.to_vec()).await, Code::Internal, "INTERNAL");
    assert_eq!(
        running.route(changes.to_vec()).await,
        [ChangeOutcome::Recorded, ChangeOutcome::Recorded]
    );
    running.finish().await;
}

async fn p4_one_owner_under_random_faults(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let mut rng = StdRng::seed_from_u64(testkit::seed());
    let faulty = Faulty::new(&fixture.store);
    *faulty.random.lock().unwrap() = Some(StdRng::seed_from_u64(rng.random()));
    let ticker = ticker(&fixture, &faulty);
    let agencies: Vec<String> = Directory::shipped()
        .agencies()
        .map(|agency| agency.id.to_string())
        .collect();
    let (mut cases, mut acknowledged, mut failures) = (Vec::new(), BTreeMap::<Uuid, u32>::new(), 0);
    for i in 0..60_u128 {
        match rng.random_range(0..5) {
            0 => {
                let news: Vec<_> = (0..rng.random_range(1..4))
                    .map(|_| match rng.random() {
                        true => fixture.arrival(&gambling()),
                        false => fixture.arrival(&official()),
                    })
                    .collect();
                // As intake's relay does: delivered until it is answered.
                while faulty.open(&news, fixture.now()).await.is_err() {
                    failures += 1;
                }
                for news in news {
                    cases.push(fixture.case_of(news.report).await);
                }
            }
            1 | 2 if !cases.is_empty() => {
                let case = cases[rng.random_range(0..cases.len())];
                let stored = fixture.case(case).await;
                let caller = match stored.case.duty() {
                    Some(duty) if rng.random_bool(0.8) => duty.owner.to_string(),
                    _ => agencies[rng.random_range(0..agencies.len())].clone(),
                };
                let command = request(by(case, &caller), i, 1);
                let acted = loop {
                    match faulty.act(std::slice::from_ref(&command), fixture.now()).await {
                        Ok(mut acted) => break acted.remove(0),
                        Err(_) => failures += 1,
                    }
                };
                if matches!(acted, Acted::Done(_)) {
                    *acknowledged.entry(case).or_default() += 1;
                }
            }
            3 => fixture.clock.advance(rng.random_range(0..20 * DAY)),
            _ => {
                failures += u32::from(ticker.step().await.is_err());
                failures += u32::from(ticker.succeed().await.is_err());
            }
        }
        fixture.assert_promises().await;
    }
    assert!(failures > 0, "no fault was met");
    assert_eq!(
        fixture.count("SELECT count(*) FROM case_states").await,
        i64::try_from(cases.len()).unwrap(),
        "each report opened one case"
    );
    for case in cases {
        let kinds = fixture.kinds(case).await;
        let logged = kinds.iter().filter(|kind| *kind == "case.acknowledged").count();
        assert_eq!(
            logged,
            acknowledged.get(&case).copied().unwrap_or_default() as usize,
            "each command that was answered is logged once"
        );
    }
}

async fn p5_a_clock_that_runs_out_in_a_failing_store_is_recorded_once(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let faulty = Faulty::new(&fixture.store);
    let ticker = ticker(&fixture, &faulty);
    let cases = fixture.open(&vec![gambling(); 3]).await;
    fixture.clock.advance(25 * HOUR);
    let escalated = async |times: usize| {
        let mut expected = vec!["case.opened"];
        expected.resize(1 + times, "case.escalated");
        for case in &cases {
            assert_eq!(fixture.kinds(*case).await, expected);
        }
        fixture.assert_promises().await;
    };

    faulty.plan("missed", [Fault::Before]);
    ticker.step().await.unwrap_err();
    // All together, and then each by itself.
    faulty.plan("hand_up", vec![Fault::Before; 4]);
    let _ = ticker.step().await;
    escalated(0).await;
    // Done, and told to have failed. What ended is ended once more, by a generation that is over.
    faulty.plan("hand_up", vec![Fault::After; 4]);
    let _ = ticker.step().await;
    escalated(1).await;
    assert_eq!(ticker.step().await.unwrap(), 0);
    escalated(1).await;
    // The next generation is due by the time that the first one is ended once more.
    let missed = async || faulty.missed(fixture.now(), None, 10).await.unwrap().items;
    assert_eq!(missed().await, []);
    fixture.clock.advance(25 * HOUR);
    let seen = missed().await;
    faulty.plan("hand_up", [Fault::After]);
    faulty.hand_up(&seen, fixture.now()).await.unwrap_err();
    fixture.clock.advance(25 * HOUR);
    assert_eq!(faulty.hand_up(&seen, fixture.now()).await.unwrap(), 0);
    escalated(2).await;
    assert_eq!(ticker.step().await.unwrap(), 3);
    escalated(3).await;
}

async fn a_feed_that_fails_half_way_is_resumed_without_loss(backend: Backend) {
    let (running, faulty) = start(backend).await;
    let fixture = &running.fixture;
    let nanning = agency("police-450100");
    // More than one read takes.
    fixture.open(&vec![gambling(); 300]).await;
    let feeds = OpenFeeds::default();
    let feed = |after| {
        let (_, commits) = tokio::sync::watch::channel(());
        let admission = feeds.admit(nanning.as_str()).unwrap();
        let cases = Cases {
            store: Arc::clone(&faulty) as Arc<dyn Store>,
            agency: nanning.clone(),
        };
        Box::pin(Feed::new(cases, admission, after, commits, CancellationToken::new()).into_stream())
    };
    let (mut after, mut positions) = (0, Vec::new());
    // The second read of the first feed fails, and the only one of the second.
    faulty.plan(
        "feed",
        [Fault::Delay(Arc::new(Semaphore::new(1))), Fault::Before, Fault::After],
    );
    for expected in [Some(128), Some(0), None] {
        let mut stream = feed(after);
        let mut read = 0;
        while positions.len() < 300 {
            match stream.next().await.unwrap() {
                Ok((position, _)) => {
                    after = position;
                    positions.push(position);
                    read += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Interrupted::Source(Error::Injected(_))), "{error:?}");
                    assert!(stream.next().await.is_none(), "a failed feed has ended");
                    assert_eq!(Some(read), expected);
                    break;
                }
            }
        }
    }
    assert_eq!(positions, (1..=300).collect::<Vec<_>>());

    // The same as a client sees it.
    let mut watching = running.watch("nanning", "").await.unwrap();
    let mut token = String::new();
    for _ in 0..300 {
        token = next(&mut watching).await.resume_token;
    }
    faulty.plan("feed", [Fault::Before]);
    running.report(gambling()).await;
    let status = watching.message().await;
    refused(status, Code::Internal, "INTERNAL");
    let mut resumed = running.watch("nanning", &token).await.unwrap();
    assert_eq!(next(&mut resumed).await.kind, "case.opened");
    running.report(gambling()).await;
    assert_eq!(next(&mut resumed).await.kind, "case.opened");
    running.finish().await;
}

async fn upkeep_of_one_kind_does_not_depend_on_the_other(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let faulty = Faulty::new(&fixture.store);
    let case = fixture.open(&[gambling()]).await[0];
    fixture.act(request(by(case, "police-450100"), 1, 1)).await;
    fixture.clock.advance(31 * DAY);
    let upkeep = Upkeep {
        store: Arc::clone(&faulty) as Arc<dyn Store>,
        writer: Writer::new([]),
        clock: fixture.clock.clone(),
        time: fixture.time(None),
    };
    let shutdown = CancellationToken::new();
    faulty.plan("forget_requests", [Fault::Before]);
    upkeep.step(&shutdown).await.unwrap_err();
    assert_eq!(fixture.count("SELECT count(*) FROM feed").await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM requests").await, 1);
    faulty.plan("forget_feed", [Fault::Before]);
    upkeep.step(&shutdown).await.unwrap_err();
    assert_eq!(fixture.count("SELECT count(*) FROM requests").await, 0);
}

async fn health_depends_on_the_active_versions(backend: Backend) {
    let (running, faulty) = start(backend).await;
    assert!((running.health)().await);
    faulty.plan("ping", [Fault::Before]);
    assert!(!(running.health)().await);
    assert!((running.health)().await);
    // As after a switch by another replica whose version cannot be read here.
    running
        .fixture
        .execute("UPDATE active_versions SET digest = hash WHERE kind = 'rule-set'")
        .await;
    assert!(running.fixture.store.refresh().await.is_err());
    assert!(!(running.health)().await, "no case can be opened");
    running.fixture.execute("DELETE FROM active_versions").await;
    assert!(!(running.health)().await);
    running.finish().await;
}
