//! Load: callers that send a request, wait for the answer, and repeat.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::intake::{
    Report, Subject, SubjectKind, SubmitReportRequest, intake_service_client::IntakeServiceClient, place::Location,
};
use hdrhistogram::Histogram;
use journal::{Clock as _, SystemClock, SystemEntropy, ordered_id, random_id};
use rpc::client::Caller;
use tokio::task::JoinSet;

/// Connections shared by the callers.
const CONNECTIONS: usize = 4;

/// Results of a load run.
pub struct Measured {
    /// Answers per second.
    pub rate: f64,
    /// Time to the answer, in microseconds.
    pub latency: Histogram<u64>,
}

impl Measured {
    pub fn line(&self) -> String {
        let ms = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        format!(
            "{:>7.0}/s   p50 {:>6.2} ms   p99 {:>6.2} ms",
            self.rate,
            ms(0.5),
            ms(0.99)
        )
    }
}

/// A report of about one kibibyte, of typical content.
pub fn report() -> SubmitReportRequest {
    let report = Report {
        category: "categories/gambling".to_owned(),
        subjects: vec![Subject {
            kind: SubjectKind::Url.into(),
            value: "https://bet.example/lobby?room=17".to_owned(),
            platform: String::new(),
            ..Default::default()
        }],
        places: vec![
            api::intake::Place {
                factor: 1,
                location: Some(Location::Territory("territories/450100".to_owned())),
            },
            api::intake::Place {
                factor: 2,
                location: Some(Location::Territory("territories/440600".to_owned())),
            },
        ],
        narrative: "有人在这个网站上组织赌博，注册后可以直接充值下注，客服会发提现教程。".repeat(8),
        language_code: "zh-CN".to_owned(),
        ..Report::default()
    };
    SubmitReportRequest {
        report: Some(report),
        ..SubmitReportRequest::default()
    }
}

/// A request id as the contract recommends.
pub fn ordered_request_id() -> String {
    ordered_id(SystemClock.now(), &SystemEntropy).to_string()
}

/// A random request id, with no locality.
pub fn random_request_id() -> String {
    random_id(&SystemEntropy).to_string()
}

/// Submits reports from `callers` callers for `duration`, each with a request id, as partners do.
pub async fn submit(
    address: &str,
    token: &str,
    callers: usize,
    duration: Duration,
    request_id: fn() -> String,
) -> anyhow::Result<Measured> {
    let clients: Vec<IntakeServiceClient<Caller>> = (0..CONNECTIONS)
        .map(|_| Ok(IntakeServiceClient::new(rpc::client::connect(address, token, None)?)))
        .collect::<anyhow::Result<_>>()?;
    // Connect before the clock starts.
    for client in &clients {
        client.clone().submit_report(report()).await?;
    }
    let message = Arc::new(report());
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let mut client = clients[caller % CONNECTIONS].clone();
        let message = Arc::clone(&message);
        tasks.spawn(async move {
            let mut latency = Histogram::<u64>::new(3)?;
            while started.elapsed() < duration {
                let mut request = SubmitReportRequest::clone(&message);
                request.request_id = request_id();
                let asked = Instant::now();
                client.submit_report(request).await?;
                latency.record(u64::try_from(asked.elapsed().as_micros())?)?;
            }
            anyhow::Ok(latency)
        });
    }
    let mut latency = Histogram::<u64>::new(3)?;
    while let Some(task) = tasks.join_next().await {
        latency.add(task??)?;
    }
    Ok(Measured {
        rate: latency.len() as f64 / started.elapsed().as_secs_f64(),
        latency,
    })
}
