//! Decides who gets details, and logs readings of them.
//!
//! A reading is logged before anything is shown, with its reader, purpose and range. Each is a
//! record of its own, `readings/{id}`, with one change: the public log shows when audit logged
//! something, but not that it was a reading, by whom, or of whose. A list is one reading, however
//! many pages it has: it ends where the published log ended when it began, and its pages continue
//! under its name. The name is neither secret nor trusted: a page is shown only if the log has the
//! reading and it is by this caller, for this purpose, of these entries, and not older than
//! [`LASTS`]. So nothing can be read under a reading's name that the reading does not state.
//!
//! A stream is one reading without an end.

use std::ops::Range;

use api::event::{Actor, Detail, Reading, StateChange};
use journal::{Draft, Entropy, Head, Opened, Time, ordered_id};
use names::{AgencyId, READING};
use prost::Message as _;
use rpc::{Failure, Identity, Role};
use uuid::Uuid;

use crate::{
    check::{OWN, READ},
    read::{Filter, Read, Sight},
};

/// Lifetime of a reading's name for further pages, in seconds.
const LASTS: i64 = 24 * 60 * 60;

/// Maximum length of a purpose, in characters.
const LONGEST_PURPOSE: usize = 200;

/// A request for details.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disclosure<'a> {
    pub caller: &'a Identity,
    pub purpose: &'a str,
    pub wanted: &'a Filter,
}

/// A logged reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub id: Uuid,
    /// The entries that it may continue with.
    pub indexes: Range<u64>,
}

impl Logged {
    /// Resource name of its record.
    pub fn name(&self) -> String {
        READING.of(self.id)
    }
}

impl Disclosure<'_> {
    /// The change to log before details of the entries from `first` on are shown, up to `end` if
    /// any.
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

    /// Returns the reading continued at `next` if a logged entry is its beginning.
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

/// Refuses callers who may not see which entries belong to a record.
pub(crate) async fn refuse_chain(caller: &Identity, record: &str, sight: Option<&dyn Sight>) -> Result<(), Failure> {
    if caller.is(Role::Auditor) || caller.is(Role::Operator) {
        return Ok(());
    }
    let Some(agency) = caller.acts_for() else {
        return Err(Failure::denied(
            "only auditors, operators and the agencies concerned see which entries are of a record",
            &caller.system,
        ));
    };
    match sees(sight, agency, record).await? {
        true => Ok(()),
        // As if it did not exist: that is not public.
        false => Err(Failure::NotFound { what: "record" }),
    }
}

/// Whether an agency sees a record; without anybody to ask, it does not.
async fn sees(sight: Option<&dyn Sight>, agency: &AgencyId, record: &str) -> Result<bool, Failure> {
    match sight {
        Some(sight) => sight.sees(&agency.resource_name(), record).await,
        None => Ok(false),
    }
}

/// Refuses callers who may not see the requested details.
pub(crate) async fn refuse_hidden(
    Disclosure {
        caller,
        purpose,
        wanted,
    }: Disclosure<'_>,
    sight: Option<&dyn Sight>,
) -> Result<(), Failure> {
    if !(1..=LONGEST_PURPOSE).contains(&purpose.trim().chars().count()) {
        let needed = format!("state the purpose of reading the details, in at most {LONGEST_PURPOSE} characters");
        return Err(Failure::invalid("purpose", needed));
    }
    if caller.is(Role::Auditor) {
        return Ok(());
    }
    let agency = caller.acts_for().ok_or_else(rpc::unlisted)?;
    let Some(record) = &wanted.record else {
        return Err(Failure::invalid(
            "filter.record",
            "name the report or case whose details to show",
        ));
    };
    match sees(sight, agency, record).await? {
        true => Ok(()),
        // As if it did not exist.
        false => Err(Failure::NotFound { what: "record" }),
    }
}

#[cfg(test)]
mod tests {
    use journal::SeededEntropy;
    use rpc::Roles;

    use super::*;

    const NOW: Time = Time(1_795_305_600_000_000);

    fn auditor() -> Identity {
        Identity {
            system: "auditor".to_owned(),
            agency: None,
            roles: Roles::AUDITOR,
            officer: rpc::Officer::new("o-17").ok(),
            officer_key: rpc::OfficerKey::default(),
            proof: rpc::Proof::Token,
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
    fn p7_only_its_reader_continues_a_reading_and_only_as_it_began() {
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
            somebody(|caller| caller.agency = AgencyId::new("police-450100").ok()),
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
    fn p7_a_stream_has_no_pages() {
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
