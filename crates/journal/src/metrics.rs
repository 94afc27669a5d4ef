//! What producers measure: their commits, the way of their events to consumers, and their clock.

use std::time::Duration;

use telemetry::{
    conventions::OTHER,
    metrics::{Counter, Histogram, Label, LabelInfo, Level, SECONDS, SERVICES, SIZES, Service, Values},
};

use crate::{Kind, Time};

telemetry::instruments! {
    /// The instruments of commits and relays.
    pub struct Instruments {
        /// Changes of records that became durable, by kind: reports accepted, cases opened, deadlines missed, and
        /// all else that is logged.
        changes: Counter<(Changed,)> = ("remit.changes", "{change}"),
        /// Commands that shared a commit.
        commit_size: Histogram<(Service, Commands)> = ("remit.commit.size", "{command}", SIZES),
        /// Time that a command waited for its commit to begin.
        commit_wait: Histogram<(Service, Commands)> = ("remit.commit.wait", "s", SECONDS),
        /// Time that a commit of a group of commands took, with all that it writes.
        commit_time: Histogram<(Service, Commands, Ended)> = ("remit.commit.time", "s", SECONDS),
        /// Time that a write took which is not committed in a group.
        write_time: Histogram<(Service, Ended)> = ("remit.write.time", "s", SECONDS),
        /// Undelivered events for a consumer, counted up to 10,000, by the replica that delivers.
        outbox_depth: Level<(Service, Consumer)> = ("remit.outbox.depth", "{event}"),
        /// Age of the oldest undelivered event for a consumer, parked ones included; when there is none, the
        /// time since the last look.
        outbox_age: Level<(Service, Consumer)> = ("remit.outbox.age", "s"),
        /// Records whose event a consumer refused, so that all their events wait; counted up to 10,000.
        outbox_parked: Level<(Service, Consumer)> = ("remit.outbox.parked", "{record}"),
        /// Events that a consumer took or refused.
        relay_events: Counter<(Service, Consumer, Answered)> = ("remit.relay.events", "{event}"),
        /// Events of one delivery.
        relay_size: Histogram<(Service, Consumer)> = ("remit.relay.size", "{event}", SIZES),
        /// Time from an event to its delivery.
        relay_lag: Histogram<(Service, Consumer)> = ("remit.relay.lag", "s", SECONDS),
        /// Deliveries that failed and are tried again.
        relay_failures: Counter<(Service, Consumer)> = ("remit.relay.failures", "{delivery}"),
        /// Whether the service's clock is in doubt, so that no deadline is enforced and nothing expires: 1, or 0.
        clock_doubted: Level<(Service,)> = ("remit.clock.doubted", "{clock}"),
    }
}

telemetry::label! {
    /// What a group of commands is about.
    pub enum Commands("remit.commands") {
        /// Reports that are accepted.
        Reports = "reports",
        /// Readings of reports and of cases that are recorded.
        Readings = "readings",
        /// Reports that are routed, and commands on cases.
        Cases = "cases",
        /// Changes that are appended to the log.
        Entries = "entries",
        /// Those of tests.
        Others = OTHER,
    }
}

telemetry::label! {
    /// How a commit ended.
    pub enum Ended("remit.outcome") {
        /// It is durable.
        Committed = "committed",
        /// It failed, was refused by a rule of the store, or its end is unknown.
        Failed = "failed",
    }
}

telemetry::label! {
    /// What a consumer answered.
    pub enum Answered("remit.answer") {
        /// Taken, now or before.
        Taken = "taken",
        /// Refused; its record waits.
        Refused = "refused",
    }
}

/// Who an outbox is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Consumer(&'static str);

impl Label for Consumer {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.consumer",
        values: Values::Of(|| SERVICES.into_iter().chain([OTHER]).collect()),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

impl Consumer {
    fn named(name: &str) -> Self {
        Self(SERVICES.into_iter().find(|known| *known == name).unwrap_or(OTHER))
    }
}

/// The kind of a change: what happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Changed(&'static str);

impl Label for Changed {
    const INFO: LabelInfo = LabelInfo {
        key: "remit.kind",
        values: Values::Of(|| Kind::all().map(Kind::name).chain([OTHER]).collect()),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

/// Changes of these kinds are durable.
pub(crate) fn changed(kinds: &[&str]) {
    let changes = &Instruments::get().changes;
    for kind in kinds {
        changes.add(1, (Changed(Kind::from_name(kind).map_or(OTHER, Kind::name)),));
    }
}

/// Most that is counted of a backlog: a count costs what it counts.
pub(crate) const COUNTED: u32 = 10_000;

/// What waits for a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Number of undelivered events, at most as many as asked for.
    pub events: u64,
    /// Time of the oldest.
    pub oldest: Option<Time>,
    /// Number of parked records, at most as many as asked for.
    pub parked: u64,
}

/// The metrics of one relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfRelay(Service, Consumer);

impl OfRelay {
    pub(crate) fn new(service: Service, consumer: &str) -> Self {
        Self(service, Consumer::named(consumer))
    }

    fn labels(self) -> (Service, Consumer) {
        (self.0, self.1)
    }

    /// What waits, as this replica sees it now.
    pub(crate) fn waits(self, waiting: &Waiting, now: Time) {
        let this = Instruments::get();
        this.outbox_depth.set(waiting.events, self.labels());
        this.outbox_parked.set(waiting.parked, self.labels());
        let age = waiting.oldest.map_or(Duration::ZERO, |oldest| between(oldest, now));
        this.outbox_age.age(age, self.labels());
    }

    /// Another replica delivers, and says what waits.
    pub(crate) fn rests(self) {
        let this = Instruments::get();
        this.outbox_depth.forget(self.labels());
        this.outbox_parked.forget(self.labels());
        this.outbox_age.forget(self.labels());
    }

    /// A delivery of this many events was answered.
    pub(crate) fn delivered(self, taken: u64, refused: u64) {
        let this = Instruments::get();
        let Self(service, consumer) = self;
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        this.relay_size.record((taken + refused) as f64, self.labels());
        this.relay_events.add(taken, (service, consumer, Answered::Taken));
        if refused > 0 {
            this.relay_events.add(refused, (service, consumer, Answered::Refused));
        }
    }

    /// An event of this time was taken now.
    pub(crate) fn took(self, time: Time, now: Time) {
        Instruments::get().relay_lag.took(between(time, now), self.labels());
    }

    pub(crate) fn failed(self) {
        Instruments::get().relay_failures.add(1, self.labels());
    }
}

/// Time from one to another; none if the clock went back.
fn between(earlier: Time, later: Time) -> Duration {
    Duration::from_micros(u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0))
}

/// The metrics of one kind of group commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfCommits(pub(crate) Service, pub(crate) Commands);

impl OfCommits {
    /// A command's commit begins after this wait.
    pub(crate) fn waited(self, wait: Duration) {
        Instruments::get().commit_wait.took(wait, (self.0, self.1));
    }

    /// A commit of this many ended after this time.
    pub(crate) fn ended(self, size: usize, time: Duration, is_committed: bool) {
        let this = Instruments::get();
        #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
        this.commit_size.record(size as f64, (self.0, self.1));
        this.commit_time.took(time, (self.0, self.1, ended(is_committed)));
    }
}

/// A write ended after this time.
pub(crate) fn wrote(service: Service, time: Duration, is_committed: bool) {
    Instruments::get().write_time.took(time, (service, ended(is_committed)));
}

fn ended(is_committed: bool) -> Ended {
    match is_committed {
        true => Ended::Committed,
        false => Ended::Failed,
    }
}

/// Whether a service believes its clock.
pub(crate) fn believed(service: Service, is_believed: bool) {
    Instruments::get().clock_doubted.set((!is_believed).into(), (service,));
}
