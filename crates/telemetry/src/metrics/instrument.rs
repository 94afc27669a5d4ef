//! Kinds of instruments, and how one is declared.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::metrics;

use super::{LabelInfo, Labels, meter};

/// What a crate says of an instrument.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name, as OpenTelemetry writes it.
    pub name: &'static str,
    /// Its unit in UCUM, such as `s`, `By` or `{event}`.
    pub unit: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [LabelInfo],
    /// Boundaries of a histogram's buckets.
    pub buckets: &'static [f64],
    #[doc(hidden)]
    pub about: &'static str,
}

impl Description {
    /// What it tells, in one sentence.
    #[must_use]
    pub fn description(&self) -> String {
        self.about.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Its name in Prometheus, without the `_bucket`, `_sum` and `_count` of a histogram's series.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let unit = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        format!("{}{unit}{total}", self.name.replace('.', "_"))
    }

    /// How many series it can have at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.labels.iter().map(LabelInfo::most).product()
    }
}

/// Kind of an instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often which sizes occurred.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// Kind and labels of a type of instrument.
pub trait Shape {
    /// Its kind.
    const KIND: Kind;
    /// Its labels.
    const LABELS: &'static [LabelInfo];
}

/// A type of instrument.
pub trait Instrument: Shape {
    /// Makes it.
    fn new(description: &Description) -> Self;
}

macro_rules! shapes {
    ($($type:ident: $kind:ident),*) => {
        $(impl<L: Labels> Shape for $type<L> {
            const KIND: Kind = Kind::$kind;
            const LABELS: &'static [LabelInfo] = L::INFO;
        }

        impl<L> fmt::Debug for $type<L> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($type))
            }
        })*
    };
}
shapes!(Counter: Counter, Histogram: Histogram, Level: Gauge, Total: Counter);

/// Counts what happens.
pub struct Counter<L> {
    counter: metrics::Counter<u64>,
    _labels: std::marker::PhantomData<fn(L)>,
}

impl<L: Labels> Counter<L> {
    /// Adds.
    pub fn add(&self, number: u64, labels: L) {
        self.counter.add(number, &labels.attributes());
    }
}

impl<L: Labels> Instrument for Counter<L> {
    fn new(description: &Description) -> Self {
        let builder = meter().u64_counter(description.name).with_unit(description.unit);
        Self {
            counter: builder.with_description(description.description()).build(),
            _labels: std::marker::PhantomData,
        }
    }
}

/// Counts sizes and durations by buckets.
pub struct Histogram<L> {
    histogram: metrics::Histogram<f64>,
    _labels: std::marker::PhantomData<fn(L)>,
}

impl<L: Labels> Histogram<L> {
    /// Adds one of this size.
    pub fn record(&self, size: f64, labels: L) {
        self.histogram.record(size, &labels.attributes());
    }

    /// Adds one of this duration, in seconds.
    pub fn took(&self, duration: Duration, labels: L) {
        self.record(duration.as_secs_f64(), labels);
    }
}

impl<L: Labels> Instrument for Histogram<L> {
    fn new(description: &Description) -> Self {
        let builder = meter().f64_histogram(description.name).with_unit(description.unit);
        Self {
            histogram: builder
                .with_description(description.description())
                .with_boundaries(description.buckets.to_vec())
                .build(),
            _labels: std::marker::PhantomData,
        }
    }
}

/// Where the number of a series comes from when it is read.
enum Source {
    /// It was this.
    Number(f64),
    /// An age in seconds that it had then; it grows.
    Age(f64, Instant),
    /// It is asked for; `None` once there is nothing to ask any more.
    Read(Box<dyn Fn() -> Option<f64> + Send + Sync>),
}

impl Source {
    fn read(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Age(age, then) => Some(age + then.elapsed().as_secs_f64()),
            Self::Read(read) => read(),
        }
    }
}

type Table<L> = Arc<Mutex<HashMap<L, Source>>>;

/// Reads a table's series, and drops those that ended.
fn read<L: Labels>(table: &Table<L>, mut tell: impl FnMut(f64, &[opentelemetry::KeyValue])) {
    let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
    table.retain(|labels, source| {
        let number = source.read();
        if let Some(number) = number {
            tell(number, &labels.attributes());
        }
        number.is_some()
    });
}

/// A number that goes up and down: the last one that was set, or one that is read when asked for.
pub struct Level<L> {
    table: Table<L>,
    _gauge: metrics::ObservableGauge<f64>,
}

impl<L: Labels> Level<L> {
    /// It is this from now on.
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are none of ours")]
    pub fn set(&self, number: u64, labels: L) {
        self.put(Source::Number(number as f64), labels);
    }

    /// It is an age, and this now; it grows until it is set again.
    pub fn age(&self, age: Duration, labels: L) {
        self.put(Source::Age(age.as_secs_f64(), Instant::now()), labels);
    }

    /// It is what `read` returns whenever it is asked for, which must be quick and wait for
    /// nothing. Once `read` returns `None`, the series ends.
    pub fn watch(&self, labels: L, read: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        self.put(Source::Read(Box::new(read)), labels);
    }

    /// There is no such series any more, for instance because another replica has the work now.
    pub fn forget(&self, labels: L) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&labels);
    }

    fn put(&self, source: Source, labels: L) {
        self.table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(labels, source);
    }
}

impl<L: Labels> Instrument for Level<L> {
    fn new(description: &Description) -> Self {
        let table = Table::<L>::default();
        let told = Arc::clone(&table);
        let builder = meter()
            .f64_observable_gauge(description.name)
            .with_unit(description.unit);
        let gauge = builder
            .with_description(description.description())
            .with_callback(move |observer| read(&told, |number, labels| observer.observe(number, labels)))
            .build();
        Self { table, _gauge: gauge }
    }
}

/// A number that only grows and is counted elsewhere: it is read when asked for.
pub struct Total<L> {
    table: Table<L>,
    _counter: metrics::ObservableCounter<f64>,
}

impl<L: Labels> Total<L> {
    /// See [`Level::watch`].
    pub fn watch(&self, labels: L, read: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.insert(labels, Source::Read(Box::new(read)));
    }
}

impl<L: Labels> Instrument for Total<L> {
    fn new(description: &Description) -> Self {
        let table = Table::<L>::default();
        let told = Arc::clone(&table);
        let builder = meter()
            .f64_observable_counter(description.name)
            .with_unit(description.unit);
        let counter = builder
            .with_description(description.description())
            .with_callback(move |observer| read(&told, |number, labels| observer.observe(number, labels)))
            .build();
        Self {
            table,
            _counter: counter,
        }
    }
}

#[doc(hidden)]
#[must_use]
pub const fn buckets(given: &[&'static [f64]]) -> &'static [f64] {
    match given {
        [buckets] => buckets,
        _ => &[],
    }
}

/// Declares the instruments of a crate, in one place: for each its description, its type with its
/// labels, and name, unit and, for a histogram, boundaries.
///
/// ```
/// use telemetry::metrics::{Counter, Histogram, SIZES, Service};
/// telemetry::instruments! {
///     /// What the kitchen measures.
///     pub struct Instruments {
///         /// Dishes on a tray.
///         tray: Histogram<(Service,)> = ("kitchen.tray", "{dish}", SIZES),
///         /// Dishes that fell.
///         fallen: Counter<()> = ("kitchen.fallen", "{dish}"),
///     }
/// }
/// Instruments::get().fallen.add(1, ());
/// assert_eq!(Instruments::ALL[1].prometheus_name(), "kitchen_fallen_total");
/// ```
#[macro_export]
macro_rules! instruments {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[doc = $about:literal])+ $field:ident: $type:ty = ($metric:expr, $unit:expr $(, $buckets:expr)?),)+
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis struct $name { $($(#[doc = $about])+ pub(crate) $field: $type,)+ }

        impl $name {
            /// All of them, as `docs/metrics.md` lists them.
            pub const ALL: &'static [$crate::metrics::Description] = &[$(
                $crate::metrics::Description {
                    name: $metric,
                    unit: $unit,
                    kind: <$type as $crate::metrics::Shape>::KIND,
                    labels: <$type as $crate::metrics::Shape>::LABELS,
                    buckets: $crate::metrics::buckets(&[$($buckets)?]),
                    about: concat!($($about),+),
                },
            )+];

            /// The process's instruments.
            $vis fn get() -> &'static Self {
                static MADE: std::sync::LazyLock<$name> = std::sync::LazyLock::new(|| {
                    let mut all = $name::ALL.iter().cycle();
                    let mut next = || all.next().unwrap_or(&$name::ALL[0]);
                    $name { $($field: $crate::metrics::Instrument::new(next())),+ }
                });
                &MADE
            }
        }
    };
}
