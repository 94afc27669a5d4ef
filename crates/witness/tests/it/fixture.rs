//! A log that signs anything, and a witness on its own port.

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use journal::{ManualClock, SeededEntropy, Time};
use signed_note::{Note, StandardSigner};
use tlog_tiles::{Checkpoint, Error, Hash, HashReader, prove_tree, record_hash, stored_hashes, tree_hash};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use witness::{Book, CosignerKey, OpenError, Server, Submission};

pub const ORIGIN: &str = "remit.test/log";
pub const NOW: Time = Time(1_795_305_600_000_000);
pub const NAME: &str = "witness.test/w1";

/// All hashes of a tree, in storage order.
#[derive(Default)]
pub struct Tree {
    size: u64,
    hashes: Vec<Hash>,
}

impl HashReader for &Tree {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes
            .iter()
            .map(|index| self.hashes[usize::try_from(*index).unwrap()])
            .collect())
    }
}

impl Tree {
    /// A tree with `size` leaves. Trees of different logs differ from the first leaf.
    pub fn new(log: &str, size: u64) -> Self {
        let mut tree = Self::default();
        for n in 0..size {
            let new = stored_hashes(n, format!("{log} {n}").as_bytes(), &&tree).unwrap();
            tree.hashes.extend(new);
            tree.size = n + 1;
        }
        assert_eq!(tree.hashes.is_empty(), size == 0);
        assert!(size == 0 || tree.hashes[0] == record_hash(format!("{log} 0").as_bytes()));
        tree
    }

    pub fn root(&self) -> Hash {
        tree_hash(self.size, &self).unwrap()
    }

    pub fn proof(&self, old: u64) -> Vec<Hash> {
        match old {
            0 => Vec::new(),
            old if old >= self.size => Vec::new(),
            old => prove_tree(self.size, old, &self).unwrap(),
        }
    }
}

/// A log and its keys.
pub struct Log {
    pub vkey: String,
    signer: StandardSigner,
    origin: String,
}

impl Log {
    pub fn new(origin: &str, seed: u8) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let vkey = signed_note::new_ed25519_verifier_key(origin, &key.verifying_key());
        let id = vkey.split('+').nth(1).unwrap();
        let secret = data_encoding::BASE64.encode(&[&[1][..], &[seed; 32]].concat());
        Self {
            signer: StandardSigner::new(&format!("PRIVATE+KEY+{origin}+{id}+{secret}")).unwrap(),
            origin: origin.to_owned(),
            vkey,
        }
    }

    pub fn sign(&self, size: u64, root: Hash) -> String {
        let text = Checkpoint::new(&self.origin, size, root, "").unwrap().to_bytes();
        let mut note = Note::new(&text, &[]).unwrap();
        note.add_sigs(&[&self.signer]).unwrap();
        String::from_utf8(note.to_bytes()).unwrap()
    }

    pub fn submission(&self, old: u64, tree: &Tree) -> Submission {
        Submission {
            old,
            proof: tree.proof(old),
            checkpoint: self.sign(tree.size, tree.root()),
        }
    }
}

pub async fn open(folder: &Path, name: &str, vkeys: &[&str]) -> Result<Book, OpenError> {
    let vkeys: Vec<String> = vkeys.iter().map(|vkey| (*vkey).to_owned()).collect();
    let clock = Arc::new(ManualClock::at(NOW));
    Book::open(folder, name, &vkeys, clock, &SeededEntropy::new(3)).await
}

pub struct Served {
    pub vkey: String,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Served {
    pub async fn start(folder: &Path, vkeys: &[&str]) -> Self {
        let book = open(folder, NAME, vkeys).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown, vkey) = (listener.local_addr().unwrap(), CancellationToken::new(), book.vkey());
        let serving = Server::new(book).serve(listener, shutdown.clone());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self {
            vkey,
            address,
            shutdown,
            serving,
        }
    }

    /// Written by hand: none of our code is between the bytes and the test.
    pub async fn send(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses a body early may close the connection before it is written.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    pub async fn add(&self, submission: &Submission) -> Answer {
        self.send("POST", "/add-checkpoint", submission.encode().as_bytes())
            .await
    }

    /// Whether a response is this witness's cosignature on the submitted checkpoint.
    pub fn cosigned(&self, submission: &Submission, answer: &Answer) -> bool {
        let note = format!("{}{}", submission.checkpoint, answer.body);
        let note = Note::from_bytes(note.as_bytes()).unwrap();
        let found = CosignerKey::parse(&self.vkey).unwrap().find(&note).unwrap();
        answer.status == 200 && found.is_some_and(|found| found.time == 1_795_305_600)
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures what this thread logs, until the guard is dropped.
pub fn capture() -> (impl Fn() -> String, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let logged = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone()).finish();
    let text = move || String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    (text, tracing::subscriber::set_default(subscriber))
}
