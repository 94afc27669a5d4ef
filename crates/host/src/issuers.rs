//! Issuers of signed tokens: their keys, fetched and kept, and the clients that they may speak for.
//!
//! Keys are fetched at the start, every few minutes, and once more when a token names one that is
//! not known, however many such tokens come. An issuer that does not answer changes nothing until
//! the life of its keys has passed: then its tokens are refused. Long before, it alarms.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::Uri;
use http_body_util::Full;
use https::{Client, Trust};
use journal::Clock;
use rpc::{
    Identity, Officer, Proof, Roles,
    jwt::{self, Expected, Keys, Said},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

use crate::input;

/// Interval between fetches of an issuer's keys.
pub const REFRESH: Duration = Duration::from_secs(300);
/// Interval after a fetch that failed.
const RETRY: Duration = Duration::from_secs(30);
/// Shortest interval between fetches for the sake of keys that are not known.
pub const PAUSE: Duration = Duration::from_secs(10);
/// How long keys are believed that cannot be fetched again.
pub const LIFE: Duration = Duration::from_secs(3_600);
/// Time in which an issuer answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest set of keys, in bytes.
const LARGEST: usize = 256 << 10;
/// Largest file of authorities, in bytes.
const LARGEST_CA_FILE: u64 = 1 << 20;
/// Calls that wait for keys at once; others are answered by those that are known.
const WAITING: usize = 64;
/// Tokens that were checked and are remembered.
const REMEMBERED: usize = 4_096;

/// An issuer, and what its tokens stand for.
#[derive(Debug)]
pub(crate) struct Issuer {
    expected: Expected,
    clients: HashMap<String, Identity>,
    /// What the values of the roles' claim stand for.
    claimed: HashMap<String, Roles>,
    keys: Arc<IssuersKeys>,
    /// What was checked, by the token's digest, and by which keys.
    checked: Mutex<HashMap<[u8; 32], (Said, u64)>>,
}

impl Issuer {
    pub(crate) fn new(
        expected: Expected,
        clients: HashMap<String, Identity>,
        claimed: HashMap<String, Roles>,
        keys: Arc<IssuersKeys>,
    ) -> Self {
        Self {
            expected,
            clients,
            claimed,
            keys,
            checked: Mutex::default(),
        }
    }

    pub(crate) fn keys(&self) -> &Arc<IssuersKeys> {
        &self.keys
    }

    /// The caller that a token stands for now.
    pub(crate) fn caller(&self, token: &str, now: i64) -> Option<Identity> {
        let said = self.said(token, now)?;
        let known = self.clients.get(&said.client)?;
        let officer = said.officer.as_deref().map(Officer::new).transpose().ok()?;
        // At most what the client may; what a value of another system stands for, nobody asks.
        let roles = said.roles.map_or(known.roles, |values| {
            let claimed = values.iter().filter_map(|value| self.claimed.get(value));
            claimed
                .fold(Roles::default(), |all, one| all.with(*one))
                .within(known.roles)
        });
        Some(Identity {
            officer,
            roles,
            proof: Proof::Signed { until: said.until },
            ..known.clone()
        })
    }

    /// Whether nobody can say what a token with a key of this name is: there are no keys that are
    /// still believed, or it may be one that the issuer has by now and that cannot be fetched.
    pub(crate) fn is_undecided(&self, key: &str) -> bool {
        match self.keys.now() {
            None => true,
            Some((keys, _)) => !keys.has(key) && self.keys.trouble().is_some(),
        }
    }

    fn said(&self, token: &str, now: i64) -> Option<Said> {
        // Without keys, nobody is believed, whatever was checked before.
        let (keys, version) = self.keys.now()?;
        let name = jwt::digest(token);
        let known = self.checked().get(&name).filter(|(_, by)| *by == version).cloned();
        let said = match known {
            Some((said, _)) => said,
            None => {
                let said = match jwt::verify(token, &self.expected, &keys, now) {
                    Ok(said) => said,
                    Err(why) => {
                        tracing::debug!(issuer = self.expected.issuer, %why, "refused a token");
                        return None;
                    }
                };
                let mut checked = self.checked();
                if checked.len() >= REMEMBERED {
                    checked.clear();
                }
                checked.insert(name, (said.clone(), version));
                said
            }
        };
        (said.from..said.until).contains(&now).then_some(said)
    }

    fn checked(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], (Said, u64)>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of an issuer, fetched as long as this is used.
#[derive(Debug)]
pub(crate) struct IssuersKeys {
    address: Uri,
    believed: Mutex<Believed>,
    fetched: RwLock<Option<Fetched>>,
    trouble: RwLock<Option<String>>,
    wanted: Arc<Notify>,
    /// The end of the last fetch, and how many there were.
    ended: watch::Sender<(Option<Instant>, u64)>,
    waiting: Semaphore,
    since: Instant,
}

/// Whom the issuer's address is believed by.
#[derive(Debug)]
struct Believed {
    /// Beside the machine's authorities, and what the file said last.
    ca_file: Option<(PathBuf, Vec<u8>)>,
    client: Client,
}

impl Believed {
    fn read(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let said = ca_file.map(|path| Ok((path.to_owned(), input::read(path, LARGEST_CA_FILE)?)));
        let said: Option<anyhow::Result<_>> = said;
        Ok(Self {
            ca_file: said.transpose().context("`ca_file`")?,
            client: Client::new(Trust::load(ca_file, "`ca_file`")?, PATIENCE),
        })
    }
}

#[derive(Clone, Debug)]
struct Fetched {
    keys: Arc<Keys>,
    version: u64,
    at: Instant,
}

impl IssuersKeys {
    /// Of an address, which is https, or http on this machine.
    /// `before` are the keys that this issuer had until now.
    pub(crate) fn follow(address: &str, ca_file: Option<&Path>, before: Option<&Self>) -> anyhow::Result<Arc<Self>> {
        let uri: Uri = address.parse().with_context(|| format!("`{address}` is no address"))?;
        let is_here = uri
            .host()
            .is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host));
        match uri.scheme_str() {
            Some("https") if uri.host().is_some() => {}
            Some("http") if is_here => {}
            _ => {
                bail!("`{address}` must be one of https://, or of this machine: whoever changes the keys is everybody")
            }
        }
        let keys = Self::silent(uri, ca_file)?;
        if let Some(before) = before {
            let fetched = before.fetched.read().unwrap_or_else(PoisonError::into_inner).clone();
            *keys.fetched.write().unwrap_or_else(PoisonError::into_inner) = fetched;
        }
        tokio::spawn(fetch(Arc::downgrade(&keys)));
        Ok(keys)
    }

    /// Keys that nobody has fetched, and that nobody does.
    fn silent(uri: Uri, ca_file: Option<&Path>) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            address: uri,
            believed: Mutex::new(Believed::read(ca_file)?),
            fetched: RwLock::default(),
            trouble: RwLock::default(),
            wanted: Arc::default(),
            ended: watch::channel((None, 0)).0,
            waiting: Semaphore::new(WAITING),
            since: Instant::now(),
        }))
    }

    /// Whether the keys are fetched from this address, believed by this file.
    pub(crate) fn is_of(&self, address: &str, ca_file: Option<&Path>) -> bool {
        let believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        let own = believed.ca_file.as_ref().map(|(path, _)| path.as_path());
        self.address == address && own == ca_file
    }

    /// Whether the keys are fetched from this address.
    pub(crate) fn is_at(&self, address: &str) -> bool {
        self.address == address
    }

    /// The client to ask with, by what the file of authorities says now.
    fn client(&self) -> anyhow::Result<Client> {
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((path, said)) = &believed.ca_file
            && input::read(path, LARGEST_CA_FILE).context("`ca_file`")? != *said
        {
            let path = path.clone();
            *believed = Believed::read(Some(&path))?;
            tracing::info!(file = %path.display(), "took new authorities of an issuer");
        }
        Ok(believed.client.clone())
    }

    /// The keys that are believed now, and their version.
    fn now(&self) -> Option<(Arc<Keys>, u64)> {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        let fetched = fetched.as_ref().filter(|fetched| fetched.at.elapsed() < LIFE)?;
        Some((Arc::clone(&fetched.keys), fetched.version))
    }

    /// Since when there are no newer keys.
    pub(crate) fn age(&self) -> Duration {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        fetched.as_ref().map_or(self.since, |fetched| fetched.at).elapsed()
    }

    /// Why the keys are not new, when they are not.
    pub(crate) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let refused = self.now().is_none();
        let so = if refused {
            "its tokens are refused"
        } else {
            "the last ones are believed for an hour"
        };
        Some(format!(
            "the keys at {} cannot be fetched, and {so}: {trouble}",
            self.address
        ))
    }

    /// Waits for the key that a token names, when it is not known and may be new.
    pub(crate) fn await_key(self: &Arc<Self>, name: &str) -> Option<BoxFuture<'static, ()>> {
        if self.now().is_some_and(|(keys, _)| keys.has(name)) {
            return None;
        }
        let mut ended = self.ended.subscribe();
        let (last, _) = *ended.borrow_and_update();
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            return None;
        }
        let this = Arc::clone(self);
        self.wanted.notify_one();
        Some(
            async move {
                let Ok(_place) = this.waiting.try_acquire() else { return };
                let _ = tokio::time::timeout(2 * PATIENCE, ended.changed()).await;
            }
            .boxed(),
        )
    }

    async fn ask(&self) -> Result<Keys, String> {
        let request = http::Request::get(self.address.clone()).header(http::header::ACCEPT, "application/json");
        let request = request
            .body(Full::new(Bytes::new()))
            .map_err(|error| error.to_string())?;
        let client = self.client().map_err(|error| format!("{error:#}"))?;
        let answer = tokio::time::timeout(PATIENCE, client.send(request, LARGEST)).await;
        let answer = answer.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
        let answer = answer.map_err(|error| error.line())?;
        match answer.status() {
            http::StatusCode::OK => Keys::parse(answer.body()),
            status => Err(format!("the answer is {status}")),
        }
    }

    fn take(&self, asked: Result<Keys, String>) {
        match asked {
            Ok(keys) => {
                let mut fetched = self.fetched.write().unwrap_or_else(PoisonError::into_inner);
                let version = match &*fetched {
                    Some(before) if *before.keys == keys => before.version,
                    Some(before) => before.version + 1,
                    None => 0,
                };
                *fetched = Some(Fetched {
                    keys: Arc::new(keys),
                    version,
                    at: Instant::now(),
                });
                drop(fetched);
                if self
                    .trouble
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take()
                    .is_some()
                {
                    tracing::info!(address = %self.address, "an issuer's keys can be fetched again");
                }
            }
            Err(error) => {
                let mut trouble = self.trouble.write().unwrap_or_else(PoisonError::into_inner);
                if trouble.as_ref() != Some(&error) {
                    tracing::error!(address = %self.address, error, "an issuer's keys cannot be fetched");
                }
                *trouble = Some(error);
            }
        }
        self.ended.send_modify(|(last, count)| {
            *last = Some(Instant::now());
            *count += 1;
        });
    }
}

async fn fetch(keys: Weak<IssuersKeys>) {
    loop {
        let Some(now) = keys.upgrade() else { return };
        let asked = now.ask().await;
        let pause = if asked.is_ok() { REFRESH } else { RETRY };
        now.take(asked);
        let wanted = Arc::clone(&now.wanted);
        drop(now);
        // Not before its pause, whoever wants what.
        let until = Instant::now() + pause;
        let wanted = async {
            tokio::time::sleep(PAUSE).await;
            wanted.notified().await;
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = wanted => {}
        }
    }
}

/// The time in seconds since 1970.
pub(crate) fn seconds(clock: &dyn Clock) -> i64 {
    clock.now().0.div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use testkit::jwt::Signer;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn set(keys: &[Value]) -> Keys {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    fn token(signer: &Signer, key: &str, until: i64) -> String {
        let header = json!({ "alg": "ES256", "kid": key, "typ": "at+jwt" });
        let claims =
            json!({ "iss": "https://id.example", "aud": "remit", "nbf": NOW - 10, "exp": until, "client_id": "desk" });
        signer.sign(&header, &claims).unwrap()
    }

    fn silent() -> Arc<IssuersKeys> {
        IssuersKeys::silent("http://127.0.0.1:9/keys".parse().unwrap(), None).unwrap()
    }

    fn issuer(keys: &Arc<IssuersKeys>) -> Issuer {
        let expected = Expected {
            issuer: "https://id.example".to_owned(),
            audience: "remit".to_owned(),
            algorithms: vec![jwt::Algorithm::ES256],
            kind: "at+jwt".to_owned(),
            skew: 0,
            client_claim: "client_id".to_owned(),
            officer_claim: None,
            roles_claim: Vec::new(),
        };
        let desk = Identity {
            system: "desk".to_owned(),
            agency: None,
            roles: Roles::PARTNER,
            officer: None,
            officer_key: rpc::OfficerKey::default(),
            proof: Proof::Signed { until: 0 },
        };
        let clients = HashMap::from([("desk".to_owned(), desk)]);
        Issuer::new(expected, clients, HashMap::new(), Arc::clone(keys))
    }

    /// The shipped life, in paused time.
    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_is_gone_is_believed_for_the_life_of_its_keys_and_then_nobody_is() {
        let (signer, keys) = (Signer::new().unwrap(), silent());
        let issuer = issuer(&keys);
        let token = token(&signer, "a", NOW + 1_000_000);
        assert_eq!(issuer.caller(&token, NOW), None, "no keys yet");
        keys.take(Ok(set(&[signer.written("a")])));
        let caller = issuer.caller(&token, NOW).unwrap();
        assert_eq!(
            (caller.system.as_str(), caller.proof),
            ("desk", Proof::Signed { until: NOW + 1_000_000 })
        );
        assert_eq!(keys.trouble(), None);
        keys.take(Err("nothing listens".to_owned()));
        assert!(keys.trouble().unwrap().contains("believed for an hour"));
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(issuer.caller(&token, NOW).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        // Also one that was checked before.
        assert_eq!(issuer.caller(&token, NOW), None);
        assert!(keys.trouble().unwrap().contains("its tokens are refused"));
        assert!(keys.age() >= LIFE);
        keys.take(Ok(set(&[signer.written("a")])));
        assert!(issuer.caller(&token, NOW).is_some() && keys.trouble().is_none());
    }

    /// Of whom nobody can say whether they are believed, it is not said that they are not.
    #[tokio::test(start_paused = true)]
    async fn while_keys_cannot_be_had_a_token_is_undecided_and_not_refused_for_good() {
        let (signer, keys) = (Signer::new().unwrap(), silent());
        let issuer = issuer(&keys);
        assert!(issuer.is_undecided("a"), "no keys yet");
        keys.take(Ok(set(&[signer.written("a")])));
        assert!(!issuer.is_undecided("a") && !issuer.is_undecided("b"), "all are known");
        keys.take(Err("nothing listens".to_owned()));
        assert!(!issuer.is_undecided("a") && issuer.is_undecided("b"), "`b` may be new");
        tokio::time::advance(LIFE).await;
        assert!(issuer.is_undecided("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_checked_token_ends_with_its_time_and_with_its_key() {
        let (signer, keys) = (Signer::new().unwrap(), silent());
        keys.take(Ok(set(&[signer.written("a")])));
        let issuer = issuer(&keys);
        let token = token(&signer, "a", NOW + 10);
        for (now, is_believed) in [
            (NOW, true),
            (NOW + 9, true),
            (NOW + 10, false),
            (NOW - 11, false),
            (NOW, true),
        ] {
            assert_eq!(issuer.caller(&token, now).is_some(), is_believed, "{now}");
        }
        let other = Signer::new().unwrap();
        keys.take(Ok(set(&[other.written("b")])));
        assert_eq!(issuer.caller(&token, NOW), None, "its key was withdrawn");
        // The same name, another key.
        keys.take(Ok(set(&[other.written("a")])));
        assert_eq!(issuer.caller(&token, NOW), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_waited_for_once_and_not_again_for_a_while() {
        let (signer, keys) = (Signer::new().unwrap(), silent());
        keys.take(Ok(set(&[signer.written("a")])));
        assert!(keys.await_key("a").is_none(), "it is known");
        assert!(keys.await_key("b").is_none(), "they were fetched just now");
        tokio::time::advance(PAUSE).await;
        let waiting = keys.await_key("b").expect("it may be new");
        let other = Signer::new().unwrap();
        let rotated = async {
            keys.wanted.notified().await;
            keys.take(Ok(set(&[signer.written("a"), other.written("b")])));
        };
        tokio::join!(waiting, rotated);
        assert!(issuer(&keys).caller(&token(&other, "b", NOW + 10), NOW).is_some());
        for _ in 0..1_000 {
            assert!(keys.await_key("c").is_none());
        }
        // An answer that does not come keeps nobody for ever, and many do not wait.
        tokio::time::advance(PAUSE).await;
        let waiting: Vec<_> = (0..200).filter_map(|_| keys.await_key("c")).collect();
        let begun = Instant::now();
        futures::future::join_all(waiting).await;
        assert!(begun.elapsed() <= 2 * PATIENCE);
    }

    /// An address that gives each caller this answer, or none.
    async fn answering(answer: Option<Vec<u8>>) -> Arc<IssuersKeys> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 2_048];
                let _ = stream.read(&mut request).await;
                if let Some(answer) = &answer {
                    let _ = stream.write_all(answer).await;
                }
                kept.push(stream);
            }
        });
        IssuersKeys::silent(address.parse().unwrap(), None).unwrap()
    }

    fn http(status: &str, body: &str) -> Option<Vec<u8>> {
        let length = body.len();
        Some(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes())
    }

    #[tokio::test]
    async fn answers_that_are_no_keys_are_told_by_what_they_are() {
        let good = json!({ "keys": [Signer::new().unwrap().written("a")] }).to_string();
        answering(http("200 OK", &good)).await.ask().await.unwrap();
        let huge = format!("{{\"keys\": [], \"more\": \"{}\"}}", "a".repeat(LARGEST));
        for (answer, expected) in [
            (http("503 Service Unavailable", &good), "503"),
            (http("302 Found", &good), "302"),
            (http("200 OK", "<html>"), "no set of keys"),
            (http("200 OK", &huge), "truncated or too large"),
            (Some(b"nonsense\r\n\r\n".to_vec()), ""),
        ] {
            let error = answering(answer).await.ask().await.unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let nobody = silent().ask().await.unwrap_err();
        assert!(nobody.contains("nothing listens"), "{nobody}");
    }

    /// Its authority is replaced, in the file that is named and by another file; the keys stay.
    #[tokio::test]
    async fn new_authorities_of_an_issuer_are_taken_and_its_keys_stay() {
        let (old, new) = (
            testkit::tls::Issuer::new().unwrap(),
            testkit::tls::Issuer::new().unwrap(),
        );
        let body = json!({ "keys": [Signer::new().unwrap().written("a")] }).to_string();
        let behind = answering(http("200 OK", &body))
            .await
            .address
            .authority()
            .unwrap()
            .as_str()
            .parse()
            .unwrap();
        let front = testkit::tls::Front::start(behind, &new, &["localhost"], 2020..2090)
            .await
            .unwrap();
        let address = format!("https://localhost:{}/keys", front.address.port());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, old.pem()).unwrap();
        let keys = IssuersKeys::silent(address.parse().unwrap(), Some(&file)).unwrap();
        keys.take(Ok(set(&[Signer::new().unwrap().written("b")])));
        keys.ask().await.unwrap_err();
        assert!(keys.now().is_some());
        std::fs::write(&file, new.pem()).unwrap();
        assert!(keys.ask().await.unwrap().has("a"));
        std::fs::write(&file, "cut").unwrap();
        let error = keys.ask().await.unwrap_err();
        assert!(error.contains("ca.pem"), "{error}");

        let other = folder.path().join("other.pem");
        std::fs::write(&other, new.pem()).unwrap();
        assert!(keys.is_of(&address, Some(&file)) && !keys.is_of(&address, Some(&other)));
        let next = IssuersKeys::follow(&address, Some(&other), Some(&keys)).unwrap();
        assert!(next.now().is_some_and(|(keys, _)| keys.has("b")));
    }

    /// In paused time, which goes on when nothing else does.
    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_does_not_answer_is_not_waited_for() {
        let error = answering(None).await.ask().await.unwrap_err();
        assert!(error.contains("no answer within 5s"), "{error}");
    }

    #[tokio::test]
    async fn keys_come_over_tls_or_from_this_machine() {
        for (address, is_taken) in [
            ("https://id.example/keys", true),
            ("http://localhost:8080/keys", true),
            ("http://id.example/keys", false),
            ("http://127.0.0.1.id.example/keys", false),
            ("file:///etc/keys", false),
            ("/keys", false),
        ] {
            assert_eq!(IssuersKeys::follow(address, None, None).is_ok(), is_taken, "{address}");
        }
    }
}
