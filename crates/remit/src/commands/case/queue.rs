//! `remit case queue`: what a clerk leaves open. The screen and its keys are in `queue/screen.rs`;
//! here are the calls and the terminal.

mod screen;

use std::{
    io::{IsTerminal as _, Read as _},
    time::Duration,
};

use api::routing::{
    AcknowledgeCaseRequest, AssignCaseRequest, CountWorklistsRequest, GetCaseRequest, HandOverPreview,
    ListCasesRequest, TransferCaseRequest, Worklist, assign_case_request::Assignee,
    case_service_client::CaseServiceClient,
};
use journal::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::MissedTickBehavior,
};
use tonic::{Response, Status};

use self::screen::{Do, HandOn, Key, Screen};
use crate::{
    client::{Failed, Target},
    output::{self, tell, tr},
};

/// How often the screen is read anew by itself.
const REFRESH: Duration = Duration::from_secs(15);

/// Cases of a list that are read: more than a screen shows, and than a clerk scrolls through.
const READ: i32 = 200;

/// Shows the queue until it is left; where there is no terminal, prints it once.
/// `below` is whether it is of the agencies below, and of which of them.
pub(super) async fn run(
    routing: &Target,
    officer: Option<String>,
    (below, lead): (bool, String),
    json: bool,
) -> anyhow::Result<()> {
    let is_plain = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if json || is_plain || !std::io::stdin().is_terminal() || output::terminal_size().is_none() {
        return print(routing, below, lead, json).await;
    }
    let mut queue = Queue {
        routing,
        screen: Screen::of(officer, below),
        lead,
    };
    // Before the terminal is taken: what fails here is told like any other failure.
    queue.read().await?;
    queue.run().await
}

/// The queue, once, for pipes and the like.
async fn print(routing: &Target, below: bool, lead: String, json: bool) -> anyhow::Result<()> {
    if !json {
        let which = CountWorklistsRequest {
            below,
            lead: lead.clone(),
            ..CountWorklistsRequest::default()
        };
        super::worklists(routing, which, false).await?;
        output::line("")?;
    }
    let due = ListCasesRequest {
        worklist: Worklist::Due.into(),
        below,
        lead,
        ..ListCasesRequest::default()
    };
    super::list(routing, due, 100, json).await
}

struct Queue<'a> {
    routing: &'a Target,
    screen: Screen,
    /// Resource name of the agency below whose cases are shown; empty for all.
    lead: String,
}

impl Queue<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut keys = keyboard();
        let mut stop = Stop::new()?;
        let mut tick = tokio::time::interval(REFRESH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.reset();
        let mut terminal = Terminal::enter()?;
        loop {
            terminal.draw(&self.screen)?;
            let key = tokio::select! {
                key = keys.recv() => key,
                () = stop.asked() => None,
                _ = tick.tick() => {
                    tokio::select! {
                        () = self.refresh() => {}
                        () = stop.asked() => return Ok(()),
                    }
                    continue;
                }
            };
            // Without a keyboard there is nothing more to do.
            let Some(key) = key else { return Ok(()) };
            match self.screen.press(key) {
                Do::Draw => continue,
                Do::Quit => return Ok(()),
                Do::Open(name) => {
                    drop(terminal);
                    let opened = tokio::select! {
                        opened = self.open(name) => opened,
                        () = stop.asked() => return Ok(()),
                    };
                    terminal = Terminal::raw()?;
                    if let Err(error) = opened {
                        self.screen.fail(error.to_string());
                    } else {
                        tokio::select! {
                            _ = keys.recv() => {}
                            () = stop.asked() => return Ok(()),
                        }
                    }
                    terminal.on()?;
                    tokio::select! {
                        () = self.refresh() => {}
                        () = stop.asked() => return Ok(()),
                    }
                }
                call => {
                    self.screen.say(tr("one moment"));
                    terminal.draw(&self.screen)?;
                    self.screen.say("");
                    tokio::select! {
                        () = self.call(call) => {}
                        () = stop.asked() => return Ok(()),
                    }
                }
            }
            // What was typed meanwhile was meant for what was shown before.
            while let Ok(key) = keys.try_recv() {
                if key == Key::Interrupt {
                    return Ok(());
                }
            }
        }
    }

    /// What a key asks of the services.
    async fn call(&mut self, call: Do) {
        match call {
            Do::Reload => self.refresh().await,
            Do::Take { name, etag } => {
                let taken = self.take(name.clone(), etag).await;
                self.done(taken, tell("{0} taken over", &[&name])).await;
            }
            Do::Assign { name, etag, to_me } => {
                let word = match to_me {
                    true => tell("{0} is yours", &[&name]),
                    false => tell("{0} is back in the pool", &[&name]),
                };
                let assigned = self.assign(name, etag, to_me).await;
                self.done(assigned, word).await;
            }
            Do::Preview(hand_on) => match self.hand_on(hand_on.clone(), true).await {
                Ok(preview) => self.screen.ask_whether(hand_on, preview.unwrap_or_default()),
                Err(failed) => self.screen.fail(failed.to_string()),
            },
            Do::HandOn(hand_on) => {
                let word = tell("{0} handed on to {1}", &[&hand_on.name, &hand_on.to]);
                let handed = self.hand_on(hand_on, false).await;
                self.done(handed, word).await;
            }
            Do::Draw | Do::Quit | Do::Open(_) => {}
        }
    }

    fn client(&self) -> CaseServiceClient<rpc::client::Caller> {
        CaseServiceClient::new(self.routing.channel.clone())
    }

    fn answer<A>(&self, answer: Result<Response<A>, Status>) -> Result<A, Failed> {
        answer
            .map(Response::into_inner)
            .map_err(Failed::call(&self.routing.address))
    }

    /// Reads the counts and the list that is shown.
    async fn read(&mut self) -> Result<(), Failed> {
        let officer = self.screen.shown_of().to_owned();
        let counts = CountWorklistsRequest {
            officer: officer.clone(),
            below: self.screen.is_below(),
            lead: self.lead.clone(),
        };
        let counts = self.answer(self.client().count_worklists(counts).await)?;
        let request = ListCasesRequest {
            page_size: READ,
            officer,
            worklist: self.screen.worklist(),
            below: self.screen.is_below(),
            lead: self.lead.clone(),
            ..ListCasesRequest::default()
        };
        let page = self.answer(self.client().list_cases(request).await)?;
        let more = !page.next_page_token.is_empty();
        self.screen.load(counts.agency, counts.counts, page.cases, more);
        Ok(())
    }

    /// Reads anew. What was shown stays, if that fails, and it is said.
    async fn refresh(&mut self) {
        if let Err(failed) = self.read().await {
            self.screen.fail(tell("not refreshed: {0}", &[&failed]));
        }
    }

    /// Says how a change ended, and shows what it left.
    async fn done<T>(&mut self, outcome: Result<T, Failed>, word: String) {
        let refreshed = self.read().await;
        match (outcome, refreshed) {
            (Err(failed), _) => self.screen.fail(failed.to_string()),
            (Ok(_), Err(failed)) => self.screen.fail(tell("{0}; not refreshed: {1}", &[&word, &failed])),
            (Ok(_), Ok(())) => self.screen.say(word),
        }
    }

    /// Shows a case on the plain terminal, where it can be scrolled.
    async fn open(&self, name: String) -> anyhow::Result<()> {
        let answer = self.answer(self.client().get_case(GetCaseRequest { name }).await)?;
        super::print(self.routing, &answer.current_case.unwrap_or_default()).await?;
        output::line("")?;
        output::line(tr("any key: back to the queue"))?;
        Ok(())
    }

    async fn take(&self, name: String, etag: String) -> Result<(), Failed> {
        let request = AcknowledgeCaseRequest {
            name,
            etag,
            request_id: request_id(),
        };
        self.answer(self.client().acknowledge_case(request).await).map(drop)
    }

    async fn assign(&self, name: String, etag: String, to_me: bool) -> Result<(), Failed> {
        let assignee = match to_me {
            true => Assignee::ActingOfficer(true),
            false => Assignee::Pool(true),
        };
        let request = AssignCaseRequest {
            name,
            etag,
            request_id: request_id(),
            assignee: Some(assignee),
            ..AssignCaseRequest::default()
        };
        self.answer(self.client().assign_case(request).await).map(drop)
    }

    async fn hand_on(&self, hand_on: HandOn, validate_only: bool) -> Result<Option<HandOverPreview>, Failed> {
        let HandOn { name, etag, to, reason } = hand_on;
        let request = TransferCaseRequest {
            name,
            etag,
            agency: format!("agencies/{to}"),
            reason: reason.into(),
            validate_only,
            request_id: request_id(),
            ..TransferCaseRequest::default()
        };
        Ok(self.answer(self.client().transfer_case(request).await)?.preview)
    }
}

/// An id for one press of a key: the client may send its request again.
fn request_id() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// What ends the program from outside: the terminal is given back first.
struct Stop([Signal; 3]);

impl Stop {
    fn new() -> std::io::Result<Self> {
        let of = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let [first, second, third] = of.map(signal);
        Ok(Self([first?, second?, third?]))
    }

    async fn asked(&mut self) {
        let [first, second, third] = &mut self.0;
        tokio::select! {
            _ = first.recv() => {}
            _ = second.recv() => {}
            _ = third.recv() => {}
        }
    }
}

/// The terminal in raw mode. It is given back as it was.
struct Terminal {
    before: Termios,
    is_drawn: bool,
}

impl Terminal {
    /// In raw mode, and with a screen of its own.
    fn enter() -> anyhow::Result<Self> {
        let mut terminal = Self::raw()?;
        terminal.on()?;
        Ok(terminal)
    }

    /// In raw mode: each key arrives as it is pressed.
    fn raw() -> anyhow::Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        // Lines still begin at the left.
        raw.output_modes.insert(OutputModes::OPOST | OutputModes::ONLCR);
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
        Ok(Self {
            before,
            is_drawn: false,
        })
    }

    /// Takes a screen of its own: what was on the terminal is there again afterwards.
    fn on(&mut self) -> anyhow::Result<()> {
        self.is_drawn = true;
        output::own_screen(true)?;
        Ok(())
    }

    fn draw(&self, screen: &Screen) -> anyhow::Result<()> {
        let (width, height) = output::terminal_size().unwrap_or((80, 24));
        output::draw(&screen.draw(width, height, SystemClock.now()))?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.is_drawn {
            let _ = output::own_screen(false);
        }
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The keys as they are pressed, until standard input ends.
fn keyboard() -> mpsc::Receiver<Key> {
    let (pressed, keys) = mpsc::channel(64);
    // A thread: a read from a terminal cannot be given up. It ends with the process.
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        loop {
            let read = std::io::stdin().lock().read(&mut bytes).unwrap_or(0);
            let is_gone = keys_in(&bytes[..read])
                .into_iter()
                .any(|key| pressed.blocking_send(key).is_err());
            if read == 0 || is_gone {
                return;
            }
        }
    });
    keys
}

/// The keys that a terminal sent at once.
fn keys_in(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    while let Some(c) = rest.chars().next() {
        let begins = rest.strip_prefix("\x1b[").or_else(|| rest.strip_prefix("\x1bO"));
        if let Some(tail) = begins {
            // Parameters, and one letter at the end (ECMA-48).
            let end = tail
                .find(|c: char| !matches!(c, '0'..='?' | ' '..='/'))
                .unwrap_or(tail.len());
            let last = tail[end..].chars().next();
            keys.extend(match (end, last) {
                (0, Some('A')) => Some(Key::Up),
                (0, Some('B')) => Some(Key::Down),
                (0, Some('Z')) => Some(Key::BackTab),
                _ => None,
            });
            rest = &tail[end + last.map_or(0, char::len_utf8)..];
            continue;
        }
        keys.push(match c {
            '\r' | '\n' => Key::Enter,
            '\t' => Key::Tab,
            '\x1b' => Key::Escape,
            '\x7f' | '\x08' => Key::Backspace,
            // What interrupts or ends elsewhere.
            '\x03' | '\x04' => Key::Interrupt,
            c => Key::Char(c),
        });
        rest = &rest[c.len_utf8()..];
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_a_terminal_are_keys() {
        for (bytes, expected) in [
            ("q", vec![Key::Char('q')]),
            ("\x1b", vec![Key::Escape]),
            ("\x1b[A\x1b[B\x1bOA", vec![Key::Up, Key::Down, Key::Up]),
            ("\x1b[Z\t", vec![Key::BackTab, Key::Tab]),
            ("\r\x7f\x03", vec![Key::Enter, Key::Backspace, Key::Interrupt]),
            // What has no meaning here does nothing, and is not read as letters.
            ("\x1b[15~\x1b[1;5Aq", vec![Key::Char('q')]),
            ("\x1b[", vec![]),
            ("中", vec![Key::Char('中')]),
            ("", vec![]),
        ] {
            assert_eq!(keys_in(bytes.as_bytes()), expected, "{bytes:?}");
        }
        assert_eq!(keys_in(b"\xff"), [Key::Char('\u{fffd}')], "not UTF-8");
    }
}
