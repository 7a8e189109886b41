//! The facts of one exchange, told once, when it is over.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::Version;

use super::access_log::AccessLog;
use crate::error::{ErrorKind, ProxyError};
use crate::filter::Told;
use crate::stats::listener::MAX_ERROR_KINDS;
use crate::stats::{ListenerStats, NoRetry, StatusClass};
use crate::upstream::Try;

/// What is worth knowing about an exchange that is over. It borrows everything,
/// so that telling it allocates nothing.
#[derive(Debug)]
pub struct Record<'a> {
    /// When the request's first byte arrived.
    pub started: SystemTime,
    pub listener: &'a str,
    /// Empty where the head could not be read; so is the next.
    pub request_id: &'a str,
    pub trace_id: &'a str,
    /// Who asked, as far as trusted hops tell.
    pub client: IpAddr,
    /// Who was connected.
    pub peer: SocketAddr,
    /// As the client sent it, not as filters left it; `None` where the request
    /// line could not be read. So are the next two.
    pub method: Option<&'a str>,
    pub authority: Option<&'a str>,
    /// Path and query.
    pub path: Option<&'a str>,
    /// `None` for a connection of TCP.
    pub version: Option<Version>,
    pub user_agent: Option<&'a [u8]>,
    /// What the client was answered; `None` if nothing was sent.
    pub status: Option<u16>,
    pub route: Option<&'a str>,
    pub cluster: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    /// The upstream connection had served before.
    pub reused: bool,
    /// Tries beyond the first.
    pub retries: u32,
    /// All of them, where there was more than one.
    pub tries: &'a [Try],
    /// Why there was no other, where there would have been.
    pub no_retry: Option<NoRetry>,
    /// Body bytes from the client and to it.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// From the request's first byte to the answer's last, or to the last of what
    /// followed in another protocol.
    pub duration: Duration,
    /// Until another protocol began, where one did.
    pub switched: Option<Duration>,
    /// From the last try's start to the head of its answer.
    pub upstream: Option<Duration>,
    /// The filter that made the answer.
    pub filter: Option<&'a str>,
    /// What each of those that took part did; empty where that is not told.
    pub filters: &'a [Told],
    pub error: Option<&'a ProxyError>,
    /// What filters left, names already prefixed.
    pub attributes: &'a [(String, String)],
}

const _: () = assert!(ErrorKind::ALL.len() <= MAX_ERROR_KINDS);

impl Record<'_> {
    /// Counts the exchange and writes its line. Bytes of another protocol were counted
    /// as they came.
    pub fn emit(self, stats: &ListenerStats, log: &AccessLog) {
        stats.requests(StatusClass::of(self.status)).add(1);
        if let Some(error) = self.error {
            stats.errors(error.kind as usize).add(1);
        }
        // How long others hold a connection says nothing about how fast answers are.
        let answered = self.switched.unwrap_or(self.duration);
        stats.durations.observe(answered);
        if self.switched.is_none() {
            stats.bytes_in.add(self.bytes_in);
            stats.bytes_out.add(self.bytes_out);
        }
        log.write(&self);
    }
}

#[cfg(test)]
pub(in crate::exchange) use tests::sample;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_counted_once() {
        let error = ProxyError::new(ErrorKind::ConnectFailed);
        let record = Record {
            status: Some(502),
            error: Some(&error),
            ..sample()
        };
        let stats = ListenerStats::default();
        record.emit(&stats, &AccessLog::off());

        assert_eq!(stats.requests(StatusClass::ServerError).get(), 1);
        assert_eq!(stats.requests(StatusClass::Success).get(), 0);
        assert_eq!(stats.errors(ErrorKind::ConnectFailed as usize).get(), 1);
        assert_eq!(stats.durations.sum(), Duration::from_micros(1500));
        assert_eq!((stats.bytes_in.get(), stats.bytes_out.get()), (3, 1024));
    }

    #[test]
    fn kinds_are_numbered_in_the_order_of_their_list() {
        for (index, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index, "{}", kind.name());
        }
    }

    /// An exchange in which everything went well.
    pub(in crate::exchange) fn sample() -> Record<'static> {
        Record {
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_723_700_042),
            listener: "web",
            request_id: "5f0c",
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            client: IpAddr::from([192, 0, 2, 7]),
            peer: SocketAddr::from(([127, 0, 0, 1], 4711)),
            method: Some("GET"),
            authority: Some("shop.example"),
            path: Some("/checkout?a=1"),
            version: Some(Version::HTTP_11),
            user_agent: Some(b"curl/8"),
            status: Some(200),
            route: Some("checkout"),
            cluster: Some("checkout-v1"),
            endpoint: Some("10.0.0.1:8080"),
            reused: true,
            retries: 0,
            tries: &[],
            no_retry: None,
            bytes_in: 3,
            bytes_out: 1024,
            duration: Duration::from_micros(1500),
            switched: None,
            upstream: Some(Duration::from_micros(900)),
            filter: None,
            filters: &[],
            error: None,
            attributes: &[],
        }
    }
}
