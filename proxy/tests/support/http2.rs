//! A client of HTTP/2, and one that writes frames as it likes.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};

use super::LIMIT;

/// Runs a test's tasks; none takes longer than `LIMIT`.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("in time") })
}

/// One connection, whose frames a task of its own reads and writes.
pub struct Http2 {
    pub send: SendRequest<Bytes>,
    /// Ends with the connection.
    pub connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(&mut h2::client::Builder::new(), address).await
    }

    pub async fn with(builder: &mut h2::client::Builder, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let (send, connection): (_, Connection<_, Bytes>) =
            builder.handshake(socket).await.unwrap();
        Self {
            send,
            connection: tokio::spawn(connection),
        }
    }

    /// Sends a request without a body.
    pub async fn ask(&mut self, request: http::request::Builder) -> Answer {
        let (answer, _) = self.open(request, true).await;
        answer.await.unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(get(path)).await
    }

    /// Sends a request's head; `ends` where no body follows.
    pub async fn open(
        &mut self,
        request: http::request::Builder,
        ends: bool,
    ) -> (
        impl Future<Output = Result<Answer, h2::Error>> + use<>,
        SendStream<Bytes>,
    ) {
        let request: Request<()> = request.body(()).unwrap();
        std::future::poll_fn(|context| self.send.poll_ready(context))
            .await
            .unwrap();
        let (response, body) = self.send.send_request(request, ends).unwrap();
        let answer = async move { Answer::read(response.await?).await };
        (answer, body)
    }
}

pub fn get(path: &str) -> http::request::Builder {
    Request::builder().uri(format!("http://test{path}"))
}

pub fn post(path: &str) -> http::request::Builder {
    get(path).method("POST")
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    async fn read(response: Response<RecvStream>) -> Result<Self, h2::Error> {
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = stream.data().await {
            let piece = piece?;
            stream.flow_control().release_capacity(piece.len())?;
            body.extend_from_slice(&piece);
        }
        Ok(Self {
            status: parts.status,
            headers: parts.headers,
            body,
            trailers: stream.trailers().await?,
        })
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends it as there is room, without its end.
pub async fn send(stream: &mut SendStream<Bytes>, mut body: &[u8]) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.unwrap().unwrap().min(body.len());
        let piece = Bytes::copy_from_slice(&body[..room]);
        stream.send_data(piece, false).unwrap();
        body = &body[room..];
    }
}

/// A frame as it is on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

impl RawFrame {
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            flags,
            stream,
            payload: payload.into(),
        }
    }

    /// The error code of a RST_STREAM or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// A connection whose frames nobody checks.
pub struct RawHttp2(TcpStream);

impl RawHttp2 {
    /// Sends the preface and empty settings.
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_behind(address, &[])
    }

    /// Sends `first` before.
    pub fn connect_behind(address: SocketAddr, first: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(first).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut raw = Self(stream);
        raw.send(&RawFrame::new(SETTINGS, 0, 0, []));
        raw
    }

    /// The peer may have closed already: what it says about it is read then.
    pub fn send(&mut self, frame: &RawFrame) -> bool {
        self.0.write_all(&frame.encode()).is_ok()
    }

    /// In one piece.
    pub fn send_together(&mut self, frames: &[RawFrame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(RawFrame::encode).collect();
        self.0.write_all(&bytes).unwrap();
    }

    /// What may be no frame at all.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// A peer that takes nothing more is as good as one that closed.
    pub fn set_write_timeout(&mut self) {
        let patience = std::time::Duration::from_secs(1);
        self.0.set_write_timeout(Some(patience)).unwrap();
    }

    /// A request's head in literal fields, which no table remembers.
    pub fn head(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) {
        self.send(&RawFrame::new(
            HEADERS,
            flags | END_HEADERS,
            stream,
            literals(fields),
        ));
    }

    /// A request for `/`.
    pub fn get(&mut self, stream: u32) {
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/"),
        ];
        self.head(stream, END_STREAM, &fields);
    }

    /// The next frame; `None` at the end of the connection.
    pub fn read(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        Some(RawFrame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
            payload,
        })
    }

    /// The next frame that ends a stream.
    pub fn read_end(&mut self) -> RawFrame {
        loop {
            let frame = self.read_one_of(&[HEADERS, DATA, RST_STREAM]).unwrap();
            if frame.kind == RST_STREAM || frame.flags & END_STREAM != 0 {
                return frame;
            }
        }
    }

    /// The next frame of one of these kinds; `None` at the end of the connection.
    pub fn read_one_of(&mut self, kinds: &[u8]) -> Option<RawFrame> {
        loop {
            let frame = self.read()?;
            if kinds.contains(&frame.kind) {
                return Some(frame);
            }
        }
    }
}

/// Fields in HPACK, each as a literal without indexing (RFC 7541 section 6.2.2).
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A string's length, which is not Huffman-coded, with a prefix of 7 bits.
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut left = length - 127;
    while left >= 128 {
        block.push((left % 128 + 128) as u8);
        left /= 128;
    }
    block.push(left as u8);
}
