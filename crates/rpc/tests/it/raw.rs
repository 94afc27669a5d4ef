//! HTTP/2 by hand: what no well-behaved client sends.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GO_AWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
const END_HEADERS: u8 = 4;

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
}

pub struct Raw(pub TcpStream);

impl Raw {
    /// A connection whose answers may have this many bytes unasked.
    pub async fn open(address: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let settings = [&[0, 4], &window.to_be_bytes()[..]].concat();
        let preface = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(SETTINGS, 0, 0, &settings),
        ]
        .concat();
        stream.write_all(&preface).await.unwrap();
        Self(stream)
    }

    /// Sends the headers of a call, and no body.
    pub async fn call(&mut self, stream: u32, path: &str, token: &str) {
        let mut block = Vec::new();
        let authorization = format!("Bearer {token}");
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "remit"),
            (":path", path),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("authorization", &authorization),
        ] {
            // Literals that are not indexed; all are short.
            block.extend([0, u8::try_from(name.len()).unwrap()]);
            block.extend(name.bytes());
            block.push(u8::try_from(value.len()).unwrap());
            block.extend(value.bytes());
        }
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        self.0.write_all(&headers).await.unwrap();
    }

    /// Sends the body of a call.
    pub async fn body(&mut self, stream: u32, message: &[u8], is_last: bool) {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let body = [&[0], &length[..], message].concat();
        self.0
            .write_all(&frame(0, u8::from(is_last), stream, &body))
            .await
            .unwrap();
    }

    /// The next frame, unless the connection has ended.
    pub async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind })
    }

    /// The first frame of these kinds, unless the connection has ended.
    pub async fn first(&mut self, kinds: &[u8]) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }
}
