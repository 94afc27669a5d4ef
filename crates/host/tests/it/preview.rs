//! What a preview says of a report is what its submission then does, for every shipped example.

use std::{collections::BTreeSet, time::Duration};

use api::{
    intake::{PreviewedPart, ReportState, SubmitReportRequest, intake_service_client::IntakeServiceClient},
    routing::{
        ExplainRouteRequest, GetCaseRequest, ListCasesRequest, LoadMode, LoadOperatorsRequest, OperatorFormat,
        OperatorsSpec, case_service_client::CaseServiceClient, load_operators_request::Part,
        operator_service_client::OperatorServiceClient, rule_set_service_client::RuleSetServiceClient,
    },
};
use decision::directory::{AgencyId, Directory};
use host::{config::Service, instance::Instance, running::Options};
use intake::{category::Categories, directory::Known, submission};
use journal::{Clock as _, SystemClock};
use serde::Deserialize;

use crate::instance::{Found, channel, check, config};

#[derive(Deserialize)]
struct Index {
    examples: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    file: String,
    sender: String,
}

/// Who leads or designates, and who supports.
type Answer = (String, String, BTreeSet<String>);

fn example(file: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples");
    std::fs::read_to_string(format!("{folder}/{file}")).unwrap()
}

async fn load_operators(instance: &Found) {
    let csv = example("operators.csv");
    let spec = OperatorsSpec {
        format: OperatorFormat::Csv.into(),
        mode: LoadMode::Replace.into(),
        size_bytes: i64::try_from(csv.len()).unwrap(),
        ..OperatorsSpec::default()
    };
    let parts = [Part::Spec(spec), Part::Data(csv.into())].map(|part| LoadOperatorsRequest { part: Some(part) });
    let mut operators = OperatorServiceClient::new(channel(instance, Service::Routing, "operator"));
    let mut answers = operators
        .load_operators(tokio_stream::iter(parts))
        .await
        .unwrap()
        .into_inner();
    let mut loaded = false;
    while let Some(answer) = answers.message().await.unwrap() {
        assert!(answer.problems.is_empty(), "{:?}", answer.problems);
        loaded |= answer.result.is_some();
    }
    assert!(loaded);
}

/// The facts of a report and its subjects, as intake sends them.
fn explained(request: SubmitReportRequest, sender: &str, with_subjects: bool) -> ExplainRouteRequest {
    let directory = Directory::shipped();
    let agencies = directory.agencies().map(|agency| agency.id.to_string()).collect();
    let known = Known::only(directory.territories().clone(), agencies);
    let (categories, sender) = (Categories::shipped().unwrap(), AgencyId::new(sender).unwrap());
    let submission = submission::check(request, &categories, &known, Some(&sender), SystemClock.now()).unwrap();
    ExplainRouteRequest {
        facts: Some(submission.facts),
        subjects: if with_subjects { submission.subjects } else { Vec::new() },
        ..ExplainRouteRequest::default()
    }
}

/// Submits a report, and returns the answer of its case.
async fn act(instance: &Found, request: SubmitReportRequest, sender: &str) -> Answer {
    let mut intake = IntakeServiceClient::new(channel(instance, Service::Intake, sender));
    let submitted = intake.submit_report(request).await.unwrap().into_inner();
    assert_eq!(submitted.preview, None);
    let name = submitted.report.unwrap().name;
    let routed = async {
        loop {
            let answer = check(instance, &submitted.receipt).await;
            if answer.state() != ReportState::Accepted {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), routed).await.unwrap();
    let mut cases = CaseServiceClient::new(channel(instance, Service::Routing, "operator"));
    let all = cases
        .list_cases(ListCasesRequest::default())
        .await
        .unwrap()
        .into_inner()
        .cases;
    let case = all.into_iter().find(|case| case.reports.contains(&name)).unwrap();
    let request = GetCaseRequest { name: case.name };
    let case = cases
        .get_case(request)
        .await
        .unwrap()
        .into_inner()
        .current_case
        .unwrap();
    (case.lead, String::new(), case.supporting.into_iter().collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p7_a_preview_says_what_submission_then_does() {
    let folder = tempfile::tempdir().unwrap();
    let instance = Instance::start(Options::new(config(folder.path()))).await.unwrap();
    let found = Found::from(&instance);
    load_operators(&found).await;
    let index: Index = serde_saphyr::from_str(&example("index.yaml")).unwrap();
    let mut differ_without_register = 0;
    for Example { file, sender } in &index.examples {
        let mut request: SubmitReportRequest = rpc::json::parse(&example(file)).unwrap();
        // Some examples repeat a request id.
        request.request_id.clear();
        let mut intake = IntakeServiceClient::new(channel(&found, Service::Intake, sender));
        let only = SubmitReportRequest {
            validate_only: true,
            ..request.clone()
        };
        let previewed = intake.submit_report(only).await.unwrap().into_inner();
        assert_eq!((previewed.report, previewed.receipt.as_str()), (None, ""), "{file}");
        let preview = previewed.preview.unwrap();
        // The police desk that this one complains of submits it.
        assert_eq!(preview.withheld, file == "09-official.json", "{file}");
        if preview.withheld {
            assert!(preview.parties.is_empty() && preview.advice.is_none(), "{file}");
            act(&found, request, sender).await;
            continue;
        }
        let of = |part: PreviewedPart| {
            let parties = preview.parties.iter().filter(move |party| party.part() == part);
            parties.map(|party| party.agency.clone())
        };
        let lead = of(PreviewedPart::Lead).next().unwrap_or_default();
        let designating = of(PreviewedPart::Designating).next().unwrap_or_default();
        let answer: Answer = (lead, designating, of(PreviewedPart::Supporting).collect());
        for party in &preview.parties {
            let content = party.part() == PreviewedPart::Lead;
            assert_eq!(party.sees_content, content, "{file}: {party:?}");
            assert_eq!(party.agency_titles.len(), 2, "{file}: {party:?}");
        }

        let mut rules = RuleSetServiceClient::new(channel(&found, Service::Routing, "operator"));
        let mut explain = async |with_subjects| {
            let request = explained(request.clone(), sender, with_subjects);
            let decision = rules
                .explain_route(request)
                .await
                .unwrap()
                .into_inner()
                .decision
                .unwrap();
            let supporting = decision.explanation.unwrap().supporting;
            let supporting = supporting.into_iter().map(|support| support.agency).collect();
            (decision.lead, decision.designating, supporting)
        };
        let explanation: Answer = explain(true).await;
        differ_without_register += usize::from(explain(false).await != explanation);
        assert_eq!(explanation, answer, "{file}: explained and previewed");

        let acted = act(&found, request.clone(), sender).await;
        assert_eq!(acted, answer, "{file}: submitted and previewed");
        // The second time, there is an open case of the same subjects: nothing of it shows.
        let only = SubmitReportRequest {
            validate_only: true,
            ..request
        };
        let again = intake.submit_report(only).await.unwrap().into_inner().preview;
        assert_eq!(again, Some(preview), "{file}");
    }
    assert!(
        differ_without_register > 0,
        "no example needs the register: this shows nothing"
    );

    // A sender that is excluded itself is told no more than that.
    let mut request: SubmitReportRequest = rpc::json::parse(&example("04-gambling.json")).unwrap();
    request.validate_only = true;
    request.request_id.clear();
    for keep_from in ["agencies/police-440000", "agencies/police-CN"] {
        request.report.as_mut().unwrap().keep_from = vec![keep_from.to_owned()];
        let mut intake = IntakeServiceClient::new(channel(&found, Service::Intake, "police-440000"));
        let preview = intake
            .submit_report(request.clone())
            .await
            .unwrap()
            .into_inner()
            .preview
            .unwrap();
        assert!(
            preview.withheld && preview.parties.is_empty() && preview.advice.is_none(),
            "{preview:?}"
        );
    }
    // To others it shows that the unit has no part.
    request.report.as_mut().unwrap().keep_from = vec!["agencies/police-450100".to_owned()];
    let mut intake = IntakeServiceClient::new(channel(&found, Service::Intake, "police-440000"));
    let preview = intake
        .submit_report(request)
        .await
        .unwrap()
        .into_inner()
        .preview
        .unwrap();
    assert!(!preview.parties.is_empty());
    assert!(
        preview
            .parties
            .iter()
            .all(|party| party.agency != "agencies/police-450100"),
        "{preview:?}"
    );
    instance.stop().await;
}
