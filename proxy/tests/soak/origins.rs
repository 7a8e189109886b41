//! Origins that can be killed and come back on the same address.

use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use socket2::SockRef;

use crate::Stage;
use crate::support::{Seen, read_request, within};

/// So that kills find requests under way.
const SERVICE_MILLIS: std::ops::Range<u64> = 0..4;
const BETWEEN_KILLS: std::ops::Range<u64> = 200..1500;
const DOWN_MILLIS: std::ops::Range<u64> = 50..1500;

/// What an origin says to a request: clients know it beforehand.
pub fn said(method: &str, path: &str, mark: &str, body: &str) -> String {
    let number = path.rsplit('/').next().and_then(|id| id.parse().ok());
    let fill = "x".repeat(number.unwrap_or(0_usize) % 900);
    format!("{method} {path} mark={mark}\n{fill}{body}")
}

pub struct Cluster {
    endpoints: Vec<Endpoint>,
}

impl Cluster {
    /// Each endpoint is on a loopback address of its own. On 127.0.0.1 the port of a
    /// killed one might be taken for a connection of somebody else.
    pub fn start(last_parts: impl IntoIterator<Item = u8>) -> Self {
        let endpoints = last_parts.into_iter().map(Endpoint::start).collect();
        Self { endpoints }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoints
            .iter()
            .map(|endpoint| endpoint.address)
            .collect()
    }
}

/// Kills one after the other and lets it come back later; one is always up.
pub fn kill_on(stage: &Stage, cluster: &Cluster, mut rng: Rng) {
    let mut down: Vec<(usize, Instant)> = Vec::new();
    let mut next_kill = Instant::now();
    while stage.goes_on() {
        let now = Instant::now();
        down.retain(|(index, until)| {
            let is_due = *until <= now;
            if is_due {
                cluster.endpoints[*index].come_back();
            }
            !is_due
        });
        if next_kill <= now {
            next_kill = now + Duration::from_millis(rng.u64(BETWEEN_KILLS));
            let victim = rng.usize(..cluster.endpoints.len());
            let is_down = down.iter().any(|(index, _)| *index == victim);
            if !is_down && down.len() + 1 < cluster.endpoints.len() {
                cluster.endpoints[victim].kill();
                down.push((victim, now + Duration::from_millis(rng.u64(DOWN_MILLIS))));
                stage.ledger.killed();
            }
        }
        let returns = down.iter().map(|(_, until)| *until);
        stage.wait_until(returns.chain([next_kill]).min().unwrap_or(next_kill));
    }
}

pub struct Endpoint {
    address: SocketAddr,
    life: Mutex<Arc<Life>>,
}

/// From its start to its death.
struct Life {
    listener: TcpListener,
    is_over: AtomicBool,
    /// A place for each connection, empty once that has ended.
    connections: Mutex<Vec<Option<TcpStream>>>,
}

impl Endpoint {
    fn start(last_part: u8) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, last_part], 0))).unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            life: Mutex::new(Life::begin(listener)),
        }
    }

    /// What the system does when a process dies: nobody listens any more, and every
    /// connection ends where it is.
    fn kill(&self) {
        let life = self.life.lock().unwrap();
        life.is_over.store(true, SeqCst);
        SockRef::from(&life.listener)
            .shutdown(Shutdown::Both)
            .unwrap();
        for stream in life.connections.lock().unwrap().iter().flatten() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    fn come_back(&self) {
        // Sockets of the old life may still be on their way out.
        let listener = within("the port is free again", || {
            TcpListener::bind(self.address).ok()
        });
        *self.life.lock().unwrap() = Life::begin(listener);
    }
}

impl Life {
    fn begin(listener: TcpListener) -> Arc<Self> {
        let life = Arc::new(Self {
            listener,
            is_over: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = life.clone();
        std::thread::spawn(move || accepting.accept());
        life
    }

    fn accept(self: Arc<Self>) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nodelay(true).unwrap();
            let mut connections = self.connections.lock().unwrap();
            if self.is_over.load(SeqCst) {
                return;
            }
            let free = connections.iter().position(Option::is_none);
            let place = free.unwrap_or_else(|| {
                connections.push(None);
                connections.len() - 1
            });
            connections[place] = Some(stream.try_clone().unwrap());
            let life = self.clone();
            std::thread::spawn(move || life.serve(stream, place));
        }
    }

    fn serve(&self, stream: TcpStream, place: usize) {
        let mut rng = Rng::new();
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader) {
            std::thread::sleep(Duration::from_millis(rng.u64(SERVICE_MILLIS)));
            if reader.get_mut().write_all(&answer(&request)).is_err() {
                break;
            }
        }
        self.connections.lock().unwrap()[place] = None;
    }
}

fn answer(request: &Seen) -> Vec<u8> {
    let mut words = request.line.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mark = request.header("x-mark").unwrap_or("none");
    let body = String::from_utf8_lossy(&request.body);
    let text = said(method, path, mark, &body);
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}").into_bytes()
}
