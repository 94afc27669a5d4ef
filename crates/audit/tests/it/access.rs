//! The table of access, against the contract and against a running server.

use rpc::Identity;
use testkit::{Backend, access::Attempt};

use crate::fixture::{Files, Served, callers};

#[test]
fn p7_every_method_of_the_contract_has_a_row_and_every_row_a_method() {
    assert_eq!(rpc::access::faults("remit.audit.v1", audit::ACCESS), [""; 0]);
}

#[tokio::test]
async fn p7_each_method_is_called_by_those_of_its_row_only() {
    let (backend, files) = (Backend::sqlite(), Files::new());
    let log = Served::start(files.config(backend.url())).await;
    let address = format!("http://{}", log.address);
    let mut attempts = Vec::new();
    for table in audit::ACCESS {
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
    assert_eq!(testkit::access::faults(&address, attempts).await, [""; 0]);
    log.stop().await;
}
