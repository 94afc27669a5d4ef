//! `remit.operations.v1.OperationsService`, as all services serve it.

use std::sync::Arc;

use api::operations::{
    AccessRow, Backlog, GetAccessTableRequest, GetAccessTableResponse, GetStatusRequest, GetStatusResponse,
    ListRecordHeadsRequest, ListRecordHeadsResponse, RecordHead,
    operations_service_server::{OperationsService, OperationsServiceServer},
};
use async_trait::async_trait;
use journal::{Time, Timekeeper};
use sql::Db;
use tonic::{Request, Response, Status};

use crate::{
    Failure,
    access::{AUDITOR, Kind, Method, OPERATOR, SHARED, Table},
    layers::UnreadTokens,
    page,
};

/// Who may call it.
pub const ACCESS: Table = Table {
    service: "remit.operations.v1.OperationsService",
    methods: &[
        Method::new("GetStatus", &[OPERATOR]),
        Method::new("ListRecordHeads", &[OPERATOR]),
        Method::new("GetAccessTable", &[AUDITOR, OPERATOR]),
    ],
};
/// Maximum number of requested records.
const NAMED: usize = 1_000;
/// Filter that page tokens are bound to.
const FILTER: &str = "record heads";

/// A service's answers for operators.
#[async_trait]
pub trait Operated: Send + Sync + 'static {
    /// Its status.
    async fn status(&self) -> Result<GetStatusResponse, Failure>;
    /// A page of its records with their last changes, after `cursor` (empty: from the first), and
    /// the next cursor; `None` after the last page.
    async fn heads(&self, cursor: &str, limit: u32) -> Result<(Vec<journal::RecordHead>, Option<String>), Failure>;
    /// Those of these records that it has.
    async fn heads_of(&self, records: Vec<String>) -> Result<Vec<journal::RecordHead>, Failure>;
}

/// The undelivered changes for these consumers.
pub async fn backlogs(db: &Db, consumers: &[&str]) -> Result<Vec<Backlog>, Failure> {
    let mut backlogs = Vec::with_capacity(consumers.len());
    for consumer in consumers {
        let backlog = journal::backlog(db, consumer).await?;
        let (first_parked, first_reason) = backlog.first_parked.unwrap_or_default();
        backlogs.push(Backlog {
            consumer: (*consumer).to_owned(),
            waiting_count: backlog.waiting.cast_signed(),
            oldest_time: backlog.oldest.map(Time::to_proto),
            parked_count: backlog.parked.cast_signed(),
            first_parked,
            first_reason,
        });
    }
    Ok(backlogs)
}

/// Why a service's clock is in doubt, and what to do; empty if it is not.
pub async fn clock_fault(time: &Timekeeper) -> Result<String, Failure> {
    Ok(time.doubt().await?.map(|doubt| doubt.to_string()).unwrap_or_default())
}

/// The service over what it tells of, and the tables of access that its server enforces.
pub fn server(
    operated: Arc<dyn Operated>,
    tokens: page::Tokens,
    access: &'static [Table],
) -> OperationsServiceServer<impl OperationsService> {
    OperationsServiceServer::new(Operations(operated, tokens, access))
}

struct Operations(Arc<dyn Operated>, page::Tokens, &'static [Table]);

/// The rows of tables, as they are enforced.
fn rows(tables: &[Table]) -> Vec<AccessRow> {
    let names = |kinds: &[Kind]| kinds.iter().map(ToString::to_string).collect();
    let row = |table: &Table, method: &Method| AccessRow {
        service: table.service.to_owned(),
        method: method.name.to_owned(),
        callers: names(method.kinds),
        condition: method
            .condition
            .map(|condition| condition.when.to_owned())
            .unwrap_or_default(),
        conditional_callers: method
            .condition
            .map(|condition| names(condition.kinds))
            .unwrap_or_default(),
    };
    let all = tables.iter().chain(SHARED);
    all.flat_map(|table| table.methods.iter().map(move |method| row(table, method)))
        .collect()
}

impl Operations {
    async fn heads(&self, request: ListRecordHeadsRequest) -> Result<ListRecordHeadsResponse, Failure> {
        if request.records.len() > NAMED {
            return Err(Failure::invalid("records", format!("at most {NAMED}")));
        }
        let seal = self.1.seal().await?;
        let (heads, next) = if request.records.is_empty() {
            let limit = page::size(request.page_size)?;
            let cursor = seal.decode(FILTER, &request.page_token)?.unwrap_or_default();
            self.0.heads(&cursor, limit).await?
        } else {
            (self.0.heads_of(request.records).await?, None)
        };
        Ok(ListRecordHeadsResponse {
            heads: heads
                .into_iter()
                .map(|head| RecordHead {
                    record: head.record,
                    sequence: head.sequence.cast_signed(),
                    entry_hash: head.hash.to_vec().into(),
                    undelivered_count: head.undelivered.cast_signed(),
                })
                .collect(),
            next_page_token: next.map(|next| seal.encode(FILTER, &next)).unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl OperationsService for Operations {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let mut status = self.0.status().await?;
        if let Some(UnreadTokens(trouble)) = request.extensions().get() {
            status.unread_tokens.clone_from(trouble);
        }
        Ok(Response::new(status))
    }

    async fn list_record_heads(
        &self,
        request: Request<ListRecordHeadsRequest>,
    ) -> Result<Response<ListRecordHeadsResponse>, Status> {
        Ok(Response::new(self.heads(request.into_inner()).await?))
    }

    async fn get_access_table(
        &self,
        _: Request<GetAccessTableRequest>,
    ) -> Result<Response<GetAccessTableResponse>, Status> {
        Ok(Response::new(GetAccessTableResponse { rows: rows(self.2) }))
    }
}
