//! `remit.routing.v1.RuleSetService`: decodes, calls, encodes.

use api::routing::{
    ActivateRuleSetRequest, ActivateRuleSetResponse, ApproveRuleSetRequest, ApproveRuleSetResponse,
    CheckRuleSetRequest, CheckRuleSetResponse, CreateRuleSetRequest, CreateRuleSetResponse, ExplainRouteRequest,
    ExplainRouteResponse, GetRuleSetRequest, GetRuleSetResponse, ListRuleSetsRequest, ListRuleSetsResponse,
    ReplayRouteRequest, ReplayRouteResponse, SimulateRuleSetRequest, SimulateRuleSetResponse,
    rule_set_service_server::RuleSetService,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use rpc::caller;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::rule_sets::Service;

#[tonic::async_trait]
impl RuleSetService for Service {
    async fn create_rule_set(
        &self,
        request: Request<CreateRuleSetRequest>,
    ) -> Result<Response<CreateRuleSetResponse>, Status> {
        let caller = caller(&request)?.clone();
        Ok(Response::new(self.create(&caller, request.into_inner()).await?))
    }

    async fn get_rule_set(&self, request: Request<GetRuleSetRequest>) -> Result<Response<GetRuleSetResponse>, Status> {
        let rule_set = Some(self.get(&request.get_ref().name).await?);
        Ok(Response::new(GetRuleSetResponse { rule_set }))
    }

    async fn list_rule_sets(
        &self,
        request: Request<ListRuleSetsRequest>,
    ) -> Result<Response<ListRuleSetsResponse>, Status> {
        Ok(Response::new(self.list(request.get_ref()).await?))
    }

    async fn check_rule_set(
        &self,
        request: Request<CheckRuleSetRequest>,
    ) -> Result<Response<CheckRuleSetResponse>, Status> {
        let findings = self.check(request.into_inner()).await?;
        Ok(Response::new(CheckRuleSetResponse { findings }))
    }

    async fn explain_route(
        &self,
        request: Request<ExplainRouteRequest>,
    ) -> Result<Response<ExplainRouteResponse>, Status> {
        let decision = Some(self.explain(request.into_inner()).await?);
        Ok(Response::new(ExplainRouteResponse { decision }))
    }

    type SimulateRuleSetStream = BoxStream<'static, Result<SimulateRuleSetResponse, Status>>;

    async fn simulate_rule_set(
        &self,
        request: Request<SimulateRuleSetRequest>,
    ) -> Result<Response<Self::SimulateRuleSetStream>, Status> {
        let names_cases = rpc::access::fits(&request);
        let messages = self.simulate(caller(&request)?, &request.get_ref().name, names_cases);
        let messages = messages.await?;
        Ok(Response::new(
            ReceiverStream::new(messages).map_err(Status::from).boxed(),
        ))
    }

    async fn approve_rule_set(
        &self,
        request: Request<ApproveRuleSetRequest>,
    ) -> Result<Response<ApproveRuleSetResponse>, Status> {
        let approved = self.approve(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(approved))
    }

    async fn activate_rule_set(
        &self,
        request: Request<ActivateRuleSetRequest>,
    ) -> Result<Response<ActivateRuleSetResponse>, Status> {
        let activated = self.activate(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(activated))
    }

    async fn replay_route(
        &self,
        request: Request<ReplayRouteRequest>,
    ) -> Result<Response<ReplayRouteResponse>, Status> {
        let replayed = self.replay(caller(&request)?, request.get_ref()).await?;
        Ok(Response::new(replayed))
    }
}
