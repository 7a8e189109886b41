//! An origin that can be broken: a process of its own, so that it can be killed and frozen.
//!
//! It says where it listens in its first line, and does what the lines that it reads tell.
//! It ends with whoever started it, since then there is nothing more to read.

use std::io::BufRead;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::console::{Exit, print};

/// What an answer takes.
pub const SERVICE: Duration = Duration::from_millis(20);
/// How much longer it takes when it is slow.
const SLOW: u32 = 20;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

/// What an origin is told, each in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Well,
    Slow,
    /// To listen no longer, and to close what is open.
    Refuse,
}

impl Order {
    pub fn line(self) -> &'static str {
        match self {
            Order::Well => "well\n",
            Order::Slow => "slow\n",
            Order::Refuse => "refuse\n",
        }
    }

    fn read(line: &str) -> Option<Self> {
        let all = [Order::Well, Order::Slow, Order::Refuse];
        all.into_iter().find(|order| order.line().trim() == line)
    }
}

/// Runs one until its input ends.
pub fn run(address: SocketAddr) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (orders, told) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines();
        let read = lines.map_while(Result::ok);
        for order in read.filter_map(|line| Order::read(&line)) {
            if orders.send(order).is_err() {
                return;
            }
        }
    });
    LocalSet::new().block_on(&runtime, serve(address, told))?;
    Ok(Exit::Good)
}

async fn serve(
    address: SocketAddr,
    mut told: mpsc::UnboundedReceiver<Order>,
) -> anyhow::Result<()> {
    let listen = async |address| {
        let listening = TcpListener::bind(address).await;
        listening.with_context(|| format!("cannot listen at {address}"))
    };
    let mut listener = Some(listen(address).await?);
    let address = listener
        .as_ref()
        .map_or(Ok(address), TcpListener::local_addr)?;
    print(&address.to_string())?;
    let (state, _) = watch::channel(Order::Well);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = told.recv() => {
                let Some(order) = order else { return Ok(()) };
                if order == Order::Refuse {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(listen(address).await?);
                }
                state.send_replace(order);
            }
            accepted = accepted => {
                if let Ok((stream, _)) = accepted {
                    tokio::task::spawn_local(connection(stream, state.subscribe()));
                }
            }
        }
    }
}

/// Until it ends in any way, or is to be refused.
async fn connection(stream: TcpStream, mut state: watch::Receiver<Order>) {
    let mut stream = BufReader::new(stream);
    let mut refused = state.clone();
    let mut line = String::new();
    let serving = async {
        loop {
            line.clear();
            match stream.read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) if line.trim_end().is_empty() => {}
                Ok(_) => continue,
            }
            let factor = match *state.borrow_and_update() {
                Order::Slow => SLOW,
                Order::Well | Order::Refuse => 1,
            };
            tokio::time::sleep(SERVICE * factor).await;
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = serving => {}
        _ = refused.wait_for(|order| *order == Order::Refuse) => {}
    }
}
