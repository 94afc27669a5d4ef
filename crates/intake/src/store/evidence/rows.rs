//! Evidence as rows.

use std::collections::{BTreeMap, BTreeSet};

use api::event::{Actor, Detail};
use async_trait::async_trait;
use journal::{Change, Delivery, Draft, Earlier, FirstAnswer, Head, IntakeKind, Payload, RequestId, Time, keyed_hash};
use names::AgencyId;
use prost::Message as _;
use sql::{Error, Insert, Kind, Row, Tx, Value};
use uuid::Uuid;

use super::{
    Attachment, Begun, Download, EvidenceStore, Kept, Partial, StoredEvidence, Tally, Unattachables, Upload, Uploaded,
    uploaded_before,
};
use crate::{
    evidence::{State, Unattachable, name},
    store::{
        Accepted, Prepared, Sender, SqlStore,
        accept::{find_earlier, record_missing},
        sql_store::{agency, parse_id},
    },
};

/// The kind of the change that a download is.
const DOWNLOADED: IntakeKind = IntakeKind::EvidenceDownloaded;

const EVIDENCE: Insert = Insert::into(
    "evidence",
    &[
        ("id", Kind::Text),
        ("caller", Kind::Text),
        ("agency", Kind::Text),
        ("size", Kind::Int),
        ("sha256", Kind::Bytes),
        ("declared_type", Kind::Text),
        ("sniffed_type", Kind::Text),
        ("upload_time", Kind::Int),
        ("commitment_key", Kind::Bytes),
        ("state", Kind::Text),
        ("sequence", Kind::Int),
        ("hash", Kind::Bytes),
        ("change_time", Kind::Int),
    ],
)
.then("ON CONFLICT DO NOTHING RETURNING id");

const DOWNLOADS: Insert = Insert::into(
    "evidence_downloads",
    &[
        ("evidence", Kind::Text),
        ("sequence", Kind::Int),
        ("purpose", Kind::Text),
        ("justification", Kind::Text),
        ("system", Kind::Text),
        ("agency", Kind::Text),
        ("download_time", Kind::Int),
        ("commitment_key", Kind::Bytes),
    ],
);

const ONE: &str = "SELECT id, caller, agency, size, sha256, declared_type, sniffed_type, upload_time, state, report \
                   FROM evidence WHERE id = $1";

/// A file while a change of it is made.
pub(in crate::store) struct Current {
    file: StoredEvidence,
    head: Head,
}

impl SqlStore {
    async fn try_record_upload(&self, tx: &mut Tx, upload: &Upload, now: Time) -> Result<Uploaded, Error> {
        let answer = upload.request.map(|(id, fingerprint)| {
            let request = RequestId {
                caller: upload.sender.system.clone(),
                id,
                fingerprint,
            };
            FirstAnswer::new(request, upload.id.as_bytes().to_vec(), now)
        });
        if let Some(answer) = &answer
            && let Some(earlier) = keep_upload(tx, answer).await?
        {
            return Ok(earlier);
        }
        if !of_refused(tx, &upload.sender, &[upload.sha256.to_vec()], "REFUSED")
            .await?
            .is_empty()
        {
            // Its id stands for nothing.
            if let Some(answer) = &answer {
                journal::forget_request(tx, answer.request(), upload.id.as_bytes()).await?;
            }
            return Ok(Uploaded::Refused);
        }
        let detail = Detail {
            to_state: State::Uploaded.name().to_owned(),
            actor: Some(upload.actor.clone()),
            content_commitment: keyed_hash(&upload.commitment_key, "evidence-v1", &upload.sha256)
                .to_vec()
                .into(),
            ..Detail::default()
        };
        let kind = State::Uploaded.kind();
        let change = self.next(
            upload.id,
            &Head::default(),
            kind,
            None,
            detail,
            &upload.traceparent,
            now,
        );
        let head = change.head;
        let row = [
            upload.id.into(),
            upload.sender.system.as_str().into(),
            Value::text_or_null(upload.sender.agency.as_ref().map(AgencyId::as_str)),
            upload.size.cast_signed().into(),
            upload.sha256.into(),
            upload.declared_type.as_str().into(),
            Value::Word(upload.sniffed_type),
            head.time.0.into(),
            upload.commitment_key.into(),
            Value::Word(State::Uploaded.name()),
            head.sequence.cast_signed().into(),
            head.hash.into(),
            head.time.0.into(),
        ];
        if !EVIDENCE.rows(tx, vec![row]).await?.is_empty() {
            journal::append(tx, vec![delivery(change)]).await?;
        }
        // Itself, also when an earlier try was committed though it did not look so.
        let recorded = find(tx, upload.id).await?;
        recorded.map(Uploaded::Evidence).ok_or_else(|| missing(upload.id))
    }

    async fn try_accept_with(
        &self,
        tx: &mut Tx,
        report: &Prepared,
        attachment: &Attachment,
        now: Time,
    ) -> Result<Result<Accepted, Unattachables>, Error> {
        let files: Vec<Uuid> = attachment.files.iter().map(|(id, _)| *id).collect();
        let current = lock(tx, &files).await?;
        // Asked once the files are locked: a repeat that waited for the first request sees what
        // that has done.
        if let Some(accepted) = find_earlier(tx, report).await? {
            return Ok(Ok(accepted));
        }
        let unattachable = judge_locked(&files, &current, &attachment.sender, now);
        if !unattachable.is_empty() {
            return Ok(Err(unattachable));
        }
        let recorded = record_missing(tx, std::slice::from_ref(report)).await?;
        if let Some(earlier) = recorded.into_iter().flatten().next() {
            // Another request with its id came between, without these files.
            return Ok(Ok(earlier));
        }
        let deliveries = self
            .attach(
                tx,
                &current,
                report.report,
                &attachment.files,
                attachment.accepted_by,
                &attachment.traceparent,
                now,
            )
            .await?;
        journal::append(tx, deliveries).await?;
        Ok(Ok(report.accepted()))
    }

    /// Makes locked files part of a report, each with a change of its own, which is returned.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the one change")]
    pub(in crate::store) async fn attach(
        &self,
        tx: &mut Tx,
        current: &BTreeMap<Uuid, Current>,
        report: Uuid,
        files: &[(Uuid, Actor)],
        caused_by: Uuid,
        traceparent: &str,
        now: Time,
    ) -> Result<Vec<Delivery>, Error> {
        let mut deliveries = Vec::with_capacity(files.len());
        for (id, actor) in files {
            let Some(Current { file, head }) = current.get(id) else {
                continue;
            };
            let detail = Detail {
                from_state: file.state.name().to_owned(),
                to_state: State::Attached.name().to_owned(),
                actor: Some(actor.clone()),
                ..Detail::default()
            };
            let (kind, cause) = (State::Attached.kind(), Some(caused_by));
            let change = self.next(*id, head, kind, cause, detail, traceparent, now);
            tx.execute(
                "UPDATE evidence SET state = 'ATTACHED', report = $2, sequence = $3, hash = $4, change_time = $5 \
                 WHERE id = $1",
                vec![
                    (*id).into(),
                    report.into(),
                    change.head.sequence.cast_signed().into(),
                    change.head.hash.into(),
                    change.head.time.0.into(),
                ],
            )
            .await?;
            deliveries.push(delivery(change));
        }
        Ok(deliveries)
    }

    async fn try_record_download(
        &self,
        tx: &mut Tx,
        download: &Download,
        now: Time,
    ) -> Result<Option<(StoredEvidence, Change)>, Error> {
        let Some(Current { file, head }) = lock(tx, &[download.id]).await?.remove(&download.id) else {
            return Ok(None);
        };
        if file.state.is_gone() {
            return Ok(None);
        }
        let justification = keyed_hash(
            &download.commitment_key,
            "justification-v1",
            download.justification.as_bytes(),
        );
        let detail = Detail {
            from_state: file.state.name().to_owned(),
            to_state: file.state.name().to_owned(),
            actor: Some(download.actor.clone()),
            purpose: download.purpose.to_owned(),
            content_commitment: justification.to_vec().into(),
            ..Detail::default()
        };
        let change = self.next(download.id, &head, DOWNLOADED, None, detail, &download.traceparent, now);
        let head = change.head;
        tx.execute(
            "UPDATE evidence SET sequence = $2, hash = $3, change_time = $4 WHERE id = $1",
            vec![
                download.id.into(),
                head.sequence.cast_signed().into(),
                head.hash.into(),
                head.time.0.into(),
            ],
        )
        .await?;
        let row = [
            download.id.into(),
            head.sequence.cast_signed().into(),
            download.purpose.into(),
            download.justification.as_str().into(),
            download.by.system.as_str().into(),
            Value::text_or_null(download.by.agency.as_ref().map(AgencyId::as_str)),
            head.time.0.into(),
            download.commitment_key.into(),
        ];
        DOWNLOADS.rows(tx, vec![row]).await?;
        journal::append(tx, vec![delivery(change.clone())]).await?;
        Ok(Some((file, change)))
    }

    async fn try_expire(&self, tx: &mut Tx, before: Time, now: Time) -> Result<usize, Error> {
        let rows = tx
            .fetch(
                "SELECT id FROM evidence WHERE state = 'UPLOADED' AND upload_time <= $1 \
                 ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED",
                vec![before.0.into()],
            )
            .await?;
        let ids = rows
            .iter()
            .map(|row| parse_id(&row.get::<String>("id")?))
            .collect::<Result<Vec<_>, Error>>()?;
        let mut deliveries = Vec::with_capacity(ids.len());
        for (id, Current { file, head }) in lock(tx, &ids).await? {
            let detail = Detail {
                from_state: file.state.name().to_owned(),
                to_state: State::Expired.name().to_owned(),
                actor: Some(Actor {
                    system: "intake".to_owned(),
                    ..Actor::default()
                }),
                ..Detail::default()
            };
            let change = self.next(id, &head, State::Expired.kind(), None, detail, "", now);
            tx.execute(
                "UPDATE evidence SET state = 'EXPIRED', unremoved_since = $5, sequence = $2, \
                 hash = $3, change_time = $4 WHERE id = $1",
                vec![
                    id.into(),
                    change.head.sequence.cast_signed().into(),
                    change.head.hash.into(),
                    change.head.time.0.into(),
                    change.head.time.0.into(),
                ],
            )
            .await?;
            deliveries.push(delivery(change));
        }
        let expired = deliveries.len();
        journal::append(tx, deliveries).await?;
        Ok(expired)
    }

    async fn try_refuse(
        &self,
        tx: &mut Tx,
        files: &[(Uuid, Actor)],
        sender: &Sender,
        now: Time,
    ) -> Result<Vec<Uuid>, Error> {
        let ids: Vec<Uuid> = files.iter().map(|(id, _)| *id).collect();
        let named = lock(tx, &ids).await?;
        let is_free = |file: &StoredEvidence| sender.owns(&file.sender) && file.state == State::Uploaded;
        let mut hashes: Vec<Vec<u8>> = named
            .values()
            .filter(|current| is_free(&current.file))
            .map(|current| current.file.sha256.to_vec())
            .collect();
        hashes.dedup();
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let same = of_refused(tx, sender, &hashes, "UPLOADED").await?;
        let actor = |id: &Uuid| {
            files
                .iter()
                .find(|(named, _)| named == id)
                .map(|(_, actor)| actor.clone())
        };
        let mut deliveries = Vec::new();
        let mut refused = Vec::new();
        for (id, Current { file, head }) in lock(tx, &same).await? {
            if !is_free(&file) {
                continue;
            }
            let detail = Detail {
                from_state: file.state.name().to_owned(),
                to_state: State::Refused.name().to_owned(),
                actor: Some(actor(&id).unwrap_or_else(|| Actor {
                    system: "intake".to_owned(),
                    ..Actor::default()
                })),
                ..Detail::default()
            };
            let change = self.next(id, &head, State::Refused.kind(), None, detail, "", now);
            tx.execute(
                "UPDATE evidence SET state = 'REFUSED', unremoved_since = $5, sequence = $2, hash = $3, \
                 change_time = $4 WHERE id = $1",
                vec![
                    id.into(),
                    change.head.sequence.cast_signed().into(),
                    change.head.hash.into(),
                    change.head.time.0.into(),
                    change.head.time.0.into(),
                ],
            )
            .await?;
            deliveries.push(delivery(change));
            refused.push(id);
        }
        journal::append(tx, deliveries).await?;
        Ok(refused)
    }

    /// The next change of a file.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the one change")]
    fn next(
        &self,
        id: Uuid,
        head: &Head,
        kind: IntakeKind,
        caused_by: Option<Uuid>,
        detail: Detail,
        traceparent: &str,
        now: Time,
    ) -> Change {
        let draft = Draft {
            source: "intake",
            record: &name(id),
            kind: kind.name(),
            caused_by,
            detail,
            traceparent: traceparent.to_owned(),
        };
        draft.into_change(head, now, &*self.entropy)
    }
}

/// Keeps the answer to an upload, or returns what its request id leads to. An upload that has
/// expired is no answer: its id is taken over.
async fn keep_upload(tx: &mut Tx, answer: &FirstAnswer) -> Result<Option<Uploaded>, Error> {
    for _ in 0..2 {
        let earlier = journal::keep_free(tx, &[answer]).await?;
        let id = match earlier.into_iter().flatten().next() {
            None => return Ok(None),
            Some(Earlier::OtherContent) => return Ok(Some(Uploaded::RequestIdReused)),
            Some(Earlier::Answered(id)) => Uuid::from_slice(&id).map_err(|error| Error::Damaged {
                what: "first answer to an upload",
                problem: error.to_string(),
            })?,
        };
        let first = find(tx, id).await?.ok_or_else(|| missing(id))?;
        if !first.state.is_gone() {
            return Ok(Some(Uploaded::Evidence(first)));
        }
        journal::forget_request(tx, answer.request(), id.as_bytes()).await?;
    }
    Err(Error::Collided("a request id"))
}

/// The files of a sender ([`Sender::owns`]) with one of these hashes that are in a state.
async fn of_refused(tx: &mut Tx, sender: &Sender, hashes: &[Vec<u8>], state: &'static str) -> Result<Vec<Uuid>, Error> {
    let (statement, owner) = match &sender.agency {
        Some(agency) => (
            "SELECT id FROM evidence WHERE sha256 = $1 AND state = $2 AND agency = $3 ORDER BY id",
            agency.as_str(),
        ),
        None => (
            "SELECT id FROM evidence WHERE sha256 = $1 AND state = $2 AND caller = $3 AND agency IS NULL ORDER BY id",
            sender.system.as_str(),
        ),
    };
    let mut found = Vec::new();
    for hash in hashes {
        let values = vec![hash.clone().into(), state.into(), owner.into()];
        for row in tx.fetch(statement, values).await? {
            found.push(parse_id(&row.get::<String>("id")?)?);
        }
    }
    Ok(found)
}

async fn find(tx: &mut Tx, id: Uuid) -> Result<Option<StoredEvidence>, Error> {
    let row = tx.fetch_optional(ONE, vec![id.into()]).await?;
    row.as_ref().map(stored).transpose()
}

fn missing(id: Uuid) -> Error {
    Error::Damaged {
        what: "evidence",
        problem: format!("{} has no row", name(id)),
    }
}

/// The files of these ids as they are, and as they stay until the transaction ends.
pub(in crate::store) async fn lock(tx: &mut Tx, ids: &[Uuid]) -> Result<BTreeMap<Uuid, Current>, Error> {
    let rows = tx
        .fetch(
            "SELECT id, caller, agency, size, sha256, declared_type, sniffed_type, upload_time, state, report, \
             sequence, hash, change_time FROM evidence WHERE id = ANY($1) ORDER BY id FOR UPDATE",
            vec![texts(ids)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let file = stored(row)?;
            let head = Head {
                sequence: row.count("sequence", "sequence")?,
                hash: row.array("hash", "hash")?,
                time: Time(row.get("change_time")?),
            };
            Ok((file.id, Current { file, head }))
        })
        .collect()
}

/// Which of these files, once they are locked, a report of this sender cannot have.
pub(in crate::store) fn judge_locked(
    files: &[Uuid],
    current: &BTreeMap<Uuid, Current>,
    sender: &Sender,
    now: Time,
) -> Unattachables {
    judge(files, |id| current.get(id).map(|it| &it.file), sender, now)
}

/// Which of the files that a report names it cannot have.
fn judge<'f>(
    files: &[Uuid],
    find: impl Fn(&Uuid) -> Option<&'f StoredEvidence>,
    sender: &Sender,
    now: Time,
) -> Unattachables {
    files
        .iter()
        .enumerate()
        .filter_map(|(place, id)| {
            let judged = find(id).map_or(Err(Unattachable::Unknown), |file| file.attachable(sender, now));
            Some((place, judged.err()?))
        })
        .collect()
}

/// For audit alone: routing decides nothing by a file.
fn delivery(change: Change) -> Delivery {
    let payloads = vec![Payload::to("audit", change.with_detail().encode_to_vec())];
    Delivery { change, payloads }
}

fn texts(ids: &[Uuid]) -> Value {
    ids.iter().map(Uuid::to_string).collect::<Vec<_>>().into()
}

fn stored(row: &Row) -> Result<StoredEvidence, Error> {
    let state: String = row.get("state")?;
    let report: Option<String> = row.get("report")?;
    Ok(StoredEvidence {
        id: parse_id(&row.get::<String>("id")?)?,
        sender: Sender {
            system: row.get("caller")?,
            agency: agency(row)?,
        },
        size: row.count("size", "size")?,
        sha256: row.array("sha256", "sha256")?,
        declared_type: row.get("declared_type")?,
        sniffed_type: row.get("sniffed_type")?,
        upload_time: Time(row.get("upload_time")?),
        state: State::from_name(&state).ok_or(Error::Damaged {
            what: "state of evidence",
            problem: state,
        })?,
        report: report.as_deref().map(parse_id).transpose()?,
    })
}

#[async_trait]
impl EvidenceStore for SqlStore {
    async fn record_upload(&self, upload: &Upload, now: Time) -> Result<Uploaded, Error> {
        sql::transact!(self.db, |tx| self.try_record_upload(&mut tx, upload, now))
    }

    async fn partial(&self, caller: &str, request_id: Uuid, now: Time) -> Result<Option<Partial>, Error> {
        self.partial_of(caller, request_id, now).await
    }

    async fn begin_partial(&self, caller: &str, request_id: Uuid, partial: &Partial) -> Result<Begun, Error> {
        sql::transact!(self.db, |tx| self
            .try_begin_partial(&mut tx, caller, request_id, partial))
    }

    async fn keep_partial(&self, caller: &str, request_id: Uuid, partial: &Partial, now: Time) -> Result<Kept, Error> {
        sql::transact!(self.db, |tx| self
            .try_keep_partial(&mut tx, caller, request_id, partial, now))
    }

    async fn give_up_partial(
        &self,
        caller: &str,
        request_id: Uuid,
        writer: Uuid,
        is_useless: bool,
    ) -> Result<Option<Uuid>, Error> {
        sql::transact!(self.db, |tx| self
            .try_give_up_partial(&mut tx, caller, request_id, writer, is_useless))
    }

    async fn forget_partial(&self, caller: &str, request_id: Uuid) -> Result<Option<Uuid>, Error> {
        sql::transact!(self.db, |tx| self.try_forget_partial(&mut tx, caller, request_id))
    }

    async fn forget_partials(&self, before: Time, silent_since: Time) -> Result<Vec<Uuid>, Error> {
        sql::transact!(self.db, |tx| self.try_forget_partials(&mut tx, before, silent_since))
    }

    async fn partials(&self) -> Result<BTreeSet<Uuid>, Error> {
        self.all_partials().await
    }

    async fn evidence(&self, id: Uuid) -> Result<Option<StoredEvidence>, Error> {
        let row = self.db.fetch_optional(ONE, vec![id.into()]).await?;
        row.as_ref().map(stored).transpose()
    }

    async fn unattachable(&self, files: &[Uuid], sender: &Sender, now: Time) -> Result<Unattachables, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT id, caller, agency, size, sha256, declared_type, sniffed_type, upload_time, state, report \
                 FROM evidence WHERE id = ANY($1)",
                vec![texts(files)],
            )
            .await?;
        let found = rows
            .iter()
            .map(|row| stored(row).map(|file| (file.id, file)))
            .collect::<Result<BTreeMap<_, _>, _>>()?;
        Ok(judge(files, |id| found.get(id), sender, now))
    }

    async fn accept_with(
        &self,
        report: &Prepared,
        attachment: &Attachment,
        now: Time,
    ) -> Result<Result<Accepted, Unattachables>, Error> {
        sql::transact!(self.db, |tx| self.try_accept_with(&mut tx, report, attachment, now))
    }

    async fn record_download(&self, download: &Download, now: Time) -> Result<Option<(StoredEvidence, Change)>, Error> {
        sql::transact!(self.db, |tx| self.try_record_download(&mut tx, download, now))
    }

    async fn expire(&self, before: Time, now: Time) -> Result<usize, Error> {
        sql::transact!(self.db, |tx| self.try_expire(&mut tx, before, now))
    }

    async fn refuse(&self, files: &[(Uuid, Actor)], sender: &Sender, now: Time) -> Result<Vec<Uuid>, Error> {
        sql::transact!(self.db, |tx| self.try_refuse(&mut tx, files, sender, now))
    }

    async fn unremoved(&self) -> Result<Vec<Uuid>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT id FROM evidence WHERE unremoved_since IS NOT NULL ORDER BY unremoved_since LIMIT 100",
                Vec::new(),
            )
            .await?;
        rows.iter().map(|row| parse_id(&row.get::<String>("id")?)).collect()
    }

    async fn removed(&self, files: &[Uuid]) -> Result<(), Error> {
        sql::transact!(self.db, |tx| tx.execute(
            "UPDATE evidence SET unremoved_since = NULL WHERE id = ANY($1)",
            vec![texts(files)],
        ))
        .map(drop)
    }

    async fn files_after(&self, after: Uuid, limit: u32) -> Result<Vec<StoredEvidence>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT id, caller, agency, size, sha256, declared_type, sniffed_type, upload_time, state, report \
                 FROM evidence WHERE id > $1 AND state NOT IN ('EXPIRED', 'REFUSED') ORDER BY id LIMIT $2",
                vec![after.into(), i64::from(limit).into()],
            )
            .await?;
        rows.iter().map(stored).collect()
    }

    async fn kept(&self, files: &[Uuid]) -> Result<BTreeSet<Uuid>, Error> {
        let rows = self
            .db
            .fetch(
                "SELECT id FROM evidence WHERE id = ANY($1) AND state NOT IN ('EXPIRED', 'REFUSED')",
                vec![texts(files)],
            )
            .await?;
        rows.iter().map(|row| parse_id(&row.get::<String>("id")?)).collect()
    }

    async fn unattached_bytes(&self, system: &str) -> Result<u64, Error> {
        // Of a day's uploads at most. A file costs a row and a place in the folder however short it is.
        let sum = "SELECT CAST(coalesce(sum(CASE WHEN size < 65536 THEN 65536 ELSE size END), 0) AS BIGINT) AS bytes \
                   FROM (SELECT size FROM evidence WHERE state = 'UPLOADED' AND caller = $1 \
                   UNION ALL SELECT received FROM uploads WHERE caller = $1) AS files";
        let row = self.db.fetch_optional(sum, vec![system.into()]).await?;
        row.map_or(Ok(0), |row| row.count("bytes", "count"))
    }

    async fn tally(&self, now: Time) -> Result<Tally, Error> {
        let before = uploaded_before(now);
        let row = self
            .db
            .fetch_optional(
                "SELECT (SELECT count(*) FROM evidence WHERE state = 'UPLOADED') AS unattached, \
                 (SELECT count(*) FROM evidence WHERE state = 'UPLOADED' AND upload_time <= $1) AS unexpired, \
                 (SELECT min(upload_time) FROM evidence WHERE state = 'UPLOADED' AND upload_time <= $1) \
                 AS unexpired_since, \
                 (SELECT count(*) FROM evidence WHERE unremoved_since IS NOT NULL) AS unremoved, \
                 (SELECT min(unremoved_since) FROM evidence WHERE unremoved_since IS NOT NULL) AS unremoved_since",
                vec![before.0.into()],
            )
            .await?;
        let Some(row) = row else { return Ok(Tally::default()) };
        let (unexpired, unremoved): (Option<i64>, Option<i64>) =
            (row.get("unexpired_since")?, row.get("unremoved_since")?);
        let unexpired = unexpired.map(|upload| upload + (now.0 - before.0));
        Ok(Tally {
            unattached: row.count("unattached", "count")?,
            overdue: row.count("unexpired", "count")? + row.count("unremoved", "count")?,
            overdue_since: unexpired.into_iter().chain(unremoved).min().map(Time),
        })
    }
}
