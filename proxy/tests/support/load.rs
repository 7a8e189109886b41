//! Clients that ask without a pause while something happens.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::{Client, within};

const CLIENTS: usize = 3;

/// What is expected of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// Each has some requests, because both are to survive.
    Kept,
    /// An answer may say that it is the last. One client has a connection for each
    /// request.
    MayEnd,
}

/// Clients that go on asking, and what became of it.
pub struct Load {
    over: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(address: SocketAddr, connections: Connections) -> Self {
        let (over, good) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let client = |number| {
            let (over, good) = (over.clone(), good.clone());
            std::thread::spawn(move || ask_until(&over, &good, address, connections, number))
        };
        let clients = (0..CLIENTS).map(client).collect();
        let load = Self {
            over,
            good,
            clients,
        };
        within("there is load", || {
            (load.good.load(Ordering::Relaxed) > 0).then_some(())
        });
        load
    }

    pub fn stop(self) -> (u64, Vec<String>) {
        self.over.store(true, Ordering::Relaxed);
        let lost = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        let lost = lost.collect();
        (self.good.load(Ordering::Relaxed), lost)
    }
}

fn ask_until(
    over: &AtomicBool,
    good: &AtomicU64,
    address: SocketAddr,
    connections: Connections,
    number: usize,
) -> Vec<String> {
    let mut lost = Vec::new();
    let requests = match (connections, number) {
        (Connections::MayEnd, 0) => 1,
        _ => 100,
    };
    while !over.load(Ordering::Relaxed) {
        let connection = AssertUnwindSafe(|| {
            let mut client = Client::connect(address);
            for _ in 0..requests {
                client.send("GET / HTTP/1.1\r\nhost: test\r\nx-api-key: secret-key-a\r\n\r\n");
                let answer = client.answer();
                assert_eq!((answer.status, &*answer.text()), (200, "body"));
                good.fetch_add(1, Ordering::Relaxed);
                if connections == Connections::MayEnd && answer.header("connection").is_some() {
                    break;
                }
            }
        });
        if let Err(panic) = catch_unwind(connection) {
            let told = panic.downcast_ref::<String>().cloned();
            lost.push(told.unwrap_or_else(|| "no answer".to_owned()));
        }
    }
    lost
}
