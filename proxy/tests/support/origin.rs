//! An origin that answers as it is told, and remembers what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use socket2::{Domain, Socket, Type};

use super::LIMIT;

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a field, line by line.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(known, _)| known == name);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// What a scripted origin has to report that is no request.
    pub fn named(what: &str) -> Self {
        Self {
            line: what.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }
}

pub struct Origin {
    pub address: SocketAddr,
    seen: Mutex<Receiver<Seen>>,
}

impl Origin {
    /// Answers every request by `answer`, which gives the bytes to send.
    pub fn start(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::scripted(move |stream, seen| {
            let mut reader = BufReader::new(stream);
            while let Some(request) = read_request(&mut reader) {
                let bytes = answer(&request);
                seen.send(request).ok();
                if reader.get_mut().write_all(&bytes).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers 200 with `text`.
    pub fn saying(text: &str) -> Self {
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        Self::start(move |_| answer.clone().into_bytes())
    }

    /// Answers 200 with `text`, a request for `/held` only once it is released.
    pub fn holding(text: &str) -> (Self, Sender<()>) {
        let (release, gate) = channel();
        let gate = Mutex::new(gate);
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        let origin = Self::scripted(move |stream, seen| {
            let mut reader = BufReader::new(stream);
            while let Some(request) = read_request(&mut reader) {
                let is_held = request.line.contains(" /held ");
                seen.send(request).ok();
                if is_held {
                    gate.lock().unwrap().recv_timeout(LIMIT).ok();
                }
                if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        (origin, release)
    }

    /// Gives every connection to `serve`.
    pub fn scripted(serve: impl Fn(TcpStream, Sender<Seen>) + Send + Sync + 'static) -> Self {
        Self::listening(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
    }

    /// The same where `listener` is bound.
    pub fn listening(
        listener: TcpListener,
        serve: impl Fn(TcpStream, Sender<Seen>) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let serve = Arc::new(serve);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                stream.set_read_timeout(Some(LIMIT)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (serve, sender) = (serve.clone(), sender.clone());
                std::thread::spawn(move || serve(stream, sender));
            }
        });
        Self {
            address,
            seen: Mutex::new(seen),
        }
    }

    /// The next request that arrived.
    pub fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap()
            .recv_timeout(LIMIT)
            .expect("a request arrives")
    }

    /// A request that has arrived already.
    pub fn seen_now(&self) -> Option<Seen> {
        self.seen.lock().unwrap().try_recv().ok()
    }
}

/// `None` at the end of the connection.
pub fn read_request(reader: &mut impl BufRead) -> Option<Seen> {
    let line = read_line(reader)?;
    let headers = read_fields(reader)?;
    let mut seen = Seen {
        line,
        body: Vec::new(),
        trailers: Vec::new(),
        headers,
    };
    if let Some(length) = seen.header("content-length") {
        seen.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut seen.body).ok()?;
    } else if seen.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(reader)?, 16).unwrap();
            if size == 0 {
                seen.trailers = read_fields(reader)?;
                break;
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            seen.body.extend_from_slice(&chunk[..size]);
        }
    }
    Some(seen)
}

/// A request's head only; `None` at the end of the connection.
pub fn read_head(reader: &mut impl BufRead) -> Option<Seen> {
    let line = read_line(reader)?;
    let headers = read_fields(reader)?;
    Some(Seen {
        headers,
        ..Seen::named(&line)
    })
}

/// What has come; nothing at the end of the connection, however it ended.
pub fn read_some(reader: &mut impl BufRead) -> Vec<u8> {
    let bytes = reader.fill_buf().map(<[u8]>::to_vec).unwrap_or_default();
    reader.consume(bytes.len());
    bytes
}

fn read_fields(reader: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(':').unwrap();
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let text = line.strip_suffix(b"\r\n")?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// An address that refuses connections. The port is bound for as long as the process of the
/// tests runs, so that nobody else listens on it meanwhile.
pub fn refusing() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}
