//! Attacks, and what they leave to others. Each runs once here, and for as many seconds as
//! `REMIT_ATTACK_SECONDS` says.

use std::time::{Duration, Instant};

use api::{
    audit::{AppendBatchesRequest, AppendChangesRequest},
    event::StateChange,
};
use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::Message as _;
use rpc::Limits;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use crate::{
    fixture::{APPEND_BATCHES, APPEND_CHANGES, Served, serve, token},
    raw::{self, DATA, GO_AWAY, PING, PRIORITY, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE},
};

/// Whether an attack that began then goes on; it is never cut short of one round.
fn goes_on(begun: Instant) -> bool {
    let seconds = std::env::var("REMIT_ATTACK_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    seconds.is_some_and(|seconds| begun.elapsed() < Duration::from_secs(seconds))
}

/// Resident memory of this process, in MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes >> 10
}

/// How much more memory than at its beginning an attack takes at any time.
async fn memory_of<T>(attack: impl Future<Output = T>) -> (u64, T) {
    let before = resident();
    let mut attack = std::pin::pin!(attack);
    let mut most = before;
    loop {
        tokio::select! {
            done = attack.as_mut() => return (most.max(resident()) - before, done),
            () = tokio::time::sleep(Duration::from_millis(5)) => most = most.max(resident()),
        }
    }
}

/// A call with this body, framed as gRPC's.
fn request(address: &Served, path: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("http://{}{path}", address.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], message].concat().into()
}

/// The status of a call's answer, wherever it stands.
async fn status<B>(answer: http::Response<B>) -> Status
where
    B: http_body::Body<Error: std::error::Error + Send + Sync + 'static>,
{
    if let Some(status) = Status::from_header_map(answer.headers()) {
        return status;
    }
    let trailers = answer.into_body().collect().await.map(|body| body.trailers().cloned());
    match trailers {
        Ok(Some(trailers)) => Status::from_header_map(&trailers).unwrap(),
        Ok(None) => Status::unknown("no status"),
        Err(error) => Status::from_error(Box::new(error)),
    }
}

fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}

/// Calls of an honest caller, one after the other, while others attack: they are answered, and soon.
async fn is_served(served: &Served, system: &str) {
    for _ in 0..20 {
        let begun = Instant::now();
        served.call(system).await.unwrap();
        // Far above what a call takes, far below any wait for a timer of the server's.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

/// 128 calls of four megabytes of empty items: decoded, each would take more than a hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_items_take_little_memory_and_are_refused() {
    let served = serve(Limits::default()).await;
    is_served(&served, "h").await;
    let body = framed(&[0x0a, 0].repeat((4 << 20) / 2 - 16));
    let begun = Instant::now();
    loop {
        let calls = (0..128).map(|number| {
            let channel = served.channel(["a", "b", "c", "d"][number % 4]);
            let request = request(&served, APPEND_CHANGES, Body::new(Full::new(body.clone())));
            async move { status(channel.oneshot(request).await.unwrap()).await }
        });
        let (took, answers) = memory_of(join_all(calls)).await;
        assert!(took <= 50, "{took} MiB");
        for answer in answers {
            let reason = reason(&answer);
            assert!(
                ["OVERLOADED", "MESSAGE_TOO_LARGE"].contains(&reason.as_str()),
                "{answer:?}"
            );
            assert_eq!(
                reason == "OVERLOADED",
                answer.get_details_retry_info().is_some(),
                "{answer:?}"
            );
        }
        is_served(&served, "h").await;
        if !goes_on(begun) {
            break;
        }
    }
}

/// Messages that are held while another service is asked are counted until they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_messages_are_bounded_in_all_and_for_one() {
    let served = serve(Limits::default()).await;
    is_served(&served, "h").await;
    let message = AppendChangesRequest {
        changes: vec![StateChange {
            entry: vec![7; 3 << 20].into(),
            ..Default::default()
        }],
    };
    let body = framed(&message.encode_to_vec());
    let calls = (0..64).map(|number| {
        let channel = served.channel(["a", "b", "c", "d", "e", "f", "g"][number % 7]);
        let request = request(&served, APPEND_CHANGES, Body::new(Full::new(body.clone())));
        async move { status(channel.oneshot(request).await.unwrap()).await }
    });
    let attack = async {
        let mut answers: stream::FuturesUnordered<_> = calls.collect();
        let mut refused = 0;
        // All but those that wait.
        while let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(2), answers.next()).await {
            assert_eq!(reason(&answer), "OVERLOADED", "{answer:?}");
            refused += 1;
        }
        let held = answers.len();
        is_served(&served, "h").await;
        served.gate.add_permits(1_000);
        while let Some(answer) = answers.next().await {
            assert_eq!(answer.code(), Code::Ok, "{answer:?}");
        }
        (held, refused)
    };
    let (took, (held, refused)) = memory_of(attack).await;
    // Of three megabytes each, three of one caller, and ten in all.
    assert!((1..=10).contains(&held), "{held}");
    assert_eq!(held + refused, 64);
    assert!(took <= 50, "{took} MiB");
}

/// Five connections with 255 calls each of which nothing comes but headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_a_body_take_their_callers_share_and_no_more() {
    let served = serve(Limits::default()).await;
    let begun = Instant::now();
    loop {
        let mut open = Vec::new();
        for _ in 0..5 {
            let mut raw = Raw::open(served.address, 65_535).await;
            for number in 0..255 {
                raw.call(2 * number + 1, APPEND_CHANGES, &token("a")).await;
            }
            open.push(raw);
        }
        // The share is taken.
        let refused = loop {
            match served.call("a").await {
                Ok(()) => tokio::task::yield_now().await,
                Err(status) => break status,
            }
        };
        assert_eq!(reason(&refused), "OVERLOADED");
        assert!(refused.get_details_retry_info().is_some());
        is_served(&served, "b").await;
        is_served(&served, "routing").await;
        // When they end, it is free again.
        drop(open);
        while served.call("a").await.is_err() {
            tokio::task::yield_now().await;
        }
        if !goes_on(begun) {
            break;
        }
    }
}

/// Senders of a byte now and then, and readers of none, are cut, and their share is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dripping_senders_and_readers_of_nothing_are_cut() {
    let limits = Limits {
        body_wait: Duration::from_millis(300),
        stall: Duration::from_millis(300),
        concurrency_per_caller: 8,
        streams_per_caller: 8,
        ..Limits::default()
    };
    let served = serve(limits).await;
    let dripping = (0..8).map(|_| {
        // A thousand bytes are announced, one by one.
        let drops = stream::unfold(0, |sent| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let byte = [0, 0, 0, 3, 232].get(sent).copied().unwrap_or(7);
            let drop = http_body::Frame::data(Bytes::from(vec![byte]));
            Some((Ok::<_, Status>(drop), sent + 1))
        });
        let request = request(&served, APPEND_CHANGES, Body::new(StreamBody::new(drops)));
        let channel = served.channel("a");
        async move { status(channel.oneshot(request).await.unwrap()).await }
    });
    let begun = Instant::now();
    for answer in join_all(dripping).await {
        assert_eq!(answer.code(), Code::DeadlineExceeded, "{answer:?}");
        assert_eq!(reason(&answer), "DEADLINE_EXCEEDED");
    }
    assert!(begun.elapsed() < limits.deadline / 2, "{:?}", begun.elapsed());
    served.call("a").await.unwrap();

    served.gate.add_permits(1_000);
    let mut raw = Raw::open(served.address, 0).await;
    for number in 0..8 {
        let stream = 2 * number + 1;
        raw.call(stream, APPEND_CHANGES, &token("a")).await;
        raw.body(stream, &[], true).await;
    }
    let mut reset = 0;
    while reset < 8 {
        let frame = raw.first(&[RST_STREAM, GO_AWAY]).await.expect("only the streams end");
        assert_eq!(frame.kind, RST_STREAM);
        reset += 1;
    }
    served.call("a").await.unwrap();
}

/// Readers with a window of one byte, whose answers HTTP/2 has whole and cannot send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_one_byte_keep_their_share_until_their_connection_ends() {
    let served = serve(Limits {
        stall: Duration::from_secs(3),
        concurrency_per_caller: 8,
        ..Limits::default()
    })
    .await;
    served.gate.add_permits(1_000);
    let mut raw = Raw::open(served.address, 1).await;
    for number in 0..8 {
        let stream = 2 * number + 1;
        raw.call(stream, APPEND_CHANGES, &token("a")).await;
        raw.body(stream, &[], true).await;
    }
    // A byte of each has come, and its end is all that is missing.
    for _ in 0..8 {
        raw.first(&[DATA]).await.expect("its first byte");
    }
    for _ in 0..10 {
        assert_eq!(reason(&served.call("a").await.unwrap_err()), "OVERLOADED");
    }
    is_served(&served, "b").await;
    assert!(raw.first(&[RST_STREAM]).await.is_none(), "the connection ends");
    while served.call("a").await.is_err() {
        tokio::task::yield_now().await;
    }
}

const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Whatever strangers have taken, and however many probes wait on other connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_whatever_others_have_taken() {
    let served = serve(Limits {
        // A stranger's share is one byte.
        in_flight_bytes: 16,
        concurrency: 16,
        ..Limits::default()
    })
    .await;
    let probe = async || {
        let request = request(&served, CHECK, Body::new(Full::new(framed(&[]))));
        status(served.channel("b").oneshot(request).await.unwrap()).await
    };
    let mut raw = Raw::open(served.address, 65_535).await;
    for number in 0..255 {
        raw.call(2 * number + 1, CHECK, &token("a")).await;
    }
    assert_eq!(probe().await.code(), Code::Ok);
    // Those beyond the fourth are refused, and the others are not waited for.
    for _ in 0..255 {
        raw.first(&[raw::HEADERS]).await.expect("each is answered");
    }
    let long = request(&served, CHECK, Body::new(Full::new(framed(&[0; 2_000]))));
    let long = status(served.channel("b").oneshot(long).await.unwrap()).await;
    assert_eq!(reason(&long), "INVALID_INPUT", "{long:?}");

    let channel = served.channel("b");
    let silent = (0..8).map(|_| {
        let request = request(
            &served,
            CHECK,
            Body::new(StreamBody::new(stream::pending::<
                Result<http_body::Frame<Bytes>, Status>,
            >())),
        );
        let channel = channel.clone();
        async move { reason(&status(channel.oneshot(request).await.unwrap()).await) }
    });
    let mut reasons = join_all(silent).await;
    reasons.sort();
    let (late, refused) = reasons.split_at(4);
    assert!(late.iter().all(|reason| reason == "DEADLINE_EXCEEDED"), "{reasons:?}");
    assert!(refused.iter().all(|reason| reason == "OVERLOADED"), "{reasons:?}");
}

/// Frames that carry nothing end their connection, and nobody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_end_their_connection() {
    use tokio::io::AsyncWriteExt as _;
    let served = serve(Limits::default()).await;
    let begun = Instant::now();
    loop {
        for flood in [
            raw::frame(PING, 0, 0, &[0; 8]),
            raw::frame(SETTINGS, 0, 0, &[]),
            raw::frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
            raw::frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
            raw::frame(0xfa, 0, 0, &[]),
        ] {
            let raw = Raw::open(served.address, 65_535).await;
            let (mut from, mut to) = raw.0.into_split();
            // Read, as an attacker does who wants answers; what comes last may be lost with the
            // connection.
            let answers = tokio::spawn(async move { tokio::io::copy(&mut from, &mut tokio::io::sink()).await });
            let many = flood.repeat(100);
            let mut sent = 0;
            while to.write_all(&many).await.is_ok() {
                sent += 100;
                assert!(sent < 1_000_000, "{flood:?} goes on");
            }
            let _ = answers.await.unwrap();
            is_served(&served, "b").await;
        }
        if !goes_on(begun) {
            break;
        }
    }
}

/// More connections than there may be, on which nobody calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_room_for_callers() {
    let limits = Limits::default().with_connections(100);
    let served = serve(limits).await;
    let begun = Instant::now();
    loop {
        let known = served.client("b");
        known
            .clone()
            .record_mark(api::audit::RecordMarkRequest::default())
            .await
            .unwrap();
        let mut idle = Vec::new();
        for _ in 0..300 {
            idle.push(tokio::net::TcpStream::connect(served.address).await.unwrap());
        }
        // One that somebody calls on stays.
        known
            .clone()
            .record_mark(api::audit::RecordMarkRequest::default())
            .await
            .unwrap();
        is_served(&served, "c").await;
        is_served(&served, "routing").await;
        if !goes_on(begun) {
            break;
        }
    }
}

/// One caller's connections are no reason to refuse another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_callers_connections_are_bounded() {
    let served = serve(Limits::default().with_connections(40)).await;
    let mut kept = Vec::new();
    let mut refused = 0;
    for _ in 0..30 {
        let client = served.client("a");
        let answer = client
            .clone()
            .record_mark(api::audit::RecordMarkRequest::default())
            .await;
        refused += u32::from(answer.is_err());
        kept.push(client);
    }
    assert_eq!(refused, 20, "a quarter of 40 are its own");
    is_served(&served, "b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_idle_and_old_connections_end() {
    let short = Duration::from_millis(200);
    let served = serve(Limits {
        handshake: short,
        ..Limits::default()
    })
    .await;
    let mut silent = Raw(tokio::net::TcpStream::connect(served.address).await.unwrap());
    // It is greeted, and that is all.
    while silent.next().await.is_some() {}
    for limits in [
        Limits {
            connection_idle: short,
            ..Limits::default()
        },
        Limits {
            connection_age: short,
            ..Limits::default()
        },
    ] {
        let served = serve(limits).await;
        let mut raw = Raw::open(served.address, 65_535).await;
        assert!(raw.first(&[GO_AWAY]).await.is_some(), "in order");
        // A client notices, and calls on another. What it was about to send meanwhile was not sent,
        // and it says so.
        let client = served.client("a");
        for _ in 0..4 {
            let call = async || {
                client
                    .clone()
                    .record_mark(api::audit::RecordMarkRequest::default())
                    .await
            };
            if let Err(status) = call().await {
                assert!(
                    [Code::Cancelled, Code::Unavailable].contains(&status.code()),
                    "{status:?}"
                );
                call().await.unwrap();
            }
            tokio::time::sleep(short * 3 / 2).await;
        }
    }
}

/// Streams count for their whole life, and a bound on age ends them with a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_are_bounded_and_end_at_their_age() {
    let served = serve(Limits {
        streams_per_caller: 4,
        stream: Duration::from_secs(1),
        ..Limits::default()
    })
    .await;
    let open = async |system| {
        let silent = stream::pending::<AppendBatchesRequest>();
        served.client(system).append_batches(silent).await
    };
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(open("a").await.unwrap().into_inner());
    }
    let refused = open("a").await.unwrap_err();
    assert_eq!(reason(&refused), "OVERLOADED");
    let others = open("b").await.unwrap();
    let mut own = open("routing").await.unwrap().into_inner();
    for mut stream in streams {
        let ended = stream.message().await.unwrap_err();
        assert_eq!(
            (ended.code(), reason(&ended).as_str()),
            (Code::Unavailable, "UNAVAILABLE")
        );
        assert!(ended.get_details_retry_info().is_some());
    }
    drop(others);
    open("a").await.unwrap();
    let still = tokio::time::timeout(Duration::from_millis(500), own.message()).await;
    assert!(still.is_err(), "those of our services go on");
}

/// Headers of a stream without a body keep a share of streams only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_streams_leaves_calls_alone() {
    let served = serve(Limits::default()).await;
    let mut raw = Raw::open(served.address, 65_535).await;
    for number in 0..255 {
        raw.call(2 * number + 1, APPEND_BATCHES, &token("a")).await;
    }
    is_served(&served, "a").await;
    is_served(&served, "routing").await;
}
