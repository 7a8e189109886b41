//! Endpoints within the process: connections to them are pipes and no sockets.

use std::hash::{Hash, Hasher};
use std::io;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::config::Name;

/// What either end may write ahead of the other.
const PIPE_BYTES: usize = 64 * 1024;

/// Where connections to such an endpoint arrive.
pub type Arrivals = mpsc::UnboundedReceiver<DuplexStream>;

/// An endpoint within the process.
#[derive(Debug, Clone)]
pub struct Inside {
    /// For logs only.
    pub name: Name,
    arrivals: mpsc::UnboundedSender<DuplexStream>,
}

impl Inside {
    /// One that is there for as long as the arrivals are kept.
    pub fn new(name: Name) -> (Self, Arrivals) {
        let (arrivals, arriving) = mpsc::unbounded_channel();
        (Self { name, arrivals }, arriving)
    }

    /// The other end of a new connection.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
        self.arrivals.send(theirs).map_err(refused)?;
        Ok(ours)
    }
}

impl PartialEq for Inside {
    fn eq(&self, other: &Self) -> bool {
        self.arrivals.same_channel(&other.arrivals)
    }
}

impl Eq for Inside {}

impl Hash for Inside {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
