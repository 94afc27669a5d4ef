//! Who calls: what of a request identifies its caller, and the officer who acts.

use std::sync::Arc;

use axum::extract::Request;
use futures::future::BoxFuture;
use http::HeaderMap;
use tokio::time::Instant;

use super::{Gate, is_grpc};
use crate::{
    Certificate, Failure, Identity, OFFICER, Officer, Presented, Proof, connections::Link, failure::Violation, metadata,
};

/// The caller that a request's token names, as far as the gate has looked.
#[derive(Clone, Debug)]
pub(super) struct Known(pub(super) Option<Identity>);

/// The certificate that was shown on a request's connection.
pub(super) fn certificate(request: &Request) -> Option<Arc<Certificate>> {
    request.extensions().get::<Arc<Link>>()?.certificate().cloned()
}

/// What was missing to identify the caller was waited for once, from this time on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prepared(pub(super) Instant);

impl Gate {
    /// What has to be waited for before a caller can be identified: a key that an issuer may have.
    pub(super) fn prepare(&self, request: &Request) -> Option<BoxFuture<'static, ()>> {
        if !is_grpc(request) || request.extensions().get::<Prepared>().is_some() {
            return None;
        }
        let headers = request.headers();
        self.authenticate.prepare(&Presented::headers(headers))
    }
}

/// The officer who acts: by a signed token where the caller has one, otherwise by metadata, whose
/// system answers for it.
pub(super) fn acting(caller: &Identity, headers: &HeaderMap) -> Result<Option<Officer>, Failure> {
    let said = metadata::officer(headers)?;
    match (caller.proof, &caller.officer, said) {
        (Proof::Token | Proof::Certificate, _, said) => Ok(said),
        (Proof::Signed { .. }, signed, None) => Ok(signed.clone()),
        (Proof::Signed { .. }, Some(signed), Some(said)) if *signed == said => Ok(Some(said)),
        (Proof::Signed { .. }, ..) => {
            let problem = "names an officer who does not stand in the signed token; leave it out";
            Err(Failure::InvalidInput(vec![Violation::new(OFFICER, problem)]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roles;

    #[test]
    fn an_officer_stands_in_the_signed_token_where_there_is_one() {
        let officer = |name: &str| Officer::new(name).unwrap();
        for (proof, signed, said, expected) in [
            (Proof::Token, None, Some("o-17"), Some(Some("o-17"))),
            (Proof::Certificate, None, Some("o-17"), Some(Some("o-17"))),
            (Proof::Token, None, None, Some(None)),
            (Proof::Signed { until: 1 }, Some("o-17"), None, Some(Some("o-17"))),
            (
                Proof::Signed { until: 1 },
                Some("o-17"),
                Some("o-17"),
                Some(Some("o-17")),
            ),
            (Proof::Signed { until: 1 }, None, None, Some(None)),
            (Proof::Signed { until: 1 }, Some("o-17"), Some("o-18"), None),
            (Proof::Signed { until: 1 }, None, Some("o-18"), None),
        ] {
            let caller = Identity {
                system: "desk".to_owned(),
                agency: None,
                roles: Roles::PARTNER,
                officer: signed.map(officer),
                officer_key: crate::OfficerKey::default(),
                proof,
            };
            let mut headers = HeaderMap::new();
            if let Some(said) = said {
                let said = data_encoding::BASE64.encode(said.as_bytes());
                headers.insert(OFFICER, said.parse().unwrap());
            }
            let acts = acting(&caller, &headers).ok();
            let expected = expected.map(|expected| expected.map(officer));
            assert_eq!(acts, expected, "{proof:?} {signed:?} {said:?}");
        }
    }
}
