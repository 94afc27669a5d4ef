//! What a message takes in memory once it is decoded, found in its bytes before anything is.
//!
//! Two bytes can be an item of a list whose type takes hundreds: four megabytes of empty items
//! decode to more than a hundred. So lists are counted on the wire first, by the sizes of their
//! items, and whoever serves the call pays for the result: it refuses what is too much in one
//! message, and what is too much with all that is decoded at the same time.

use std::{collections::HashMap, pin::Pin, sync::Arc, sync::LazyLock};

use prost::{
    bytes::Buf as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use tonic::Status;

use crate::POOL;

/// Pays for what the requests of a call take in memory.
pub trait Purse: Send + Sync + 'static {
    /// What one message may take at most: more of it is not counted.
    fn most(&self) -> usize;

    /// Pays for a message that takes this many bytes once it is decoded.
    ///
    /// # Errors
    /// The status to refuse it with, when that is too much.
    fn pay(&self, bytes: usize) -> Result<(), Status>;

    /// Hands over what was paid for the last message, of so many bytes, for as long as what is
    /// returned is kept: of a stream, messages are paid for until the next one is asked for.
    fn hold(&self, bytes: usize) -> Kept;

    /// Whether a message as large as the last one, with what it takes once it is decoded, has room
    /// beside what is held.
    fn has_room(&self, bytes: usize) -> bool;

    /// Completes when anything is given back from now on.
    fn freed(&self) -> Freed;
}

/// A wait for something to be given back.
pub type Freed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a message takes, until this is dropped.
pub type Kept = Box<dyn Send + Sync>;

/// Holds the last message that was decoded in this call, of so many bytes: see [`Purse::hold`].
#[must_use]
pub fn hold(bytes: usize) -> Kept {
    PURSE
        .try_with(|purse| purse.hold(bytes))
        .unwrap_or_else(|_| Box::new(()))
}

/// Whether another message like the last one has room: see [`Purse::has_room`].
#[must_use]
pub fn has_room(bytes: usize) -> bool {
    PURSE.try_with(|purse| purse.has_room(bytes)).unwrap_or(true)
}

/// A wait for room: ask for it before [`has_room`], and nothing is missed in between.
#[must_use]
pub fn freed() -> Freed {
    PURSE
        .try_with(|purse| purse.freed())
        .unwrap_or_else(|_| Box::pin(std::future::ready(())))
}

tokio::task_local! {
    /// The purse of the call whose requests are decoded.
    pub static PURSE: Arc<dyn Purse>;
}

/// What a message may take where no purse says less.
const WITHOUT_PURSE: usize = 16 << 20;

/// Has a message paid for.
pub(crate) fn pay(message: usize, bytes: &[u8]) -> Result<(), Status> {
    match PURSE.try_with(|purse| purse.pay(COSTS.decoded(message, bytes, purse.most()))) {
        Ok(paid) => paid,
        Err(_) if COSTS.decoded(message, bytes, WITHOUT_PURSE) <= WITHOUT_PURSE => Ok(()),
        Err(_) => Err(Status::out_of_range("too large once decoded")),
    }
}

/// As deep as messages decode.
const DEPTH: usize = 100;

/// A list grows by doubling, and is moved when it does.
const GROWTH: usize = 2;

/// What a field adds with each occurrence, beside its message's own size.
#[derive(Clone, Copy, Debug)]
enum Adds {
    /// A number: nothing.
    Nothing,
    /// Numbers in a row, of this size.
    Packed(usize),
    /// A text in a list or not: its bytes, and this.
    Text(usize),
    /// Bytes, which are shared with what came: this, for the item of a list.
    Shared(usize),
    /// A message with this index, and this much for its item.
    Message(usize, usize),
}

pub(crate) struct Costs {
    indexes: HashMap<String, usize>,
    /// By index of the message, what each field adds, by its number.
    fields: Vec<Vec<Adds>>,
    /// Sizes of the messages themselves.
    sizes: Vec<usize>,
}

pub(crate) static COSTS: LazyLock<Costs> = LazyLock::new(Costs::new);

/// Size of a text, a list, or a map.
const HEAD: usize = 24;
/// Size of bytes.
const BYTES: usize = 32;
/// Size of a number, with whether it is set.
const NUMBER: usize = 16;

impl Costs {
    fn new() -> Self {
        let messages: Vec<_> = POOL.all_messages().collect();
        let indexes: HashMap<_, _> = messages
            .iter()
            .enumerate()
            .map(|(index, message)| (message.full_name().to_owned(), index))
            .collect();
        let sizes: Vec<_> = messages.iter().map(|message| size(message, &mut Vec::new())).collect();
        let adds = |field: FieldDescriptor| {
            let item = |size: usize| if field.is_list() { size * GROWTH } else { 0 };
            match field.kind() {
                Kind::String => Adds::Text(item(HEAD)),
                Kind::Bytes => Adds::Shared(item(BYTES)),
                Kind::Message(of) => {
                    let index = indexes[of.full_name()];
                    let size = match field.is_map() || field.is_list() {
                        true => sizes[index] * GROWTH,
                        // On the heap where a type contains itself; counted everywhere.
                        false => sizes[index],
                    };
                    Adds::Message(index, size)
                }
                _ if field.is_list() => Adds::Packed(8 * GROWTH),
                _ => Adds::Nothing,
            }
        };
        let fields = |message: &MessageDescriptor| {
            let last = message.fields().map(|field| field.number()).max().unwrap_or(0);
            (0..=last)
                .map(|number| message.get_field(number).map_or(Adds::Nothing, adds))
                .collect()
        };
        Self {
            fields: messages.iter().map(fields).collect(),
            indexes,
            sizes,
        }
    }

    pub(crate) fn of(&self, full_name: &str) -> Option<usize> {
        self.indexes.get(full_name).copied()
    }

    /// What a message takes at most, beside its own bytes; once that is more than `most`, it is not
    /// counted further. Of bytes that are no message, what can be read is counted: decoding them
    /// ends at the same place.
    pub(crate) fn decoded(&self, message: usize, bytes: &[u8], most: usize) -> usize {
        self.sizes[message].saturating_add(self.inner(message, bytes, most, DEPTH))
    }

    fn inner(&self, message: usize, mut bytes: &[u8], most: usize, depth: usize) -> usize {
        let fields = &self.fields[message];
        let mut sum = 0_usize;
        while bytes.has_remaining() && sum <= most {
            let Ok((number, wire)) = decode_key(&mut bytes) else {
                return sum;
            };
            let adds = fields.get(number as usize).copied().unwrap_or(Adds::Nothing);
            if wire != WireType::LengthDelimited {
                if skip_field(wire, number, &mut bytes, DecodeContext::default()).is_err() {
                    return sum;
                }
                if let Adds::Packed(each) = adds {
                    sum = sum.saturating_add(each);
                }
                continue;
            }
            let Ok(length) = decode_varint(&mut bytes) else {
                return sum;
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some((content, rest)) = bytes.split_at_checked(length) else {
                return sum;
            };
            bytes = rest;
            let added = match adds {
                Adds::Nothing => 0,
                Adds::Packed(each) => length.saturating_mul(each),
                Adds::Text(item) => length.saturating_add(item),
                Adds::Shared(item) => item,
                Adds::Message(of, item) if depth > 0 => {
                    item.saturating_add(self.inner(of, content, most - sum, depth - 1))
                }
                Adds::Message(_, item) => item,
            };
            sum = sum.saturating_add(added);
        }
        sum
    }
}

/// Size of a message without what its fields point to: at most, since members of a `oneof` share
/// their room.
fn size(message: &MessageDescriptor, within: &mut Vec<String>) -> usize {
    // What contains itself is on the heap there.
    if within.iter().any(|name| name == message.full_name()) {
        return NUMBER;
    }
    within.push(message.full_name().to_owned());
    let of = |field: FieldDescriptor, within: &mut Vec<String>| match field.kind() {
        _ if field.is_list() || field.is_map() => HEAD,
        Kind::String => HEAD,
        Kind::Bytes => BYTES,
        Kind::Message(of) => size(&of, within) + 8,
        _ => NUMBER,
    };
    let mut sum = 0;
    for field in message.fields().filter(|field| field.containing_oneof().is_none()) {
        sum += of(field, within);
    }
    for oneof in message.oneofs() {
        let members: Vec<_> = oneof.fields().collect();
        sum += members.into_iter().map(|field| of(field, within)).max().unwrap_or(0) + 8;
    }
    within.pop();
    sum
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn cost(name: &str, bytes: &[u8]) -> usize {
        COSTS.decoded(COSTS.of(name).unwrap(), bytes, usize::MAX)
    }

    /// Sizes are those of the types, or more.
    #[test]
    fn no_message_is_larger_than_it_is_counted() {
        for (name, is) in [
            ("remit.intake.v1.Subject", size_of::<crate::intake::Subject>()),
            ("remit.intake.v1.Report", size_of::<crate::intake::Report>()),
            (
                "remit.intake.v1.SubmitReportRequest",
                size_of::<crate::intake::SubmitReportRequest>(),
            ),
            ("remit.routing.v1.RuleRow", size_of::<crate::routing::RuleRow>()),
            ("remit.routing.v1.Facts", size_of::<crate::routing::Facts>()),
            ("remit.routing.v1.Agency", size_of::<crate::routing::Agency>()),
            ("remit.event.v1.StateChange", size_of::<crate::event::StateChange>()),
        ] {
            let counted = cost(name, &[]);
            assert!(counted >= is && counted <= is * 4 + 64, "{name}: {is} {counted}");
        }
    }

    #[test]
    fn lists_of_empty_items_cost_what_they_take() {
        // A report whose subjects are two bytes each.
        let report: Vec<u8> = crate::intake::Report {
            subjects: vec![crate::intake::Subject::default(); 100_000],
            ..Default::default()
        }
        .encode_to_vec();
        assert_eq!(report.len(), 200_000);
        let takes = 100_000 * size_of::<crate::intake::Subject>();
        assert!(cost("remit.intake.v1.Report", &report) >= takes);
        // What is within other messages counts as well.
        let request = crate::intake::SubmitReportRequest {
            report: Some(crate::intake::Report::decode(report.as_slice()).unwrap()),
            ..Default::default()
        };
        assert!(cost("remit.intake.v1.SubmitReportRequest", &request.encode_to_vec()) >= takes);
    }

    #[test]
    fn an_ordinary_message_costs_little_more_than_its_bytes() {
        let report = crate::intake::Report {
            category: "telecom-fraud".to_owned(),
            narrative: "a".repeat(10_000),
            subjects: vec![
                crate::intake::Subject {
                    value: "+8613800138000".to_owned(),
                    ..Default::default()
                };
                20
            ],
            ..Default::default()
        };
        let counted = cost("remit.intake.v1.Report", &report.encode_to_vec());
        assert!((10_000..40_000).contains(&counted), "{counted}");
    }

    #[test]
    fn cut_and_foreign_bytes_are_counted_as_far_as_they_go() {
        let report = crate::intake::Report {
            subjects: vec![crate::intake::Subject::default(); 3],
            ..Default::default()
        };
        let bytes = report.encode_to_vec();
        for end in 0..bytes.len() {
            assert!(cost("remit.intake.v1.Report", &bytes[..end]) > 0);
        }
        for byte in 0..=255 {
            assert!(cost("remit.intake.v1.Report", &[byte; 4_000]) > 0);
        }
    }

    #[test]
    fn a_message_without_a_purse_has_a_bound_too() {
        let report = COSTS.of("remit.intake.v1.Report").unwrap();
        let empty = |subjects| crate::intake::Report {
            subjects: vec![crate::intake::Subject::default(); subjects],
            ..Default::default()
        };
        assert!(pay(report, &empty(100).encode_to_vec()).is_ok());
        assert!(pay(report, &empty(1_000_000).encode_to_vec()).is_err());
    }
}
