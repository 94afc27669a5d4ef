//! `remit.routing.v1.DirectoryService`: decodes, calls, encodes.

use api::routing::{
    ApplyDirectoryRequest, ApplyDirectoryResponse, ApproveDirectoryRequest, ApproveDirectoryResponse, GetAgencyRequest,
    GetAgencyResponse, GetDirectoryRequest, GetDirectoryResponse, GetTerritoryRequest, GetTerritoryResponse,
    ListAgenciesRequest, ListAgenciesResponse, ListDesksRequest, ListDesksResponse, ListDirectoryVersionsRequest,
    ListDirectoryVersionsResponse, ListTerritoriesRequest, ListTerritoriesResponse, LocateAgencyRequest,
    LocateAgencyResponse, directory_service_server::DirectoryService,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use rpc::{Failure, access, caller};
use tonic::{Request, Response, Status, Streaming};

use crate::directory_service::{Service, Upload};

/// Bytes of a file per message.
const PART: usize = 64 << 10;

#[tonic::async_trait]
impl DirectoryService for Service {
    async fn apply_directory(
        &self,
        request: Request<Streaming<ApplyDirectoryRequest>>,
    ) -> Result<Response<ApplyDirectoryResponse>, Status> {
        let caller = caller(&request)?.clone();
        let names_cases = access::fits(&request);
        let upload = Upload::receive(request.into_inner().map_err(Failure::transport)).await?;
        Ok(Response::new(self.apply(&caller, upload, names_cases).await?))
    }

    async fn approve_directory(
        &self,
        request: Request<ApproveDirectoryRequest>,
    ) -> Result<Response<ApproveDirectoryResponse>, Status> {
        let caller = caller(&request)?.clone();
        let approved = self.approve(&caller, request.get_ref(), access::fits(&request));
        Ok(Response::new(approved.await?))
    }

    type GetDirectoryStream = BoxStream<'static, Result<GetDirectoryResponse, Status>>;

    async fn get_directory(
        &self,
        request: Request<GetDirectoryRequest>,
    ) -> Result<Response<Self::GetDirectoryStream>, Status> {
        let asked = request.get_ref();
        if !asked.territories {
            access::require(&request)?;
        }
        let (source, digest) = self.source(&asked.name, asked.territories).await?;
        let version = names::DIRECTORY_VERSION.of(names::Digest(digest));
        let territories = asked.territories;
        let parts = (0..source.len().max(1)).step_by(PART).map(move |start| {
            let part = source.slice(start..(start + PART).min(source.len()));
            let (agencies, territories) = match territories {
                true => (bytes::Bytes::new(), part),
                false => (part, bytes::Bytes::new()),
            };
            Ok(GetDirectoryResponse {
                agencies,
                territories,
                version: version.clone(),
            })
        });
        Ok(Response::new(futures::stream::iter(parts).boxed()))
    }

    async fn list_directory_versions(
        &self,
        request: Request<ListDirectoryVersionsRequest>,
    ) -> Result<Response<ListDirectoryVersionsResponse>, Status> {
        Ok(Response::new(self.list_versions(request.get_ref()).await?))
    }

    async fn list_territories(
        &self,
        request: Request<ListTerritoriesRequest>,
    ) -> Result<Response<ListTerritoriesResponse>, Status> {
        Ok(Response::new(self.list_territories(request.get_ref()).await?))
    }

    async fn get_territory(
        &self,
        request: Request<GetTerritoryRequest>,
    ) -> Result<Response<GetTerritoryResponse>, Status> {
        let territory = Some(self.territory(&request.get_ref().name)?);
        Ok(Response::new(GetTerritoryResponse { territory }))
    }

    async fn list_agencies(
        &self,
        request: Request<ListAgenciesRequest>,
    ) -> Result<Response<ListAgenciesResponse>, Status> {
        Ok(Response::new(self.list_agencies(request.get_ref()).await?))
    }

    async fn get_agency(&self, request: Request<GetAgencyRequest>) -> Result<Response<GetAgencyResponse>, Status> {
        let agency = Some(self.agency(&request.get_ref().name)?);
        Ok(Response::new(GetAgencyResponse { agency }))
    }

    async fn locate_agency(
        &self,
        request: Request<LocateAgencyRequest>,
    ) -> Result<Response<LocateAgencyResponse>, Status> {
        Ok(Response::new(self.locate(request.get_ref())?))
    }

    async fn list_desks(&self, request: Request<ListDesksRequest>) -> Result<Response<ListDesksResponse>, Status> {
        Ok(Response::new(self.list_desks(request.get_ref()).await?))
    }
}
