//! Reads of details are changes too: each is logged, with who reads, for what, and which, before anything is shown; and who gets
//! details at all.
//!
//! Every reading is a record of its own, `readings/{id}` with one change: the public log tells that audit logged something, and when,
//! but not that it was a reading, by whom, or whose. One page or a million, it is one reading: it ends where the published log did when it began, and its
//! pages go on under its name. The name is no secret and is not believed: a page is shown only when the log holds the reading, and it is
//! the caller's, for this purpose, of these entries, and not older than [`LASTS`]. So nothing can be read under a
//! reading's name that the reading does not say.
//!
//! Somebody who follows the log is one reading for as long as the stream lasts, without an end.

use std::ops::Range;

use api::event::{Actor, Detail, Reading, StateChange};
use journal::{Draft, Entropy, Head, Opened, Time, ordered_id};
use names::READING;
use prost::Message as _;
use rpc::{AgencyCaller, Failure, Identity, Role};
use uuid::Uuid;

use crate::{
    check::{OWN, READ},
    read::{Filter, Read, Sight},
};

/// For how long pages can be asked for under a reading's name, in seconds.
const LASTS: i64 = 24 * 60 * 60;

/// Characters of a purpose.
const LONGEST_PURPOSE: usize = 200;

/// Who reads which details, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disclosure<'a> {
    pub caller: &'a Identity,
    pub purpose: &'a str,
    pub wanted: &'a Filter,
}

/// A reading that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub id: Uuid,
    /// The entries that it may go on with.
    pub indexes: Range<u64>,
}

impl Logged {
    /// Resource name of its record.
    pub fn name(&self) -> String {
        READING.of(self.id)
    }
}

impl Disclosure<'_> {
    /// The change to be logged before details of the entries from `first` on are shown, up to `end` where there is one.
    pub fn begin(&self, first: u64, end: Option<u64>, now: Time, entropy: &dyn Entropy) -> (Uuid, StateChange) {
        let id = ordered_id(now, entropy);
        let draft = Draft {
            source: OWN,
            record: &READING.of(id),
            kind: READ,
            caused_by: None,
            detail: Detail {
                actor: Some(self.actor(id)),
                purpose: self.purpose.trim().to_owned(),
                reading: Some(self.reading(first, end)),
                ..Detail::default()
            },
            traceparent: String::new(),
        };
        (id, draft.into_change(&Head::default(), now, entropy).with_detail())
    }

    /// Whether a logged entry is the beginning of this reading, which then goes on at `next`.
    pub fn goes_on(&self, id: Uuid, logged: &Read, next: u64, now: Time) -> Option<Logged> {
        let entry = Opened::new(&logged.entry, logged.chain.as_ref()?.into()).ok()?;
        let detail = Detail::decode(&*logged.detail.as_ref()?.content).ok()?;
        let began = detail.reading?;
        let indexes = began.first_index.cast_unsigned()..began.end_index?.cast_unsigned();
        let is_it = entry.source == OWN
            && entry.kind == READ
            && entry.record == READING.of(id)
            && now < entry.time.plus_seconds(LASTS)
            && detail.actor == Some(self.actor(id))
            && detail.purpose == self.purpose.trim()
            && began == self.reading(indexes.start, Some(indexes.end))
            && indexes.contains(&next);
        is_it.then_some(Logged {
            id,
            indexes: next..indexes.end,
        })
    }

    fn actor(&self, id: Uuid) -> Actor {
        self.caller.actor(id.as_bytes())
    }

    fn reading(&self, first: u64, end: Option<u64>) -> Reading {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let wanted = self.wanted;
        Reading {
            first_index: first.cast_signed(),
            end_index: end.map(u64::cast_signed),
            record: text(&wanted.record),
            kind: text(&wanted.kind),
            agency: text(&wanted.agency),
            actor: text(&wanted.actor),
            start_time: wanted.start.map(Time::to_proto),
            end_time: wanted.end.map(Time::to_proto),
        }
    }
}

/// Refuses a caller who may not see which entries are of a record.
pub(crate) async fn refuse_chain(caller: &Identity, record: &str, sight: Option<&dyn Sight>) -> Result<(), Failure> {
    match (caller.role, sight) {
        (Role::Auditor | Role::Operator, _) => Ok(()),
        (Role::Agency, Some(sight)) => {
            let agency = AgencyCaller::from_identity(caller)?.agency.resource_name();
            match sight.sees(&agency, record).await? {
                true => Ok(()),
                // As if there were none: whether there is one is not public.
                false => Err(Failure::NotFound { what: "record" }),
            }
        }
        (Role::Agency, None) => Err(Failure::NotFound { what: "record" }),
        (Role::Partner | Role::Service, _) => Err(Failure::denied(
            "only auditors, operators and the agencies concerned see which entries are of a record",
            &caller.system,
        )),
    }
}

/// Refuses a caller who may not see the details of what it asks for.
pub(crate) async fn refuse_hidden(
    Disclosure {
        caller,
        purpose,
        wanted,
    }: Disclosure<'_>,
    sight: Option<&dyn Sight>,
) -> Result<(), Failure> {
    if !(1..=LONGEST_PURPOSE).contains(&purpose.trim().chars().count()) {
        let needed = format!("name what the details are read for, in at most {LONGEST_PURPOSE} characters");
        return Err(Failure::invalid("purpose", needed));
    }
    let hidden = Err(Failure::NotFound { what: "record" });
    match (caller.role, &wanted.record, sight) {
        (Role::Auditor, ..) => Ok(()),
        (Role::Agency, Some(record), Some(sight)) => {
            let agency = AgencyCaller::from_identity(caller)?.agency.resource_name();
            match sight.sees(&agency, record).await? {
                true => Ok(()),
                // As if there were none.
                false => hidden,
            }
        }
        (Role::Agency, None, _) => Err(Failure::invalid(
            "filter.record",
            "name the report or case whose details are wanted",
        )),
        (Role::Agency, _, None) => hidden,
        (Role::Operator | Role::Partner | Role::Service, ..) => Err(rpc::unlisted()),
    }
}

#[cfg(test)]
mod tests {
    use journal::SeededEntropy;
    use rpc::Role;

    use super::*;

    const NOW: Time = Time(1_795_305_600_000_000);

    fn auditor() -> Identity {
        Identity {
            system: "auditor".to_owned(),
            agency: None,
            role: Role::Auditor,
            officer: rpc::Officer::new("o-17").ok(),
            officer_key: rpc::OfficerKey::default(),
        }
    }

    fn of_a_record() -> Filter {
        Filter {
            record: Some("cases/a".to_owned()),
            start: Some(NOW),
            with_detail: true,
            ..Filter::default()
        }
    }

    fn read(change: &StateChange) -> Read {
        Read {
            index: 7,
            entry: change.entry.to_vec(),
            chain: change.chain.clone(),
            detail: change.detail.clone(),
        }
    }

    #[test]
    fn p7_a_reading_is_gone_on_with_by_whoever_began_it_and_as_it_began_only() {
        let (caller, wanted) = (auditor(), of_a_record());
        let disclosure = Disclosure {
            caller: &caller,
            purpose: " inspection ",
            wanted: &wanted,
        };
        let (id, change) = disclosure.begin(3, Some(9), NOW, &SeededEntropy::new(1));
        let logged = read(&change);
        let later = NOW.plus_seconds(LASTS - 1);
        assert_eq!(
            disclosure.goes_on(id, &logged, 5, later),
            Some(Logged { id, indexes: 5..9 })
        );

        let none = |disclosure: Disclosure<'_>, id, next, now| {
            assert_eq!(
                disclosure.goes_on(id, &logged, next, now),
                None,
                "{disclosure:?} {next}"
            );
        };
        for next in [0, 2, 9, 10, u64::MAX] {
            none(disclosure, id, next, NOW);
        }
        none(disclosure, id, 5, NOW.plus_seconds(LASTS));
        none(disclosure, Uuid::nil(), 5, NOW);
        let purpose = "curiosity";
        none(Disclosure { purpose, ..disclosure }, id, 5, NOW);
        let somebody = |change: fn(&mut Identity)| {
            let mut caller = auditor();
            change(&mut caller);
            caller
        };
        for caller in [
            somebody(|caller| caller.system = "another".to_owned()),
            somebody(|caller| caller.agency = names::AgencyId::new("police-450100").ok()),
            somebody(|caller| caller.officer = rpc::Officer::new("o-18").ok()),
            somebody(|caller| caller.officer = None),
        ] {
            let caller = &caller;
            none(Disclosure { caller, ..disclosure }, id, 5, NOW);
        }
        let other = |change: fn(&mut Filter)| {
            let mut wanted = of_a_record();
            change(&mut wanted);
            wanted
        };
        for wanted in [
            other(|wanted| wanted.record = None),
            other(|wanted| wanted.record = Some("cases/b".to_owned())),
            other(|wanted| wanted.kind = Some("case.opened".to_owned())),
            other(|wanted| wanted.agency = Some("agencies/x".to_owned())),
            other(|wanted| wanted.actor = Some("x".to_owned())),
            other(|wanted| wanted.start = None),
            other(|wanted| wanted.end = Some(NOW)),
        ] {
            let wanted = &wanted;
            none(Disclosure { wanted, ..disclosure }, id, 5, NOW);
        }
    }

    #[test]
    fn p7_following_the_log_has_no_pages() {
        let (caller, wanted) = (auditor(), of_a_record());
        let disclosure = Disclosure {
            caller: &caller,
            purpose: "inspection",
            wanted: &wanted,
        };
        let (id, change) = disclosure.begin(3, None, NOW, &SeededEntropy::new(1));
        assert_eq!(disclosure.goes_on(id, &read(&change), 3, NOW), None);
    }
}
