//! The place that a request takes of its caller's share, from its headers to the end of its answer.

use std::sync::Arc;

use axum::{body::Body, extract::Request};

use super::{
    Gate, Rejection,
    identified::{Known, certificate},
    is_grpc,
};
use crate::{
    Identity, Limits, Presented,
    access::{self, Method},
    connections::{Link, Probe},
    identity::is_admitted,
    paced::{Arriving, Open},
    shares::{Account, Lease, Permit, What},
};

/// The place that a request has until its answer has ended.
#[derive(Debug)]
pub(crate) enum Held {
    /// Of its caller's share.
    Share(#[expect(dead_code, reason = "kept to be dropped")] Permit),
    /// Of its connection's probes.
    Probe(#[expect(dead_code, reason = "kept to be dropped")] Option<Probe>),
}

/// What a request has of its caller's share.
pub(super) struct Share {
    pub(super) account: Account,
    /// None for callers without a token, who are refused at once.
    permit: Option<Held>,
    /// Whether it is a probe, whose body is a few bytes.
    is_probe: bool,
    /// Whether there is a stream in either direction.
    is_stream: bool,
    /// Whether the caller sends one.
    takes_stream: bool,
    /// Whether the sender may be silent between messages: it may wait for answers.
    may_rest: bool,
    is_service: bool,
}

impl Gate {
    /// Refuses at once what would have to wait: a queue that grows helps nobody.
    pub(super) fn share(
        &self,
        method: Option<&Method>,
        link: Option<&Arc<Link>>,
        request: &mut Request,
    ) -> Result<Share, Rejection> {
        let refused = |failure| Rejection::Refused(failure, "too many requests at once; try again");
        let peer = link.map(|link| link.peer());
        let is_grpc = is_grpc(request);
        let is_public = method.is_some_and(Method::is_public);
        let path = request.uri().path();
        let is_stream = is_grpc && (access::is_stream(path) || is_public);
        // A probe that is refused for the load of others would have a healthy process restarted,
        // and its load fall on the rest. So it takes nothing that others take.
        let is_probe = is_grpc && path == "/grpc.health.v1.Health/Check";
        let takes_stream = is_grpc && (access::takes_stream(path) || (is_public && !is_probe));
        let may_rest = takes_stream && !method.is_some_and(|method| method.is_upload);
        let shown = certificate(request);
        let presented = Presented {
            headers: request.headers(),
            certificate: shown.as_deref(),
        };
        let caller = match is_grpc && !is_public {
            true => self.authenticate.authenticate(&presented),
            false => None,
        };
        // A service's token without its certificate opens nothing, and no lane of the services
        // either.
        let counted = caller
            .as_ref()
            .filter(|caller| is_admitted(&*self.authenticate, caller, path, &presented));
        if let (Some(caller), Some(link)) = (counted, link) {
            let is_service = caller.is_service();
            link.called_by(&caller.system, is_service).map_err(refused)?;
        }
        let account = self.shares.of(counted, peer);
        // Without a token it is refused before its body is read.
        let is_refused = is_grpc && !is_public && counted.is_none();
        let permit = match is_stream {
            _ if is_probe => Some(Held::Probe(link.map(Link::probe).transpose().map_err(refused)?)),
            _ if is_refused => None,
            true => Some(Held::Share(account.permit(What::Streams).map_err(refused)?)),
            false => Some(Held::Share(account.permit(What::Calls).map_err(refused)?)),
        };
        let is_service = counted.is_some_and(Identity::is_service);
        if is_grpc && !is_public {
            request.extensions_mut().insert(Known(caller));
        }
        Ok(Share {
            account,
            permit,
            is_probe,
            is_stream: is_stream && !is_probe,
            takes_stream,
            may_rest,
            is_service,
        })
    }
}

impl Share {
    /// The request with a body that is paid for.
    pub(super) fn paced(&self, limits: Limits, lease: &Arc<Lease>, request: Request) -> Request {
        if self.is_probe {
            return request.map(|body| Body::new(Arriving::probe(body, limits, self.account.service())));
        }
        let wait = (limits.body_wait, limits.bytes_per_second);
        let service = self.account.service();
        let kind = (self.takes_stream, self.may_rest);
        request.map(|body| Body::new(Arriving::new(body, Arc::clone(lease), service, wait, kind)))
    }

    /// What is kept until the answer has ended.
    pub(super) fn open(self, limits: Limits, purse: Arc<Lease>) -> (Option<Open>, Option<Held>) {
        let open = self.is_stream.then(|| Open {
            purse,
            unread: self.account.lease(),
            until: (!self.is_service).then(|| Box::pin(tokio::time::sleep(limits.stream))),
        });
        (open, self.permit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authenticate, Proof, Roles, layers::tests::open};

    /// Knows everybody as the service routing, which is on the list or not.
    struct Listed(bool);

    impl Authenticate for Listed {
        fn authenticate(&self, _: &Presented<'_>) -> Option<Identity> {
            Some(Identity {
                system: "routing".to_owned(),
                agency: None,
                roles: Roles::SERVICE,
                officer: None,
                officer_key: crate::OfficerKey::default(),
                proof: Proof::Token,
            })
        }

        fn admits_service(&self, _: &str, _: &str, _: &Presented<'_>) -> bool {
            self.0
        }
    }

    #[test]
    fn a_services_token_without_its_certificate_has_no_place_among_the_services() {
        for is_listed in [true, false] {
            let gate = open(Arc::new(Listed(is_listed)));
            let mut request = http::Request::post("/remit.audit.v1.AuditInboundService/RecordMark")
                .header("content-type", "application/grpc")
                .body(Body::empty())
                .unwrap();
            let Ok(share) = gate.share(None, None, &mut request) else {
                panic!("there is room")
            };
            assert_eq!((share.is_service, share.permit.is_some()), (is_listed, is_listed));
        }
    }
}
