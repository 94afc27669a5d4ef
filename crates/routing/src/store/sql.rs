//! The store in SQLite or PostgreSQL: one transaction per use case.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use decision::{
    calendar::Calendars,
    directory::{AgencyId, Directory},
    rules::{RuleSet, Taxonomy},
};
use journal::{Arrival, Bytes32, Earlier, Entropy, RequestId, Time};
use sql::{Db, Error};
use uuid::Uuid;

use super::{
    Acted, AgencySupervision, Appointed, Appointment, Command, Cursor, Ended, Ending, FeedItem, Links, Listing,
    MissedAfter, MissedClock, Noticed, Page, Read, RefusedDelivery, Remade, ReportNews, StepTaken, Stepped, Store,
    StoredCase, Undelivered, add_successors, agency_supervisions, below, deputies, exclusions, feeds, links, lists,
    notices, read,
    versions::{self, Activated, Activation, Created, NewVersion, PastActivation, VersionInfo, Versions},
};
use crate::{
    active::{Active, Current, VersionKind},
    case::{Deputy, Party, Rules, Worklist},
};

/// Cases of a block that a page reads when it is not full with what it read first, since the viewer
/// is barred from some of that.
const BLOCK: u32 = 1_000;
/// Blocks that a page reads at most.
const BLOCKS: usize = 4;

/// A store in SQLite or PostgreSQL.
#[derive(Clone)]
pub struct SqlStore {
    pub(super) db: Db,
    pub(super) current: Arc<Current>,
    pub(super) calendars: Arc<Calendars>,
    pub(super) taxonomy: Arc<Taxonomy>,
    pub(super) entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlStore")
            .field("engine", &self.db.engine())
            .finish_non_exhaustive()
    }
}

impl SqlStore {
    /// A store in an open database in which `current` is active.
    pub fn new(
        db: Db,
        current: Arc<Current>,
        calendars: Arc<Calendars>,
        taxonomy: Arc<Taxonomy>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            db,
            current,
            calendars,
            taxonomy,
            entropy,
        }
    }

    pub(super) fn rules<'a>(&'a self, directory: &'a Directory, now: Time) -> Rules<'a> {
        Rules {
            directory,
            calendars: &self.calendars,
            now,
        }
    }

    /// A page of cases, of all or of these officers.
    async fn page(
        &self,
        viewer: &Party,
        listing: Option<Listing>,
        officers: Option<&[String]>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        // One more than asked for, which tells whether there is another page.
        let (wanted, mut block) = (limit as usize, limit.saturating_add(1));
        let (mut seen, mut after) = (Vec::new(), after);
        let mut ends = BTreeMap::new();
        for _ in 0..BLOCKS {
            let found = read::cases(&self.db, viewer, listing, officers, after, block).await?;
            let is_last = found.len() < block as usize;
            let (cursors, found): (Vec<_>, Vec<_>) = found.into_iter().unzip();
            after = cursors.last().copied();
            ends.extend(cursors.into_iter().map(|cursor| (cursor.id, cursor)));
            seen.extend(self.unbarred(viewer, found).await?);
            if seen.len() > wanted {
                seen.truncate(wanted);
                let next = seen.last().and_then(|last| ends.get(&last.id)).copied();
                return Ok(Page { items: seen, next });
            }
            if is_last {
                return Ok(Page {
                    items: seen,
                    next: None,
                });
            }
            block = BLOCK;
        }
        Ok(Page {
            items: seen,
            next: after,
        })
    }

    /// The lengths of worklists, of all or of what these officers have.
    async fn counted(
        &self,
        agency: &AgencyId,
        officers: Option<&[String]>,
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        let directory = self.current.get().directory.digest();
        let Some(pending) = lists::pending(&self.db, agency, directory).await? else {
            return Ok(None);
        };
        let viewer = Party::Agency(agency.clone());
        let mut barred = pending.clone();
        if !pending.is_empty() {
            let found = read::by_ids(&self.db, pending).await?;
            let seen = self.unbarred(&viewer, found).await?;
            let seen: BTreeSet<_> = seen.iter().map(|case| case.id.to_string()).collect();
            barred.retain(|case| !seen.contains(case));
        }
        lists::count(&self.db, agency, officers, barred, now, most)
            .await
            .map(Some)
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn open(&self, news: &[ReportNews], now: Time) -> Result<Vec<Arrival>, Error> {
        sql::transact!(self.db, |tx| self.try_open(&mut tx, news, now))
    }

    async fn act(&self, commands: &[Command], now: Time) -> Result<Vec<Acted>, Error> {
        sql::transact!(self.db, |tx| self.try_act(&mut tx, commands, now))
    }

    async fn missed(
        &self,
        now: Time,
        after: Option<MissedAfter>,
        limit: u32,
    ) -> Result<Page<MissedClock, MissedAfter>, Error> {
        read::missed(&self.db, now, after, limit).await
    }

    async fn hand_up(&self, missed: &[MissedClock], now: Time) -> Result<usize, Error> {
        sql::transact!(self.db, |tx| self.try_hand_up(&mut tx, missed, now))
    }

    async fn successions(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
        let active = self.current.get();
        let directory = &active.directory;
        let ended = directory.ended(directory.day(now)).map(|agency| agency.id.to_string());
        read::successions(&self.db, ended.collect(), directory.digest(), after, limit).await
    }

    async fn succeed(&self, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        sql::transact!(self.db, |tx| self.try_succeed(&mut tx, cases, now))
    }

    async fn provisional(&self, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
        read::provisional(&self.db, after, limit).await
    }

    async fn settle(&self, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        sql::transact!(self.db, |tx| self.try_settle(&mut tx, cases, now))
    }

    async fn following(&self, now: Time, after: Option<String>, limit: u32) -> Result<Page<Uuid, String>, Error> {
        links::following(&self.db, now, after, limit).await
    }

    async fn follow(&self, cases: &[Uuid], now: Time) -> Result<usize, Error> {
        sql::transact!(self.db, |tx| self.try_follow(&mut tx, cases, now))
    }

    async fn links(&self, case: Uuid, viewer: &AgencyId) -> Result<Links, Error> {
        let mut links = links::of(&self.db, case, viewer).await?;
        let linked = links.joined.iter().chain(&links.main).chain(&links.prior);
        let ids: Vec<String> = linked.map(Uuid::to_string).collect();
        if ids.is_empty() {
            return Ok(links);
        }
        let found = read::by_ids(&self.db, ids).await?;
        let seen = self.unbarred(&Party::Agency(viewer.clone()), found).await?;
        let seen: BTreeSet<Uuid> = seen.iter().map(|case| case.id).collect();
        links.joined.retain(|case| seen.contains(case));
        links.main.take_if(|case| !seen.contains(case));
        links.prior.take_if(|case| !seen.contains(case));
        Ok(links)
    }

    async fn case(&self, id: Uuid, viewer: &Party) -> Result<Option<StoredCase>, Error> {
        let found = read::case(&self.db, id, viewer).await?;
        Ok(self.unbarred(viewer, found.into_iter().collect()).await?.pop())
    }

    async fn notice(&self, receipt: &str, now: Time) -> Result<Option<Noticed>, Error> {
        let Some((case, notice)) = notices::find(&self.db, receipt).await? else {
            return Ok(None);
        };
        let Some(stored) = read::case(&self.db, case, &Party::Operator).await? else {
            return Ok(None);
        };
        let active = self.current.get();
        let now = now.max(stored.head.time);
        let rules = self.rules(&active.directory, now);
        let mut matter = stored
            .opening
            .as_ref()
            .map(|opening| opening.matter.clone())
            .unwrap_or_default();
        let since = self
            .db
            .fetch(exclusions::OF, vec![vec![case.to_string()].into()])
            .await?;
        let mut excluded: BTreeSet<AgencyId> = exclusions::of_cases(&since)?
            .remove(&case)
            .into_iter()
            .flatten()
            .collect();
        excluded.extend(matter.excluded);
        add_successors(self, vec![&mut excluded], &active.directory).await?;
        matter.excluded = excluded;
        let reviewable = rules.reviewer(&stored.case, &matter).is_some();
        Ok(Some(Noticed {
            stored,
            notice,
            reviewable,
        }))
    }

    async fn cases(
        &self,
        viewer: &Party,
        listing: Option<Listing>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        self.page(viewer, listing, None, after, limit).await
    }

    async fn cases_of_officers(
        &self,
        agency: &AgencyId,
        officers: &[String],
        listing: Listing,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<StoredCase, Cursor>, Error> {
        let viewer = Party::Agency(agency.clone());
        self.page(&viewer, Some(listing), Some(officers), after, limit).await
    }

    async fn count(&self, agency: &AgencyId, now: Time, most: u32) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        self.counted(agency, None, now, most).await
    }

    async fn count_of_officers(
        &self,
        agency: &AgencyId,
        officers: &[String],
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        self.counted(agency, Some(officers), now, most).await
    }

    async fn below(
        &self,
        superior: &AgencyId,
        owner: Option<&AgencyId>,
        listing: Option<Listing>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Option<Page<StoredCase, Cursor>>, Error> {
        // One more than asked for, which tells whether there is another page.
        let found = below::page(&self.db, superior, owner, listing, after, limit.saturating_add(1)).await?;
        Ok(found.map(|mut found| {
            let more = found.len() > limit as usize;
            found.truncate(limit as usize);
            Page {
                next: found.last().filter(|_| more).map(|(cursor, _)| *cursor),
                items: found.into_iter().map(|(_, case)| case).collect(),
            }
        }))
    }

    async fn count_below(
        &self,
        superior: &AgencyId,
        owner: Option<&AgencyId>,
        now: Time,
        most: u32,
    ) -> Result<Option<Vec<(Worklist, u32)>>, Error> {
        below::count(&self.db, superior, owner, now, most).await
    }

    async fn case_below(&self, id: Uuid, superior: &AgencyId) -> Result<Option<Option<StoredCase>>, Error> {
        below::one(&self.db, id, superior).await
    }

    async fn oversee(&self, after: Option<Remade>, limit: u32) -> Result<Option<Remade>, Error> {
        if after.is_none() && below::is_done(&self.db).await? {
            return Ok(None);
        }
        sql::transact!(self.db, |tx| self.try_oversee(&mut tx, after.as_ref(), limit))
    }

    async fn oversee_late(&self, after: Option<String>, limit: u32) -> Result<Option<String>, Error> {
        sql::transact!(self.db, |tx| self.try_oversee_late(&mut tx, after.clone(), limit))
    }

    async fn deputies(&self, agency: &AgencyId, after: Time) -> Result<Vec<Deputy>, Error> {
        deputies::of(&self.db, agency, after).await
    }

    async fn appoint(&self, appointment: &Appointment, now: Time) -> Result<Appointed, Error> {
        sql::transact!(self.db, |tx| self.try_appoint(&mut tx, appointment, now))
    }

    async fn end_deputy(&self, ending: &Ending, now: Time) -> Result<Ended, Error> {
        sql::transact!(self.db, |tx| self.try_end_deputy(&mut tx, ending, now))
    }

    async fn supervisions(
        &self,
        of: &AgencyId,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<AgencySupervision>, Error> {
        agency_supervisions::page(&self.db, of, after, limit).await
    }

    async fn step(&self, taken: &StepTaken, now: Time) -> Result<Stepped, Error> {
        sql::transact!(self.db, |tx| self.try_step(&mut tx, taken, now))
    }

    async fn is_unread(&self, agency: &AgencyId, case: Uuid) -> Result<bool, Error> {
        lists::is_unread(&self.db, agency, case).await
    }

    async fn undelivered(
        &self,
        of: Option<&AgencyId>,
        after: Option<Undelivered>,
        limit: u32,
    ) -> Result<Vec<Undelivered>, Error> {
        lists::undelivered(&self.db, of, after, limit).await
    }

    async fn refused(&self, limit: u32) -> Result<Vec<RefusedDelivery>, Error> {
        read::refused(&self.db, limit).await
    }

    async fn read(&self, reads: &[Read]) -> Result<(), Error> {
        sql::transact!(self.db, |tx| lists::read(&mut tx, reads))
    }

    async fn sees_content(&self, agency: &AgencyId, report: Uuid) -> Result<bool, Error> {
        read::sees_content(&self.db, agency, report).await
    }

    async fn excluded(&self, reports: &[Uuid]) -> Result<BTreeMap<Uuid, BTreeSet<AgencyId>>, Error> {
        read::excluded(&self.db, reports).await
    }

    async fn feed(&self, agency: &AgencyId, after: u64, limit: u32) -> Result<Option<Vec<FeedItem>>, Error> {
        let Some(mut items) = read::feed(&self.db, agency, after, limit).await? else {
            return Ok(None);
        };
        let shown: BTreeMap<Uuid, StoredCase> = items
            .iter()
            .filter_map(|item| Some((item.id, item.case.clone()?)))
            .collect();
        let viewer = Party::Agency(agency.clone());
        let seen = self.unbarred(&viewer, shown.into_values().collect()).await?;
        let seen: BTreeSet<Uuid> = seen.iter().map(|case| case.id).collect();
        for item in &mut items {
            item.case.take_if(|case| !seen.contains(&case.id));
        }
        Ok(Some(items))
    }

    async fn feed_reaches(&self, agency: &AgencyId, position: u64) -> Result<bool, Error> {
        read::feed_reaches(&self.db, agency, position).await
    }

    async fn forget_feed(&self, before: Time, limit: u32) -> Result<u64, Error> {
        sql::transact!(self.db, |tx| feeds::forget_feed(&mut tx, before, limit))
    }

    async fn forget_requests(&self, before: Time, limit: u32) -> Result<u64, Error> {
        sql::transact!(self.db, |tx| journal::forget_requests(&mut tx, before, limit))
    }

    async fn ping(&self) -> Result<(), Error> {
        self.db.ping().await
    }
}

#[async_trait]
impl Versions for SqlStore {
    fn active(&self) -> Arc<Active> {
        self.current.get()
    }

    async fn refresh(&self) -> Result<bool, Error> {
        let known = self.current.get().digests();
        let active = versions::active(&self.db).await?;
        if active.ok_or_else(versions::none_active)?.digests() == known {
            return Ok(false);
        }
        sql::transact!(self.db, |tx| versions::hold(&mut tx, &self.current))?;
        Ok(self.current.get().digests() != known)
    }

    async fn earlier(&self, request: &RequestId) -> Result<Option<Earlier>, Error> {
        journal::earlier(&self.db, request).await
    }

    async fn proposal(&self, kind: VersionKind) -> Result<Option<versions::Proposal>, Error> {
        versions::proposal(&self.db, kind).await
    }

    async fn create(&self, version: &NewVersion, now: Time) -> Result<Created, Error> {
        sql::transact!(self.db, |tx| versions::try_create(
            &mut tx,
            version,
            &*self.entropy,
            now
        ))
    }

    async fn activate(&self, activation: &Activation, now: Time) -> Result<Activated, Error> {
        let activated = sql::transact!(self.db, |tx| versions::try_activate(
            &mut tx,
            activation,
            &*self.entropy,
            now
        ))?;
        match &activated {
            Activated::Done(active) => self.current.advance(active),
            Activated::Outdated => drop(self.refresh().await?),
            Activated::Unchanged
            | Activated::Proposed
            | Activated::Nameless
            | Activated::NotProposed
            | Activated::Approvable
            | Activated::Same(_)
            | Activated::Ownerless(_)
            | Activated::Earlier(_) => {}
        }
        Ok(activated)
    }

    async fn ownerless(&self, directory: &Directory) -> Result<versions::Ownerless, Error> {
        sql::transact!(self.db, |tx| versions::ownerless(&mut tx, directory))
    }

    async fn former(&self, ids: Vec<String>) -> Result<BTreeMap<AgencyId, Option<AgencyId>>, Error> {
        versions::former(&self.db, ids).await
    }

    async fn directory(&self, digest: &[u8]) -> Result<Option<Directory>, Error> {
        versions::read_directory(&mut &self.db, digest).await
    }

    async fn rule_set(&self, digest: &[u8], directory: &Directory) -> Result<Option<RuleSet>, Error> {
        versions::read_rule_set(&mut &self.db, digest, directory).await
    }

    async fn source(&self, kind: VersionKind, digest: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        versions::source(&self.db, kind, digest).await
    }

    async fn versions(
        &self,
        kind: VersionKind,
        after: Option<(Time, Bytes32)>,
        limit: u32,
    ) -> Result<Vec<VersionInfo>, Error> {
        versions::versions(&self.db, kind, after, limit).await
    }

    async fn activations(
        &self,
        kind: VersionKind,
        below: Option<u64>,
        limit: u32,
    ) -> Result<Vec<PastActivation>, Error> {
        versions::activations(&self.db, kind, below, limit).await
    }
}
