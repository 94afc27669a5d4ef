//! The log's client for C2SP `tlog-witness`: asks witnesses to cosign a checkpoint, and for their
//! last one.
//!
//! Asks all at once, each with its own time limit, and waits only until enough have answered.
//! Appending never waits for a witness; publishing does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures::{StreamExt as _, stream::FuturesUnordered};
use http_body_util::Full;
use https::Client;
use sha2::{Digest as _, Sha256};
use signed_note::{Note, Signature};
use witness::{CosignerKey, Policy, Submission};

use crate::{prove, store::Store, tree::TreeHead};

/// Extra wait for slower witnesses: without it, they would never be asked to the end.
const GRACE: Duration = Duration::from_millis(50);
/// Far more than a witness's signature lines, or a checkpoint with those of many.
const ANSWER_BYTES: usize = 64 << 10;
/// Attempts per witness: two processes racing for one witness may each find its state changed.
const TRIES: usize = 3;

/// Why a witness gave no cosignature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCosignature {
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    #[error("request failed: {0}")]
    Unreachable(String),
    #[error("it answered {status}: {text}")]
    Refused { status: StatusCode, text: String },
    #[error("the answer has no valid cosignature")]
    Unverified,
    #[error(
        "it shows this log's checkpoint of {seen} entries, more than the existing {held}: this is an older copy of the log"
    )]
    Ahead { seen: u64, held: u64 },
    #[error(
        "it says that it has seen {said} entries, more than the existing {held}, but shows no checkpoint that proves it"
    )]
    Unfounded { said: u64, held: u64 },
    #[error("cannot compute the proof from its last checkpoint")]
    Prove(#[source] sql::Error),
}

/// The witnesses of a policy with an address and a supported key type.
pub(crate) struct Witnesses {
    policy: Policy,
    origin: String,
    client: Client,
    patience: Duration,
    /// Last known size at each witness, by index in the policy.
    seen: Mutex<BTreeMap<usize, u64>>,
}

/// The result of asking the witnesses.
#[derive(Debug, Default)]
pub(crate) struct Cosigned {
    /// The cosignatures, by index of the witness in the policy.
    pub signatures: BTreeMap<usize, Signature>,
    /// Names of the witnesses without a cosignature, and why.
    pub problems: Vec<(String, NoCosignature)>,
}

impl Witnesses {
    pub fn new(policy: Policy, origin: &str, client: Client, patience: Duration) -> Self {
        Self {
            policy,
            origin: origin.to_owned(),
            client,
            patience,
            seen: Mutex::default(),
        }
    }

    /// Whether these cosignatures suffice.
    pub fn are_enough(&self, cosigned: &Cosigned) -> bool {
        self.policy.is_met(|place| cosigned.signatures.contains_key(&place))
    }

    /// Whether a note carries enough cosignatures.
    pub fn have_cosigned(&self, note: &str) -> bool {
        Note::from_bytes(note.as_bytes()).is_ok_and(|note| self.policy.is_met_by(&note))
    }

    /// Asks all witnesses to cosign a checkpoint of this head. `signed_size` returns the size of a
    /// checkpoint that the log's own keys signed.
    pub async fn cosign(
        &self,
        store: &Arc<dyn Store>,
        head: TreeHead,
        note: &str,
        signed_size: &(dyn Fn(&str) -> Option<u64> + Sync),
    ) -> Cosigned {
        let mut asked: FuturesUnordered<_> = self
            .asked()
            .map(|(place, url, key)| async move {
                let ask = async {
                    let answer = self.ask(store, place, url, key, head, note).await;
                    match answer {
                        Err(NoCosignature::Unfounded { said, held }) => {
                            // Only the log's own signature proves it: a witness may be wrong.
                            let shown = self.last(url, key).await.flatten();
                            let seen = shown.and_then(|note| signed_size(&note)).filter(|seen| *seen > held);
                            Err(match seen {
                                Some(seen) => NoCosignature::Ahead { seen, held },
                                None => NoCosignature::Unfounded { said, held },
                            })
                        }
                        answer => answer,
                    }
                };
                let answer = tokio::time::timeout(self.patience, ask).await;
                (place, answer.unwrap_or(Err(NoCosignature::Late(self.patience))))
            })
            .collect();
        let mut cosigned = Cosigned::default();
        let mut grace = None;
        loop {
            let answer = match grace {
                None => asked.next().await,
                Some(until) => tokio::time::timeout_at(until, asked.next()).await.unwrap_or(None),
            };
            let Some((place, answer)) = answer else { break };
            match answer {
                Ok(signature) => {
                    cosigned.signatures.insert(place, signature);
                }
                Err(problem) => cosigned.problems.push((self.name(place), problem)),
            }
            if grace.is_none() && self.are_enough(&cosigned) {
                grace = Some(tokio::time::Instant::now() + GRACE);
            }
        }
        cosigned
    }

    /// Each witness's last checkpoint of this log, as a signed note; `None` if it saw none yet.
    /// Omits witnesses that do not answer.
    pub async fn seen(&self) -> Vec<(usize, Option<String>)> {
        let asked = self.asked().map(|(place, url, key)| async move {
            let answer = tokio::time::timeout(self.patience, self.last(url, key)).await;
            Some((place, answer.ok()??))
        });
        let answers: Vec<_> = asked.collect::<FuturesUnordered<_>>().collect().await;
        answers.into_iter().flatten().collect()
    }

    /// A witness's last checkpoint of this log, cosigned by it; `Some(None)` if it saw none yet,
    /// and `None` if its answer is unusable.
    async fn last(&self, url: &str, key: &CosignerKey) -> Option<Option<String>> {
        let uri = format!("{url}/{}/checkpoint", HEXLOWER.encode(&Sha256::digest(&self.origin)));
        match self.send("GET", &uri, Bytes::new()).await.ok()? {
            (StatusCode::OK, note) => {
                let parsed = Note::from_bytes(note.as_bytes()).ok()?;
                key.find(&parsed).ok()??;
                Some(Some(note))
            }
            (StatusCode::NOT_FOUND, _) => Some(None),
            _ => None,
        }
    }

    /// Whether the silent witnesses alone could have made a checkpoint public.
    pub fn could_be_enough(&self, silent: impl Fn(usize) -> bool) -> bool {
        self.policy.is_met(silent)
    }

    pub fn needed(&self) -> bool {
        self.policy.needs_witnesses()
    }

    /// A witness's name in the policy.
    pub fn name(&self, place: usize) -> String {
        let witness = self.policy.witnesses().get(place);
        witness.map(|witness| witness.name.clone()).unwrap_or_default()
    }

    fn asked(&self) -> impl Iterator<Item = (usize, &str, &CosignerKey)> {
        let witnesses = self.policy.witnesses().iter().enumerate();
        witnesses.filter_map(|(place, witness)| Some((place, witness.url.as_deref()?, witness.key.as_ref()?)))
    }

    async fn ask(
        &self,
        store: &Arc<dyn Store>,
        place: usize,
        url: &str,
        key: &CosignerKey,
        head: TreeHead,
        note: &str,
    ) -> Result<Signature, NoCosignature> {
        let uri = format!("{url}/add-checkpoint");
        let mut refused = None;
        for _ in 0..TRIES {
            let old = self.last_seen(place);
            let proof = prove::consistency(&**store, old, head.size).await;
            let submission = Submission {
                old,
                proof: proof.map_err(NoCosignature::Prove)?,
                checkpoint: note.to_owned(),
            };
            let (status, text) = self.send("POST", &uri, submission.encode().into()).await?;
            let mut continues = false;
            match status {
                StatusCode::OK => {
                    let signature = cosignature(note, &text, key).ok_or(NoCosignature::Unverified)?;
                    self.saw(place, head.size);
                    return Ok(signature);
                }
                // Whatever else it conflicts with is not mended by asking again.
                StatusCode::CONFLICT => match text.trim_end().parse() {
                    Ok(said) if said > head.size => {
                        let held = head.size;
                        return Err(NoCosignature::Unfounded { said, held });
                    }
                    Ok(seen) => {
                        self.saw(place, seen);
                        continues = true;
                    }
                    Err(_) => {}
                },
                _ => {}
            }
            let text = text.trim_end().chars().take(200).collect();
            refused = Some(NoCosignature::Refused { status, text });
            if !continues {
                break;
            }
        }
        Err(refused.unwrap_or(NoCosignature::Unverified))
    }

    async fn send(&self, method: &str, uri: &str, body: Bytes) -> Result<(StatusCode, String), NoCosignature> {
        let unreachable =
            |error: &(dyn std::error::Error + 'static)| NoCosignature::Unreachable(telemetry::with_causes(error));
        let uri: Uri = uri.parse().map_err(|error| unreachable(&error))?;
        let request = Request::builder().method(method).uri(uri).body(Full::new(body));
        let request = request.map_err(|error| unreachable(&error))?;
        let answer = self.client.send(request, ANSWER_BYTES).await;
        let answer = answer.map_err(|error| NoCosignature::Unreachable(error.line()))?;
        let text = match answer.headers().get(header::LOCATION) {
            // The policy states the witness's address.
            Some(place) if answer.status().is_redirection() => format!(
                "it redirects to {}, which is not followed",
                String::from_utf8_lossy(place.as_bytes())
            ),
            _ => String::from_utf8_lossy(answer.body()).into_owned(),
        };
        Ok((answer.status(), text))
    }

    fn last_seen(&self, place: usize) -> u64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&place).copied().unwrap_or(0)
    }

    fn saw(&self, place: usize, size: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(place, size);
    }
}

/// Finds the cosignature among a witness's response lines. Ignores everything else.
fn cosignature(note: &str, lines: &str, key: &CosignerKey) -> Option<Signature> {
    let note = Note::from_bytes(note.as_bytes()).ok()?;
    let signatures: Vec<_> = lines
        .lines()
        .filter_map(|line| Signature::from_bytes(line.as_bytes()).ok())
        .collect();
    let answered = Note::new(note.text(), &signatures).ok()?;
    Some(key.find(&answered).ok()??.signature)
}
