//! Load that does not wait for answers: so many requests a second, whoever is slow.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};

/// A client's patience.
const PATIENCE: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: drill\r\n\r\n";

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was to be sent, since the load began.
    pub at: Duration,
    /// From then on to the answer's last byte: what waits to be sent waits.
    pub took: Duration,
    /// The answer's status; `None` without an answer.
    pub status: Option<u16>,
}

impl Sample {
    pub fn is_good(&self) -> bool {
        self.status == Some(200)
    }
}

/// Blocks until the last answer is there, or given up.
pub fn run(proxy: SocketAddr, rate: u32, length: Duration) -> io::Result<Vec<Sample>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(LocalSet::new().block_on(&runtime, send_all(proxy, rate, length)))
}

async fn send_all(proxy: SocketAddr, rate: u32, length: Duration) -> Vec<Sample> {
    let began = Instant::now();
    let idle = Rc::new(RefCell::new(Vec::new()));
    let mut sending = JoinSet::new();
    let count = (length.as_secs_f64() * f64::from(rate)) as u32;
    for number in 0..count {
        let at = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        sleep_until(began + at).await;
        let idle = Rc::clone(&idle);
        sending.spawn_local(async move {
            let answered = timeout(PATIENCE, ask(proxy, &idle)).await;
            Sample {
                at,
                took: began.elapsed() - at,
                status: answered.ok().and_then(Result::ok),
            }
        });
    }
    sending.join_all().await
}

type Connection = BufReader<TcpStream>;

async fn ask(proxy: SocketAddr, idle: &RefCell<Vec<Connection>>) -> io::Result<u16> {
    let kept = idle.borrow_mut().pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            let stream = TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            BufReader::new(stream)
        }
    };
    connection.write_all(REQUEST).await?;
    let (status, may_stay) = read_answer(&mut connection).await?;
    if may_stay {
        idle.borrow_mut().push(connection);
    }
    Ok(status)
}

/// The status, and whether the connection goes on.
async fn read_answer(connection: &mut Connection) -> io::Result<(u16, bool)> {
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let (mut status, mut length, mut may_stay) = (None, 0, true);
    let mut line = String::new();
    loop {
        line.clear();
        if connection.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        match (text.split_once(": "), status) {
            (_, None) => {
                let number = text
                    .split(' ')
                    .nth(1)
                    .and_then(|number| number.parse().ok());
                status = Some(number.ok_or_else(bad)?);
            }
            (Some(("content-length", value)), _) => length = value.parse().map_err(|_| bad())?,
            (Some(("connection", "close")), _) => may_stay = false,
            (None, Some(status)) => {
                let mut body = connection.take(length);
                tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
                return Ok((status, may_stay));
            }
            _ => {}
        }
    }
}
