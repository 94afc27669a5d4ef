//! The table of access, against the contract and against a running server.

use rpc::Identity;
use testkit::{Backend, access::Attempt};

use crate::service::{Running, callers};

#[test]
fn p7_every_method_of_the_contract_has_a_row_and_every_row_a_method() {
    assert_eq!(rpc::access::faults("remit.routing.v1", routing::ACCESS), [""; 0]);
}

#[tokio::test]
async fn p7_each_method_is_called_by_those_of_its_row_only() {
    let running = Running::start(Backend::sqlite()).await;
    let mut attempts = Vec::new();
    for table in routing::ACCESS {
        for method in table.methods {
            let attempt = |who: &str, token, caller: Option<&Identity>| Attempt {
                path: format!("/{}/{}", table.service, method.name),
                who: who.to_owned(),
                token,
                admitted: method.admits(caller),
            };
            attempts.push(attempt("nobody", None, None));
            for (caller, token) in callers() {
                attempts.push(attempt(&caller.system, Some(token), Some(&caller)));
            }
        }
    }
    assert_eq!(testkit::access::faults(&running.address, attempts).await, [""; 0]);
    running.finish().await;
}
