//! Labels. A label is a type, and its values are a closed set.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{PoisonError, RwLock},
};

use opentelemetry::KeyValue;

use crate::conventions::OTHER;

/// A label of metrics.
pub trait Label: Copy + Eq + Hash + Send + Sync + 'static {
    /// Its key and what values it can have.
    const INFO: LabelInfo;

    /// The value. Empty: this series does without the label.
    fn value(self) -> &'static str;
}

/// A label's key and what values it can have.
#[derive(Clone, Copy, Debug)]
pub struct LabelInfo {
    /// Its key.
    pub key: &'static str,
    /// Its values.
    pub values: Values,
}

/// What values a label can have.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// These, known when the program is built.
    Of(fn() -> Vec<&'static str>),
    /// At most so many, known when a service starts, besides `_OTHER`; and what they are.
    AtMost(usize, &'static str),
}

impl LabelInfo {
    /// How many values it can have at most, "left out" included.
    #[must_use]
    pub fn most(&self) -> usize {
        match self.values {
            Values::Of(values) => values().len() + 1,
            Values::AtMost(most, _) => most + 2,
        }
    }
}

/// The labels of one measurement: a tuple of [`Label`]s.
pub trait Labels: Copy + Eq + Hash + Send + Sync + 'static {
    /// Its labels.
    const INFO: &'static [LabelInfo];

    /// As OpenTelemetry takes them.
    #[doc(hidden)]
    fn attributes(self) -> Vec<KeyValue>;
}

macro_rules! labels {
    ($($label:ident)*) => {
        impl<$($label: Label),*> Labels for ($($label,)*) {
            const INFO: &'static [LabelInfo] = &[$($label::INFO),*];

            #[allow(
                non_snake_case,
                clippy::allow_attributes,
                reason = "each part is named by its type parameter; a tuple of none has no part to name"
            )]
            fn attributes(self) -> Vec<KeyValue> {
                let ($($label,)*) = self;
                let values: &[&'static str] = &[$($label.value()),*];
                let labels = Self::INFO.iter().zip(values.iter().copied());
                let is_set = |(_, value): &(&LabelInfo, &str)| !value.is_empty();
                labels.filter(is_set).map(|(label, value)| KeyValue::new(label.key, value)).collect()
            }
        }
    };
}
labels!();
labels!(A);
labels!(A B);
labels!(A B C);
labels!(A B C D);
labels!(A B C D E);

/// Declares a label whose values are the variants of an enumeration.
///
/// ```
/// telemetry::label! {
///     /// How a delivery ended.
///     pub enum Ended("remit.outcome") {
///         /// Taken.
///         Taken = "taken",
///         /// Refused.
///         Refused = "refused",
///     }
/// }
/// use telemetry::metrics::Label;
/// assert_eq!(Ended::Taken.value(), "taken");
/// ```
#[macro_export]
macro_rules! label {
    ($(#[$meta:meta])* $vis:vis enum $name:ident($key:expr) {
        $($(#[$about:meta])* $variant:ident = $value:expr,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$about])* $variant,)+ }

        impl $crate::metrics::Label for $name {
            const INFO: $crate::metrics::LabelInfo = $crate::metrics::LabelInfo {
                key: $key,
                values: $crate::metrics::Values::Of(|| vec![$($value),+]),
            };

            fn value(self) -> &'static str {
                match self { $(Self::$variant => $value),+ }
            }
        }
    };
}

/// Names of the services.
pub const SERVICES: [&str; 3] = ["intake", "routing", "audit"];

/// The label [`SERVICE`](crate::SERVICE): which service measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service(&'static str);

impl Service {
    /// By its name, one of [`SERVICES`].
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(SERVICES.into_iter().find(|known| *known == name).unwrap_or(OTHER))
    }
}

impl Label for Service {
    const INFO: LabelInfo = LabelInfo {
        key: crate::SERVICE,
        values: Values::Of(|| SERVICES.into_iter().chain([OTHER]).collect()),
    };

    fn value(self) -> &'static str {
        self.0
    }
}

/// Values of a label that are known only when a service has read its reference data, such as the
/// categories. They are never those of a request: what was not learnt is `_OTHER`.
#[derive(Debug)]
pub struct Known {
    most: usize,
    words: RwLock<Option<HashSet<&'static str>>>,
}

impl Known {
    /// At most so many.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self {
            most,
            words: RwLock::new(None),
        }
    }

    /// Adds values, as long as there is room. They stay for the life of the process, which is why
    /// there is a bound.
    pub fn learn<'a>(&self, words: impl IntoIterator<Item = &'a str>) {
        let mut known = self.words.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        for word in words {
            if known.len() < self.most && !known.contains(word) {
                known.insert(Box::leak(word.to_owned().into_boxed_str()));
            }
        }
    }

    /// The value for a word: itself if it was learnt, else `_OTHER`.
    #[must_use]
    pub fn get(&self, word: &str) -> &'static str {
        let known = self.words.read().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .and_then(|known| known.get(word))
            .copied()
            .unwrap_or(OTHER)
    }
}
