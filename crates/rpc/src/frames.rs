//! A guard against frames that carry nothing. A peer that sends PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE or unknown frames as fast as it can keeps a core busy; h2 answers them without end.
//!
//! It reads no more than the headers of frames. Calls and answers account for some: a reader opens
//! its window as bytes come, so each call and each kilobyte of answers earns a few.

use std::time::Duration;

use tokio::time::Instant;

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's header.
const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// Frames that a call accounts for: its window updates, its reset, a ping.
const BY_CALL: u32 = 16;
/// Frames that a frame of data accounts for.
const BY_DATA: u32 = 4;
/// Bytes of answers that account for one frame.
const BYTES: usize = 256;
/// How many seconds' worth may come at once.
const AT_ONCE: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// So many bytes of the frame's header have come.
    Header(usize),
    /// So many bytes of the frame are still to come.
    Payload(usize),
    /// It is HTTP/1, whose requests cost what they are.
    Other,
}

/// The frames that a peer has sent.
#[derive(Debug)]
pub(crate) struct Frames {
    state: State,
    header: [u8; HEADER],
    per_second: u32,
    left: u32,
    /// Bytes written that have not earned a frame yet.
    written: usize,
    since: Instant,
}

/// A peer has sent too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Frames {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            state: State::Preface(0),
            header: [0; HEADER],
            per_second,
            left: per_second.saturating_mul(AT_ONCE),
            written: 0,
            since: Instant::now(),
        }
    }

    /// Whether the peer has said what it speaks.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.state, State::Preface(_))
    }

    /// Bytes were written to the peer.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
        let earned = u32::try_from(self.written / BYTES).unwrap_or(u32::MAX);
        self.written %= BYTES;
        self.earn(earned);
    }

    fn earn(&mut self, frames: u32) {
        let most = self.per_second.saturating_mul(AT_ONCE);
        self.left = self.left.saturating_add(frames).min(most);
    }

    /// Bytes have come.
    ///
    /// # Errors
    /// When there were too many frames that carry nothing.
    pub(crate) fn came(&mut self, mut bytes: &[u8]) -> Result<(), TooMany> {
        let mut counted = Ok(());
        while let Some((&first, rest)) = bytes.split_first() {
            match self.state {
                State::Other => return counted,
                State::Preface(matched) => {
                    self.state = match PREFACE.get(matched) == Some(&first) {
                        true if matched + 1 == PREFACE.len() => State::Header(0),
                        true => State::Preface(matched + 1),
                        false => State::Other,
                    };
                    bytes = rest;
                }
                State::Header(have) => {
                    self.header[have] = first;
                    bytes = rest;
                    if have + 1 < HEADER {
                        self.state = State::Header(have + 1);
                        continue;
                    }
                    let [a, b, c, kind, ..] = self.header;
                    let length = u32::from_be_bytes([0, a, b, c]);
                    self.state = match length {
                        0 => State::Header(0),
                        _ => State::Payload(length as usize),
                    };
                    counted = counted.and(self.frame(kind, length));
                }
                State::Payload(left) => {
                    let skipped = left.min(bytes.len());
                    bytes = &bytes[skipped..];
                    self.state = match left - skipped {
                        0 => State::Header(0),
                        left => State::Payload(left),
                    };
                }
            }
        }
        counted
    }

    fn frame(&mut self, kind: u8, length: u32) -> Result<(), TooMany> {
        match (kind, length) {
            (HEADERS, _) => self.earn(BY_CALL),
            (DATA, 1..) => self.earn(BY_DATA),
            _ if self.left == 0 && !self.refill() => return Err(TooMany),
            _ => self.left -= 1,
        }
        Ok(())
    }

    /// Earns what time accounts for. Whether that is anything.
    fn refill(&mut self) -> bool {
        let now = Instant::now();
        let passed = now.duration_since(self.since).min(Duration::from_secs(AT_ONCE.into()));
        let earned = u128::from(self.per_second) * passed.as_millis() / 1_000;
        if earned == 0 {
            return false;
        }
        self.since = now;
        self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn open() -> Frames {
        let mut frames = Frames::new(100);
        assert!(!frames.has_begun());
        frames.came(PREFACE).unwrap();
        assert!(frames.has_begun());
        frames
    }

    /// How many of these frames pass, sent at once in pieces of `piece` bytes.
    fn passed(frames: &mut Frames, frame: &[u8], piece: usize) -> usize {
        (0..5_000)
            .take_while(|_| frame.chunks(piece).all(|part| frames.came(part).is_ok()))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_are_counted_however_they_are_cut() {
        let window_update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let priority = [0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
        let unknown = [0, 0, 1, 0xfa, 0, 0, 0, 0, 0, 9];
        let empty_data = [0, 0, 0, 0, 0, 0, 0, 0, 1];
        for frame in [&PING[..], &window_update, &settings, &priority, &unknown, &empty_data] {
            for piece in [1, 3, 9, 100] {
                assert_eq!(passed(&mut open(), frame, piece), 1_000, "{frame:?} {piece}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_calls_and_answers_account_for_some() {
        let mut frames = open();
        assert_eq!(passed(&mut frames, &PING, 17), 1_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(passed(&mut frames, &PING, 17), 100);
        // An hour is worth no more than what may come at once.
        tokio::time::advance(Duration::from_secs(3_600)).await;
        assert_eq!(passed(&mut frames, &PING, 17), 1_000);
        frames.came(&[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x82]).unwrap();
        assert_eq!(passed(&mut frames, &PING, 17), 16);
        frames.came(&[0, 0, 1, 0, 0, 0, 0, 0, 1, 7]).unwrap();
        assert_eq!(passed(&mut frames, &PING, 17), 4);
        for _ in 0..100 {
            frames.wrote(100);
        }
        assert_eq!(passed(&mut frames, &PING, 17), 39);
    }

    /// A reader that opens its window for each frame of a long download.
    #[tokio::test(start_paused = true)]
    async fn a_reader_may_open_its_window_for_ever() {
        let mut frames = open();
        for _ in 0..100_000 {
            frames.wrote(1 << 10);
            for _ in 0..2 {
                frames.came(&[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 4, 0]).unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn http_1_is_not_read_as_frames() {
        let mut frames = Frames::new(1);
        for _ in 0..10_000 {
            frames.came(b"GET /checkpoint HTTP/1.1\r\nhost: log\r\n\r\n").unwrap();
        }
        assert!(frames.has_begun());
    }
}
