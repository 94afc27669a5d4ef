//! Who takes how much: calls, open streams, and bytes of messages, each with a bound for one caller
//! and one for all.
//!
//! Three lanes do not meet: callers with a token, Remit's own services, and strangers, who are
//! callers by their address (of health's streams, reflection and public files). What one lane has
//! taken is no less for another, so a flood from outside does not stop relays, nor health.
//!
//! Counting is atomic arithmetic. The table of callers is read under one of several locks, and
//! written when a caller is new.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use api::{
    cost::{Freed, Kept, Purse},
    error::ErrorReason,
};
use tokio::sync::Notify;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{DOMAIN, Failure, Identity, Limits, failure, limits::Limit, metrics};

/// Something of which a caller may take so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Calls = 0,
    Streams = 1,
    Bytes = 2,
}

impl What {
    /// The limits of one and of all.
    fn limits(self) -> (Limit, Limit) {
        match self {
            Self::Calls => (Limit::ConcurrencyPerCaller, Limit::Concurrency),
            Self::Streams => (Limit::StreamsPerCaller, Limit::Streams),
            Self::Bytes => (Limit::InFlightPerCaller, Limit::InFlight),
        }
    }
}

#[derive(Debug, Default)]
struct Used([AtomicUsize; 3]);

impl Used {
    fn take(&self, what: What, number: usize, bound: usize) -> bool {
        let more = |used: usize| used.checked_add(number).filter(|used| *used <= bound);
        let taken = self.0[what as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    fn has(&self, what: What, number: usize, bound: usize) -> bool {
        let used = self.0[what as usize].load(Ordering::Relaxed);
        used.checked_add(number).is_some_and(|used| used <= bound)
    }

    fn give(&self, what: What, number: usize) {
        self.0[what as usize].fetch_sub(number, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Lane {
    used: Used,
    /// Woken when bytes are given back.
    freed: Arc<Notify>,
    of_one: [usize; 3],
    of_all: [usize; 3],
}

/// Whom an address stands for: whoever has one address of IPv6 has the 2⁶⁴ of its network, and an
/// address of IPv4 is the same however it is written.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

/// Locks of the table of callers.
const STRIPES: usize = 16;
/// Callers of a stripe at which those who have nothing are forgotten.
const MANY: usize = 512;

type Stripe = RwLock<HashMap<String, Arc<Used>>>;

/// What the callers of a server have taken.
#[derive(Debug)]
pub(crate) struct Shares {
    service: &'static str,
    decoded: usize,
    callers: Arc<Lane>,
    services: Arc<Lane>,
    strangers: Arc<Lane>,
    hasher: RandomState,
    stripes: [Stripe; STRIPES],
}

impl Shares {
    pub(crate) fn new(service: &'static str, limits: &Limits) -> Arc<Self> {
        let lane = |of_one, of_all| {
            Arc::new(Lane {
                used: Used::default(),
                freed: Arc::default(),
                of_one,
                of_all,
            })
        };
        let of_all = [limits.concurrency, limits.streams, limits.in_flight_bytes];
        let of_one = [
            limits.concurrency_per_caller,
            limits.streams_per_caller,
            limits.in_flight_bytes_per_caller,
        ];
        // They have queues of their own for what they send each other, which are shorter.
        let mut of_services = of_all;
        of_services[What::Bytes as usize] = limits.in_flight_bytes.saturating_mul(4);
        let part = |parts: usize| of_all.map(|all| all.div_ceil(parts));
        Arc::new(Self {
            service,
            decoded: limits.decoded_bytes,
            callers: lane(of_one, of_all),
            services: lane(of_services, of_services),
            strangers: lane(part(16), part(4)),
            hasher: RandomState::new(),
            stripes: std::array::from_fn(|_| Stripe::default()),
        })
    }

    /// The account of a caller: of a system that was identified, otherwise of an address.
    pub(crate) fn of(self: &Arc<Self>, caller: Option<&Identity>, peer: Option<IpAddr>) -> Account {
        let (lane, own) = match caller {
            Some(caller) if caller.is_service() => (&self.services, self.used(&caller.system)),
            Some(caller) => (&self.callers, self.used(&caller.system)),
            // No system's name begins with a space.
            None => (
                &self.strangers,
                self.used(&peer.map_or_else(|| " ".to_owned(), |peer| format!(" {}", network(peer)))),
            ),
        };
        Account {
            shares: Arc::clone(self),
            lane: Arc::clone(lane),
            own,
        }
    }

    fn used(&self, name: &str) -> Arc<Used> {
        let stripe = &self.stripes[usize::try_from(self.hasher.hash_one(name)).unwrap_or(0) % STRIPES];
        if let Some(used) = stripe.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(used);
        }
        let mut stripe = stripe.write().unwrap_or_else(PoisonError::into_inner);
        if stripe.len() >= MANY {
            stripe.retain(|_, used| Arc::strong_count(used) > 1);
        }
        Arc::clone(stripe.entry(name.to_owned()).or_default())
    }

    /// What callers with a token have taken.
    pub(crate) fn taken(&self, what: What) -> usize {
        self.callers.used.0[what as usize].load(Ordering::Relaxed)
    }
}

/// What one caller may take.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    shares: Arc<Shares>,
    lane: Arc<Lane>,
    own: Arc<Used>,
}

impl Account {
    /// Takes some.
    ///
    /// # Errors
    /// The limit that this would pass.
    fn take(&self, what: What, number: usize) -> Result<(), Limit> {
        let (of_one, of_all) = what.limits();
        let over = |limit| {
            metrics::limited(self.shares.service, limit);
            Err(limit)
        };
        if !self.own.take(what, number, self.lane.of_one[what as usize]) {
            return over(of_one);
        }
        if !self.lane.used.take(what, number, self.lane.of_all[what as usize]) {
            self.own.give(what, number);
            return over(of_all);
        }
        Ok(())
    }

    fn give(&self, what: What, number: usize) {
        self.own.give(what, number);
        self.lane.used.give(what, number);
        if what == What::Bytes {
            self.lane.freed.notify_waiters();
        }
    }

    /// Takes one, as long as the permit is kept.
    pub(crate) fn permit(&self, what: What) -> Result<Permit, Failure> {
        self.take(what, 1).map_err(|_| Failure::Overloaded)?;
        Ok(Permit {
            account: self.clone(),
            what,
        })
    }

    /// Bytes that are taken as they come.
    pub(crate) fn lease(&self) -> Arc<Lease> {
        Arc::new(Lease {
            account: self.clone(),
            taken: AtomicUsize::new(0),
            decoded: AtomicUsize::new(0),
        })
    }

    /// The service that it is of.
    pub(crate) fn service(&self) -> &'static str {
        self.shares.service
    }
}

/// One call or stream.
#[derive(Debug)]
pub(crate) struct Permit {
    account: Account,
    what: What,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.give(self.what, 1);
    }
}

/// Bytes of messages that are held.
#[derive(Debug)]
pub(crate) struct Lease {
    account: Account,
    taken: AtomicUsize,
    /// What the last message takes that was decoded.
    decoded: AtomicUsize,
}

impl Lease {
    /// Takes more.
    pub(crate) fn more(&self, bytes: usize) -> Result<(), Failure> {
        self.account.take(What::Bytes, bytes).map_err(|_| Failure::Overloaded)?;
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Gives all back but so many: what they held is gone.
    pub(crate) fn keep(&self, bytes: usize) {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        let kept = taken.min(bytes);
        self.taken.fetch_add(kept, Ordering::Relaxed);
        if taken > kept {
            self.account.give(What::Bytes, taken - kept);
        }
    }

    /// Gives all back.
    pub(crate) fn settle(&self) {
        self.keep(0);
    }
}

impl Purse for Lease {
    fn most(&self) -> usize {
        self.account.shares.decoded
    }

    fn pay(&self, bytes: usize) -> Result<(), Status> {
        let limit = self.account.shares.decoded;
        if bytes > limit {
            metrics::limited(self.account.shares.service, Limit::Decoded);
            return Err(too_large(limit));
        }
        self.decoded.store(bytes, Ordering::Relaxed);
        if let Err(failure) = self.more(bytes) {
            // What does not fit even alone never will: no time to wait is told.
            let own = self.taken.load(Ordering::Relaxed).saturating_add(bytes);
            let most = self.account.lane.of_one[What::Bytes as usize];
            return Err(match own > most {
                true => too_large(most),
                false => failure.into(),
            });
        }
        Ok(())
    }

    fn hold(&self, bytes: usize) -> Kept {
        // It is paid for; paid again, a large one would wait for itself.
        let wanted = bytes.saturating_add(self.decoded.swap(0, Ordering::Relaxed));
        let rest = |taken: usize| Some(taken.saturating_sub(wanted));
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        let lease = self.account.lease();
        lease
            .taken
            .store(taken.unwrap_or_default().min(wanted), Ordering::Relaxed);
        Box::new(lease)
    }

    fn has_room(&self, bytes: usize) -> bool {
        let (what, lane) = (What::Bytes, &self.account.lane);
        let own = self.account.own.has(what, bytes, lane.of_one[what as usize]);
        own && lane.used.has(what, bytes, lane.of_all[what as usize])
    }

    fn freed(&self) -> Freed {
        // Woken from here on, whether or not it is polled yet.
        Box::pin(Arc::clone(&self.account.lane.freed).notified_owned())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.settle();
    }
}

fn too_large(limit: usize) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([("limit_bytes".to_owned(), limit.to_string())]);
    details.set_error_info(failure::reason(ErrorReason::MessageTooLarge), DOMAIN, metadata);
    let message =
        format!("decoded, the message would take more than the limit of {limit} bytes; send fewer items in one");
    Status::with_error_details(Code::InvalidArgument, message, details)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::Roles;

    fn caller(system: &str, roles: Roles) -> Identity {
        Identity {
            system: system.to_owned(),
            agency: None,
            roles,
            officer: None,
            officer_key: crate::OfficerKey::default(),
            proof: crate::Proof::Token,
        }
    }

    fn shares() -> Arc<Shares> {
        let limits = Limits {
            concurrency: 10,
            concurrency_per_caller: 4,
            in_flight_bytes: 1_000,
            in_flight_bytes_per_caller: 400,
            decoded_bytes: 300,
            ..Limits::default()
        };
        Shares::new("test", &limits)
    }

    #[test]
    fn one_caller_takes_its_share_and_no_more_whatever_others_take() {
        let shares = shares();
        let greedy = shares.of(Some(&caller("greedy", Roles::AGENCY)), None);
        let taken: Vec<_> = (0..100).filter_map(|_| greedy.permit(What::Calls).ok()).collect();
        assert_eq!(taken.len(), 4);
        // The same caller with another token or connection is the same caller.
        let again = shares.of(Some(&caller("greedy", Roles::AGENCY)), Some([10, 0, 0, 1].into()));
        assert!(again.permit(What::Calls).is_err());
        let honest = shares.of(Some(&caller("honest", Roles::PARTNER)), None);
        let others: Vec<_> = (0..4).map(|_| honest.permit(What::Calls).unwrap()).collect();
        assert_eq!(shares.taken(What::Calls), 8);
        let third = shares.of(Some(&caller("third", Roles::PARTNER)), None);
        let third: Vec<_> = (0..4).filter_map(|_| third.permit(What::Calls).ok()).collect();
        assert_eq!(third.len(), 2, "ten in all");
        // What was refused in all was given back to the one.
        drop((taken, others));
        let third = shares.of(Some(&caller("third", Roles::PARTNER)), None);
        let more: Vec<_> = (0..4).filter_map(|_| third.permit(What::Calls).ok()).collect();
        assert_eq!(more.len(), 2);
    }

    #[test]
    fn services_and_strangers_have_lanes_of_their_own() {
        let shares = shares();
        let mut taken = Vec::new();
        for number in 0..100 {
            let account = shares.of(Some(&caller(&format!("agency-{number}"), Roles::AGENCY)), None);
            taken.extend(account.permit(What::Calls));
            let peer = IpAddr::from([10, 0, 0, number]);
            taken.extend(shares.of(None, Some(peer)).permit(What::Calls));
        }
        assert_eq!(taken.len(), 10 + 3);
        let service = shares.of(Some(&caller("routing", Roles::SERVICE)), None);
        let own: Vec<_> = (0..100).filter_map(|_| service.permit(What::Calls).ok()).collect();
        assert_eq!(own.len(), 10);
    }

    #[test]
    fn bytes_are_held_until_they_are_settled_or_dropped() {
        let shares = shares();
        let account = shares.of(Some(&caller("desk", Roles::AGENCY)), None);
        let lease = account.lease();
        lease.more(200).unwrap();
        lease.pay(200).unwrap();
        assert!(matches!(lease.more(1), Err(Failure::Overloaded)));
        assert!(account.lease().more(1).is_err());
        lease.settle();
        assert_eq!(shares.taken(What::Bytes), 0);
        lease.more(400).unwrap();
        drop(lease);
        assert_eq!(shares.taken(What::Bytes), 0);
        // One that never fits is not told to try again.
        let refused = account.lease().pay(301).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
        assert!(refused.get_details_retry_info().is_none());
    }

    #[test]
    fn a_message_that_is_held_is_paid_for_once() {
        let shares = shares();
        let account = shares.of(Some(&caller("desk", Roles::AGENCY)), None);
        let lease = account.lease();
        // Most of what the caller may have, and the beginning of the next message.
        lease.more(190).unwrap();
        lease.pay(180).unwrap();
        let kept = lease.hold(180);
        assert_eq!(shares.taken(What::Bytes), 370);
        assert!(lease.has_room(30) && !lease.has_room(31));
        let (mut freed, mut later) = (lease.freed(), lease.freed());
        assert!((&mut freed).now_or_never().is_none());
        // The next message is asked for.
        lease.keep(10);
        assert!((&mut freed).now_or_never().is_none(), "nothing was given back");
        assert_eq!(shares.taken(What::Bytes), 370);
        lease.settle();
        assert_eq!(shares.taken(What::Bytes), 360);
        assert!((&mut freed).now_or_never().is_some(), "it is woken");
        assert!((&mut later).now_or_never().is_some(), "also before its first poll");
        drop(kept);
        assert_eq!(shares.taken(What::Bytes), 0);
        // Nothing that was not paid for is handed over.
        drop(lease.hold(1_000));
        assert_eq!(shares.taken(What::Bytes), 0);
        // What does not fit alone is not told to try again, and what does not fit beside others is.
        lease.more(200).unwrap();
        assert!(lease.pay(201).unwrap_err().get_details_retry_info().is_none());
        let other = account.lease();
        assert!(other.pay(201).unwrap_err().get_details_retry_info().is_some());
    }

    #[test]
    fn strangers_are_told_apart_by_their_network() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(network(address).to_string(), expected, "{address}");
        }
        let shares = shares();
        let taken = (0..100_u16).filter_map(|number| {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, number);
            shares.of(None, Some(address.into())).permit(What::Calls).ok()
        });
        assert_eq!(taken.collect::<Vec<_>>().len(), 1, "a sixteenth of ten");
    }

    #[test]
    fn the_table_of_strangers_does_not_grow_with_their_number() {
        let shares = shares();
        for number in 0..100_000_u32 {
            drop(shares.of(None, Some(IpAddr::from(number.to_be_bytes()))));
        }
        let known: usize = shares.stripes.iter().map(|stripe| stripe.read().unwrap().len()).sum();
        assert!(known <= STRIPES * MANY, "{known}");
    }
}
