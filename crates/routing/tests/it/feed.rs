//! Feeds: poll interval and retention.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use decision::directory::AgencyId;
use futures::{FutureExt as _, StreamExt as _};
use journal::{Arrival, Time, Writer};
use routing::case::Deputy;
use routing::case::{Party, Worklist};
use routing::feed::{Cases, Feed, OpenFeeds};
use routing::store::{
    Acted, AgencySupervision, Appointed, Appointment, Command, Cursor, Ended, Ending, Error, FeedItem, Links, Listing,
    MissedAfter, MissedClock, Noticed, Page, Read, RefusedDelivery, Remade, ReportNews, StepTaken, Stepped, Store,
    StoredCase, Undelivered,
};
use routing::upkeep::Upkeep;
use testkit::Backend;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::fixture::{DAY, Fixture, agency, gambling, official, request};

testkit::on_each_backend!(old_rows_are_deleted_in_chunks, a_feed_detects_a_gap,);

async fn old_rows_are_deleted_in_chunks(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    for statement in [
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         INSERT INTO feed (agency, position, case_id, kind, change_time) \
         SELECT CASE WHEN i % 2 = 0 THEN 'police-440000' ELSE 'police-450100' END, i, \
         '00000000-0000-0000-0000-000000000000', 'case.opened', i FROM n",
        "UPDATE feed_head SET position = 2500",
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) \
         INSERT INTO requests (caller, request_id, fingerprint, answer, answer_time) \
         SELECT 'desk', 'request ' || i, '', '', i FROM n",
    ] {
        fixture.execute(statement).await;
    }
    assert_eq!(fixture.store.forget_feed(Time(3_000), 1_000).await.unwrap(), 1_000);
    assert_eq!(fixture.store.forget_requests(Time(3_000), 1_000).await.unwrap(), 1_000);
    assert_eq!(
        fixture.count("SELECT min(position) FROM feed").await,
        1_001,
        "the oldest first"
    );
    let case = fixture.open(&[gambling()]).await[0];
    fixture
        .act(request(crate::fixture::by(case, "police-450100"), 1, 1))
        .await;
    let upkeep = Upkeep {
        store: fixture.store.clone(),
        writer: Writer::new([]),
        clock: fixture.clock.clone(),
        time: fixture.time(None),
    };
    let go_on = CancellationToken::new();
    assert_eq!(upkeep.step(&go_on).await.unwrap(), 3_000);
    assert_eq!(
        fixture.count("SELECT count(*) FROM feed").await,
        4,
        "two changes for two agencies"
    );
    assert_eq!(fixture.count("SELECT count(*) FROM requests").await, 1);
    fixture.clock.advance(DAY + 1);
    assert_eq!(upkeep.step(&go_on).await.unwrap(), 1, "a request id is kept for a day");
    fixture.clock.advance(29 * DAY);
    assert_eq!(upkeep.step(&go_on).await.unwrap(), 4, "a change for thirty");
}

async fn a_feed_detects_a_gap(backend: Backend) {
    let fixture = Fixture::new(backend).await;
    let (guangdong, inspection) = (agency("police-440000"), agency("inspection-130000"));
    let reaches = async |id: &AgencyId, position| fixture.store.feed_reaches(id, position).await.unwrap();
    assert!(reaches(&guangdong, 0).await);
    assert!(!reaches(&guangdong, 1).await, "it was never given");
    fixture.open(&[official(), gambling(), gambling()]).await;
    for (position, expected) in [(0, true), (3, true), (4, false), (u64::MAX, false)] {
        assert_eq!(reaches(&guangdong, position).await, expected, "{position}");
    }
    fixture.clock.advance(DAY);
    fixture.open(&[gambling()]).await;
    fixture.store.forget_feed(fixture.now(), 10).await.unwrap();
    // Only the agency's own changes count: position 3 was Guangdong's last, position 1 the
    // inspection's.
    for (id, position, expected) in [
        (&guangdong, 2, false),
        (&guangdong, 3, true),
        (&guangdong, 4, true),
        (&inspection, 0, false),
        (&inspection, 1, true),
    ] {
        assert_eq!(reaches(id, position).await, expected, "{id} {position}");
    }
    // The same in the middle of a stream. A new one begins with the oldest change left.
    let told = async |after| fixture.store.feed(&guangdong, after, 10).await.unwrap();
    assert!(told(2).await.is_none());
    for after in [0, 3] {
        let items = told(after).await.unwrap();
        assert_eq!(items.iter().map(|item| item.position).collect::<Vec<_>>(), [4]);
    }
    assert!(told(4).await.unwrap().is_empty());
}

/// A feed with as many items as `given` says. Counts its reads.
#[derive(Default)]
struct Counting {
    given: AtomicU64,
    reads: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    async fn open(&self, _: &[ReportNews], _: Time) -> Result<Vec<Arrival>, Error> {
        Ok(Vec::new())
    }
    async fn act(&self, _: &[Command], _: Time) -> Result<Vec<Acted>, Error> {
        Ok(Vec::new())
    }
    async fn supervisions(&self, _: &AgencyId, _: Option<Uuid>, _: u32) -> Result<Vec<AgencySupervision>, Error> {
        Ok(Vec::new())
    }
    async fn step(&self, _: &StepTaken, _: Time) -> Result<Stepped, Error> {
        Ok(Stepped::NotFound)
    }
    async fn deputies(&self, _: &AgencyId, _: Time) -> Result<Vec<Deputy>, Error> {
        Ok(Vec::new())
    }
    async fn appoint(&self, _: &Appointment, _: Time) -> Result<Appointed, Error> {
        Ok(Appointed::RequestIdReused)
    }
    async fn end_deputy(&self, _: &Ending, _: Time) -> Result<Ended, Error> {
        Ok(Ended::NotFound)
    }
    async fn below(
        &self,
        _: &AgencyId,
        _: Option<&AgencyId>,
        _: Option<Listing>,
        _: Option<Cursor>,
        _: u32,
    ) -> Result<Option<Page<StoredCase, Cursor>>, Error> {
        Ok(None)
    }
    async fn count_below(
        &self,
        _: &AgencyId,
        _: Option<&AgencyId>,
        _: Time,
        _: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        Ok(None)
    }
    async fn case_below(&self, _: Uuid, _: &AgencyId) -> Result<Option<Option<StoredCase>>, Error> {
        Ok(None)
    }
    async fn oversee_late(&self, _: Option<String>, _: u32) -> Result<Option<String>, Error> {
        unreachable!()
    }

    async fn oversee(&self, _: Option<Remade>, _: u32) -> Result<Option<Remade>, Error> {
        Ok(None)
    }
    async fn missed(&self, _: Time, _: Option<MissedAfter>, _: u32) -> Result<Page<MissedClock, MissedAfter>, Error> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }
    async fn hand_up(&self, _: &[MissedClock], _: Time) -> Result<usize, Error> {
        Ok(0)
    }
    async fn successions(&self, _: Time, _: Option<String>, _: u32) -> Result<Page<Uuid, String>, Error> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }
    async fn succeed(&self, _: &[Uuid], _: Time) -> Result<usize, Error> {
        Ok(0)
    }
    async fn following(&self, _: Time, _: Option<String>, _: u32) -> Result<Page<Uuid, String>, Error> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }
    async fn follow(&self, _: &[Uuid], _: Time) -> Result<usize, Error> {
        Ok(0)
    }
    async fn links(&self, _: Uuid, _: &AgencyId) -> Result<Links, Error> {
        Ok(Links::default())
    }
    async fn provisional(&self, _: Option<String>, _: u32) -> Result<Page<Uuid, String>, Error> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }
    async fn settle(&self, _: &[Uuid], _: Time) -> Result<usize, Error> {
        Ok(0)
    }
    async fn case(&self, _: Uuid, _: &Party) -> Result<Option<StoredCase>, Error> {
        Ok(None)
    }
    async fn notice(&self, _: &str, _: Time) -> Result<Option<Noticed>, Error> {
        Ok(None)
    }
    async fn cases(
        &self,
        _: &Party,
        _: Option<Listing>,
        _: Option<Cursor>,
        _: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }
    async fn cases_of_officers(
        &self,
        _: &AgencyId,
        _: &[String],
        _: Listing,
        _: Option<Cursor>,
        _: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        Ok(Page {
            items: Vec::new(),
            next: None,
        })
    }
    async fn count_of_officers(
        &self,
        _: &AgencyId,
        _: &[String],
        _: Time,
        _: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        Ok(None)
    }
    async fn count(&self, _: &AgencyId, _: Time, _: u32) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        Ok(None)
    }
    async fn undelivered(
        &self,
        _: Option<&AgencyId>,
        _: Option<Undelivered>,
        _: u32,
    ) -> Result<Vec<Undelivered>, Error> {
        Ok(Vec::new())
    }
    async fn refused(&self, _: u32) -> Result<Vec<RefusedDelivery>, Error> {
        Ok(Vec::new())
    }
    async fn is_unread(&self, _: &AgencyId, _: Uuid) -> Result<bool, Error> {
        Ok(false)
    }
    async fn read(&self, _: &[Read]) -> Result<(), Error> {
        Ok(())
    }
    async fn sees_content(&self, _: &AgencyId, _: Uuid) -> Result<bool, Error> {
        Ok(false)
    }
    async fn feed(&self, _: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let items = (after + 1..=self.given.load(Ordering::SeqCst)).map(|position| FeedItem {
            position,
            id: Uuid::nil(),
            kind: "case.opened".to_owned(),
            case: None,
        });
        Ok(Some(items.take(limit as usize).collect()))
    }
    async fn excluded(&self, _: &[Uuid]) -> Result<BTreeMap<Uuid, BTreeSet<AgencyId>>, Error> {
        Ok(BTreeMap::new())
    }
    async fn feed_reaches(&self, _: &AgencyId, _: u64) -> Result<bool, Error> {
        Ok(true)
    }
    async fn forget_feed(&self, _: Time, _: u32) -> Result<u64, Error> {
        Ok(0)
    }
    async fn forget_requests(&self, _: Time, _: u32) -> Result<u64, Error> {
        Ok(0)
    }
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn under_load_a_feed_is_read_every_50_milliseconds() {
    let store = Arc::new(Counting::default());
    let (committed, commits) = watch::channel(());
    let feeds = OpenFeeds::default();
    let cases = || Cases {
        store: store.clone(),
        agency: agency("police-440000"),
    };
    let feed = Feed::new(
        cases(),
        feeds.admit("police-440000").unwrap(),
        0,
        commits,
        CancellationToken::new(),
    );
    let mut stream = Box::pin(feed.into_stream());
    let commit = || {
        store.given.fetch_add(1, Ordering::SeqCst);
        committed.send_replace(());
    };
    assert!(stream.next().now_or_never().is_none());
    tokio::time::sleep(Duration::from_millis(100)).await;

    // After a quiet time, a change is sent at once.
    let start = tokio::time::Instant::now();
    commit();
    assert_eq!(stream.next().await.unwrap().unwrap().1.position, 1);
    assert_eq!(start.elapsed(), Duration::ZERO);

    // Under load: a commit per millisecond for one second, sent in order and without loss.
    store.reads.store(0, Ordering::SeqCst);
    let load = async {
        for _ in 0..1_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            commit();
        }
    };
    let told = async {
        for position in 2..=1_001 {
            assert_eq!(stream.next().await.unwrap().unwrap().1.position, position);
        }
    };
    tokio::join!(load, told);
    let reads = store.reads.load(Ordering::SeqCst);
    assert!((15..=25).contains(&reads), "{reads} reads in a second");
    assert!(start.elapsed() < Duration::from_millis(1_200), "{:?}", start.elapsed());

    // Old changes are read without waiting.
    let (_, commits) = watch::channel(());
    let admission = feeds.admit("police-440000").unwrap();
    let behind = Feed::new(cases(), admission, 0, commits, CancellationToken::new());
    let start = tokio::time::Instant::now();
    let read = behind.into_stream().take(1_001).count().await;
    assert_eq!((read, start.elapsed()), (1_001, Duration::ZERO));
}
