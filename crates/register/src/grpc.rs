//! `remit.routing.v1.OperatorService`: decodes, calls, encodes.

use api::routing::{
    GetOperatorRequest, GetOperatorResponse, ListOperatorsRequest, ListOperatorsResponse, LoadOperatorsRequest,
    LoadOperatorsResponse, LookupOperatorRequest, LookupOperatorResponse, operator_service_server::OperatorService,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use rpc::{
    Failure,
    access::{DESK, DIRECTORY_EDITOR, INSPECTOR, Kind, Method, OPERATOR, REVIEWER, SUPERVISOR, Table},
    caller,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::service::Service;

/// Those who read the register.
const READERS: &[Kind] = &[DESK, REVIEWER, SUPERVISOR, INSPECTOR, DIRECTORY_EDITOR, OPERATOR];

/// The callers of each method.
pub const ACCESS: Table = Table {
    service: "remit.routing.v1.OperatorService",
    methods: &[
        Method::new("LoadOperators", &[DIRECTORY_EDITOR]),
        Method::new("LookupOperator", READERS),
        Method::new("ListOperators", READERS),
        Method::new("GetOperator", READERS),
    ],
};

#[tonic::async_trait]
impl OperatorService for Service {
    type LoadOperatorsStream = BoxStream<'static, Result<LoadOperatorsResponse, Status>>;

    async fn load_operators(
        &self,
        request: Request<Streaming<LoadOperatorsRequest>>,
    ) -> Result<Response<Self::LoadOperatorsStream>, Status> {
        let caller = caller(&request)?.clone();
        let parts = request.into_inner().map_err(Failure::transport);
        let answers = self.load(&caller, parts).await?;
        Ok(Response::new(
            ReceiverStream::new(answers).map_err(Status::from).boxed(),
        ))
    }

    async fn lookup_operator(
        &self,
        request: Request<LookupOperatorRequest>,
    ) -> Result<Response<LookupOperatorResponse>, Status> {
        Ok(Response::new(self.lookup(request.get_ref()).await?))
    }

    async fn list_operators(
        &self,
        request: Request<ListOperatorsRequest>,
    ) -> Result<Response<ListOperatorsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref()).await?))
    }

    async fn get_operator(
        &self,
        request: Request<GetOperatorRequest>,
    ) -> Result<Response<GetOperatorResponse>, Status> {
        let operator = self.get(&request.get_ref().name).await?;
        Ok(Response::new(GetOperatorResponse {
            registered_operator: Some(operator),
        }))
    }
}
