//! An origin that does as it is told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::config::EndpointAddress;

/// Listens until dropped.
pub struct Origin {
    address: SocketAddr,
    task: JoinHandle<()>,
    accepted: Rc<RefCell<usize>>,
}

impl Origin {
    /// Gives each connection to `script`, with its number from zero on.
    pub async fn start<F: Future<Output = ()> + 'static>(
        script: impl Fn(Peer, usize) -> F + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Rc::new(RefCell::new(0));
        let count = Rc::clone(&accepted);
        let task = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.replace_with(|count| *count + 1);
                tokio::task::spawn_local(script(Peer::new(stream), number));
            }
        });
        Self {
            address,
            task,
            accepted,
        }
    }

    /// Answers every request of every connection with the same bytes.
    pub async fn answering(answer: &'static str) -> Self {
        Self::start(move |mut peer, _| async move {
            while peer.read_head().await.is_some() {
                peer.write(answer).await;
            }
        })
        .await
    }

    /// Each connection serves one request with the next of these answers and
    /// then closes.
    pub async fn in_turn(answers: Vec<Vec<u8>>) -> Self {
        let answers = Rc::new(RefCell::new(VecDeque::from(answers)));
        Self::start(move |mut peer, _| {
            let answers = Rc::clone(&answers);
            async move {
                peer.read_head().await;
                let answer = answers.borrow_mut().pop_front();
                peer.write(answer.expect("more requests than answers"))
                    .await;
            }
        })
        .await
    }

    pub fn address(&self) -> EndpointAddress {
        EndpointAddress::Socket(self.address)
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        *self.accepted.borrow()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address that refuses connections.
pub async fn closed_port() -> EndpointAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    EndpointAddress::Socket(listener.local_addr().unwrap())
}

/// One connection as the origin sees it.
pub struct Peer<S = TcpStream> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The next head, or `None` when the proxy closed.
    pub async fn read_head(&mut self) -> Option<String> {
        self.read_until("\r\n\r\n").await
    }

    /// Everything to the end of `mark`.
    pub async fn read_until(&mut self, mark: &str) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, mark.as_bytes()) {
                return Some(self.take(at + mark.len()));
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    pub async fn read_bytes(&mut self, count: usize) -> Option<String> {
        while self.read.len() < count {
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
        Some(self.take(count))
    }

    /// Reads until the proxy closes or resets.
    pub async fn read_to_end(&mut self) {
        while self
            .stream
            .read_buf(&mut self.read)
            .await
            .is_ok_and(|count| count > 0)
        {
            self.read.clear();
        }
    }

    /// A proxy that is gone is no failure of the script.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    fn take(&mut self, count: usize) -> String {
        let rest = self.read.split_off(count);
        let taken = std::mem::replace(&mut self.read, rest);
        String::from_utf8(taken).unwrap()
    }
}

impl Peer<TcpStream> {
    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }
}
