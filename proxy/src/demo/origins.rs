//! The embedded origins: small servers that tell who they are and what they
//! were asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const NAMES: [&str; 3] = ["checkout-v1", "checkout-v2", "shadow"];
/// Requests that an origin remembers.
const REMEMBERED: usize = 1000;
const MAX_HEAD: u64 = 64 * 1024;
const IDLE: Duration = Duration::from_secs(90);

/// All of them, until the process ends.
pub struct Origins(Vec<Origin>);

struct Origin {
    name: &'static str,
    address: SocketAddr,
    seen: Seen,
}

/// Request heads, the newest last.
type Seen = Arc<Mutex<Vec<String>>>;

impl Origins {
    pub fn start() -> anyhow::Result<Self> {
        NAMES
            .into_iter()
            .map(Origin::start)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.0
            .iter()
            .map(|origin| (origin.name, origin.address))
            .collect()
    }

    /// Whether this origin was sent a request whose head has this text.
    pub fn has_seen(&self, name: &str, text: &str) -> bool {
        self.0
            .iter()
            .filter(|origin| origin.name == name)
            .any(|origin| locked(&origin.seen).iter().any(|head| head.contains(text)))
    }
}

impl Origin {
    fn start(name: &'static str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        let remembered = seen.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = remembered.clone();
                let serving = std::thread::Builder::new().spawn(move || serve(name, stream, &seen));
                if let Err(error) = serving {
                    tracing::warn!(%error, origin = name, "a connection of the demo is not served");
                }
            }
        })?;
        Ok(Self {
            name,
            address,
            seen,
        })
    }
}

/// One connection, one request after another, until it ends in any way.
fn serve(name: &str, stream: TcpStream, seen: &Seen) {
    stream.set_read_timeout(Some(IDLE)).ok();
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        if !skip_body(&head, &mut reader) {
            return;
        }
        let text = answer(name, &head);
        remember(seen, head);
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let left = MAX_HEAD.checked_sub(head.len() as u64)?;
        match reader.by_ref().take(left).read_line(&mut head) {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    Some(head)
}

/// The proxy in front gives bodies of known length as such; the demo's origins
/// take no others.
fn skip_body(head: &str, reader: &mut BufReader<TcpStream>) -> bool {
    if field(head, "transfer-encoding").is_some() {
        return false;
    }
    let length = field(head, "content-length")
        .and_then(|value| value.parse().ok())
        .unwrap_or(0);
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())
        .is_ok_and(|skipped| skipped == length)
}

fn answer(name: &str, head: &str) -> String {
    let request = head.lines().next().unwrap_or_default();
    let mut body = format!("{name}: {request}\n");
    if let Some(user) = field(head, "x-user") {
        body.push_str(&format!("x-user: {user}\n"));
    }
    let is_head = request.starts_with("HEAD ");
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-origin: {name}\r\ncontent-length: {}\r\n\r\n{}",
        body.len(),
        if is_head { "" } else { &body }
    )
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn remember(seen: &Seen, head: String) {
    let mut seen = locked(seen);
    if seen.len() == REMEMBERED {
        seen.remove(0);
    }
    seen.push(head);
}

fn locked(seen: &Seen) -> std::sync::MutexGuard<'_, Vec<String>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
