//! What callers ask to be done with cases: all verbs, in one transaction.

use std::collections::BTreeMap;

use api::routing::CaseSight;
use decision::directory::Directory;
use journal::Time;
use prost::Message as _;
use sql::{Error, Insert, Kind, Tx};
use uuid::Uuid;

use super::{
    Acted, Command, RequestId,
    change::{Locked, OnLocked, Told, lock},
    rows,
    sql::SqlStore,
    versions,
};
use crate::{
    case::{Refusal, Transition},
    view,
};

const REQUESTS: Insert = Insert::into(
    "requests",
    &[
        ("caller", Kind::Text),
        ("request_id", Kind::Text),
        ("fingerprint", Kind::Bytes),
        ("answer", Kind::Bytes),
        ("answer_time", Kind::Int),
    ],
);

/// Who asked, by which id.
type Key = (String, Uuid);

/// What was answered to a request.
struct Answer {
    fingerprint: [u8; 32],
    sight: CaseSight,
}

impl SqlStore {
    pub(super) async fn try_act(&self, tx: &mut Tx, commands: &[Command], now: Time) -> Result<Vec<Acted>, Error> {
        // Who gets a part has to be in the directory that is active when it does.
        let active = versions::hold(tx, &self.current).await?;
        let directory = &active.directory;
        // Cases first: whoever waits here for another transaction sees that one's requests below.
        let ids = commands.iter().map(|command| command.case.to_string()).collect();
        let mut locked = lock(tx, OnLocked::Wait, ids).await?;
        let mut answered = earlier_answers(tx, commands).await?;
        let mut requests = Vec::new();
        let mut changed = Vec::new();
        let mut acted = Vec::with_capacity(commands.len());
        for command in commands {
            let key = command.request.as_ref().map(key);
            if let (Some(request), Some(answer)) = (&command.request, key.as_ref().and_then(|key| answered.get(key))) {
                acted.push(match answer.fingerprint == request.fingerprint {
                    true => Acted::Done(Box::new(answer.sight.clone())),
                    false => Acted::RequestIdReused,
                });
                continue;
            }
            let Some(case) = locked.get_mut(&command.case) else {
                acted.push(Acted::NotFound);
                continue;
            };
            let transition = match self.judge(case, command, directory, now.max(case.stored.head.time)) {
                Ok(transition) => transition,
                Err(refused) => {
                    acted.push(refused);
                    continue;
                }
            };
            let told = Told {
                actor: command.actor.clone(),
                caused_by: None,
                traceparent: command.traceparent.clone(),
                route: None,
            };
            changed.push(self.change(case, transition, told, directory, now));
            let sight = view::sight(&case.stored, &command.by, directory);
            if let (Some(request), Some(key)) = (&command.request, key) {
                let fingerprint = request.fingerprint;
                requests.push([
                    request.caller.as_str().into(),
                    request.id.into(),
                    fingerprint.into(),
                    sight.encode_to_vec().into(),
                    now.0.into(),
                ]);
                let sight = sight.clone();
                answered.insert(key, Answer { fingerprint, sight });
            }
            acted.push(Acted::Done(Box::new(sight)));
        }
        REQUESTS.rows(tx, requests).await?;
        self.write(tx, changed).await?;
        Ok(acted)
    }

    /// Whether a command is done: who may comes before the etag, and the etag before the state, so that nobody learns
    /// more than its part shows.
    fn judge(&self, case: &Locked, command: &Command, directory: &Directory, now: Time) -> Result<Transition, Acted> {
        let Locked { stored, matter } = case;
        let rules = self.rules(directory, now);
        let refused = |refusal| match refusal {
            Refusal::Unseen => Acted::NotFound,
            other => Acted::Refused(other),
        };
        let may = rules.may(&stored.case, &command.by, &command.action);
        match may {
            Err(refusal @ (Refusal::Unseen | Refusal::NotYours { .. })) => return Err(refused(refusal)),
            _ if !command.etag.is_empty() && command.etag != view::etag(&stored.head) => {
                return Err(Acted::EtagMismatch);
            }
            Err(refusal) => return Err(refused(refusal)),
            Ok(()) => {}
        }
        rules
            .act(&stored.case, matter, &command.by, &command.action)
            .map_err(refused)
    }
}

fn key(request: &RequestId) -> Key {
    (request.caller.clone(), request.id)
}

/// The first answers to the request ids of these commands.
async fn earlier_answers(tx: &mut Tx, commands: &[Command]) -> Result<BTreeMap<Key, Answer>, Error> {
    let ids: Vec<String> = commands
        .iter()
        .filter_map(|command| Some(command.request.as_ref()?.id.to_string()))
        .collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    tx.fetch(
        "SELECT caller, request_id, fingerprint, answer FROM requests WHERE request_id = ANY($1)",
        vec![ids.into()],
    )
    .await?
    .iter()
    .map(|row| {
        let answer: Vec<u8> = row.get("answer")?;
        let sight = CaseSight::decode(answer.as_slice()).map_err(|error| rows::damaged("answer", error))?;
        let fingerprint = row.array("fingerprint", "fingerprint")?;
        Ok((
            (row.get("caller")?, rows::uuid(row, "request_id")?),
            Answer { fingerprint, sight },
        ))
    })
    .collect()
}
