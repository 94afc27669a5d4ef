//! What the process measures of itself: Tokio's workers, memory, processor time, descriptors.
//!
//! Tokio counts these anyway, so there is no crate for it, and nothing to switch on.

use std::sync::Once;

use tokio::runtime::Handle;

use super::{Level, Total};

crate::instruments! {
    /// The process's own instruments.
    pub struct Instruments {
        /// Threads of the runtime that run tasks.
        workers: Level<()> = ("remit.runtime.workers", "{thread}"),
        /// Tasks of the runtime that have not ended.
        tasks: Level<()> = ("remit.runtime.tasks", "{task}"),
        /// Tasks that are ready and wait for a worker in the common queue.
        queue: Level<()> = ("remit.runtime.queue", "{task}"),
        /// Time that the workers spent running tasks, all together. Its rate, by the number of workers, is the
        /// share of their time that is taken.
        busy: Total<()> = ("remit.runtime.busy", "s"),
        /// Memory of the process that is in RAM.
        memory: Level<()> = ("process.memory.usage", "By"),
        /// Processor time of the process, of user and system.
        processor: Total<()> = ("process.cpu.time", "s"),
        /// Files, sockets and pipes that the process holds open.
        descriptors: Level<()> = ("process.open_file_descriptor.count", "{file_descriptor}"),
    }
}

/// Clock ticks per second in `/proc`: 100 on every Linux that we build for (`USER_HZ`).
const TICKS: f64 = 100.0;

impl Instruments {
    /// Begins to read the runtime that this is called in, and the process. Does nothing outside a
    /// runtime, and the second time.
    pub(crate) fn watch() {
        static WATCHED: Once = Once::new();
        let Ok(runtime) = Handle::try_current() else { return };
        WATCHED.call_once(|| {
            let of_runtime = |read: fn(&tokio::runtime::RuntimeMetrics) -> f64| {
                let runtime = runtime.clone();
                move || Some(read(&runtime.metrics()))
            };
            let this = Self::get();
            this.workers
                .watch((), of_runtime(|runtime| number(runtime.num_workers())));
            this.tasks
                .watch((), of_runtime(|runtime| number(runtime.num_alive_tasks())));
            this.queue
                .watch((), of_runtime(|runtime| number(runtime.global_queue_depth())));
            this.busy.watch(
                (),
                of_runtime(|runtime| {
                    let workers = 0..runtime.num_workers();
                    workers
                        .map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64())
                        .sum()
                }),
            );
            this.memory
                .watch((), || status("VmRSS:").map(|kilobytes| kilobytes * 1_024.0));
            this.processor.watch((), processor_time);
            this.descriptors
                .watch((), || Some(number(std::fs::read_dir("/proc/self/fd").ok()?.count())));
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are none of ours")]
fn number(number: usize) -> f64 {
    number as f64
}

/// A number of `/proc/self/status`.
fn status(key: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields `utime` and `stime` of `/proc/self/stat`, the 12th and 13th after the name, which may
/// contain anything.
fn processor_time() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / TICKS)
}
