//! One request on a stream of its own.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, Parts, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, request};
use tokio::time::Instant;

use super::channel::{Channel, Told};
use super::pump::{Pump, Sent};
use crate::cluster::Endpoint;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::http::h2::check_answer_fields;
use crate::http::{ResponseHead, Upgrade};
use crate::upstream::body::RequestBody;
use crate::upstream::forward::{Asked, Failed, Stage};
use crate::upstream::pool::Pick;
use crate::upstream::request::ToSend;

/// Interim answers of one request.
const MAX_INTERIM: usize = 32;

/// A stream that is under way, from its request to its answer's last byte. Dropped
/// before, it is broken off; its connection goes on.
pub(in crate::upstream) struct StreamLease {
    channel: Rc<Channel>,
    pick: Pick,
    pub pump: Option<Pump>,
    /// The way to the origin, of a request that asked for another protocol.
    pub opened: Option<SendStream<Bytes>>,
    pub alarm: Alarm,
    pub reused: bool,
}

impl StreamLease {
    pub fn new(channel: Rc<Channel>, pick: Pick, reused: bool) -> Self {
        channel.begin();
        Self {
            channel,
            pick,
            pump: None,
            opened: None,
            alarm: Alarm::default(),
            reused,
        }
    }

    /// A stream that was opened for another protocol, which the origin does not take,
    /// ends: broken off, it would count among what floods are made of.
    fn end_unless_switched(&mut self, status: StatusCode) {
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        let ended = self
            .opened
            .take()
            .map(|mut opened| opened.send_data(Bytes::new(), true));
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "the end of a request was not sent");
        }
    }

    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.pick.endpoint.shared
    }

    pub fn pick(&self) -> &Pick {
        &self.pick
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        self.channel.end();
    }
}

/// Sends the request and waits for the head of its answer.
pub(in crate::upstream) async fn send(
    mut lease: StreamLease,
    request: ToSend,
    asked: &Asked<'_>,
    now: Instant,
) -> Result<(Response<RecvStream>, StreamLease), Failed> {
    let (head, body) = (*request).into_parts();
    let is_empty = matches!(body, RequestBody::Empty);
    // Copied, because it may have to be asked again.
    let mut request = to_http2(&head, lease.channel.scheme.clone())?;
    if let Some(upgrade) = asked.upgrade {
        match lease
            .channel
            .takes_extended_connect(asked.try_deadline)
            .await
        {
            Told::Takes => {}
            Told::Gone => {
                return Err(dead(
                    Stage::Unsent,
                    head,
                    body,
                    Reason::REFUSED_STREAM.into(),
                ));
            }
            Told::TakesNot => {
                let why = "the origin does not take extended CONNECT";
                return Err(Failed::last(ProxyError::because(ErrorKind::BadAnswer, why)));
            }
        }
        to_extended_connect(&mut request, upgrade)?;
    }
    let ends = is_empty && asked.upgrade.is_none();
    let sent = lease.channel.sender().send_request(request, ends);
    let (response, stream) = match sent {
        Ok(sent) => sent,
        Err(error) => {
            // It has gone away since, and has not seen the request.
            lease.channel.close();
            tracing::debug!(%error, "a connection takes no more streams");
            return Err(dead(Stage::Unsent, head, body, error));
        }
    };
    let mut answer_deadline = match body {
        RequestBody::Empty => {
            lease.opened = (!ends).then_some(stream);
            Some(now + asked.terms.answer)
        }
        RequestBody::Stream(body) => {
            lease.pump = Some(Pump::start(body, stream, asked.terms.idle));
            lease.pick.rest();
            None
        }
    };
    let mut response = pin!(response);
    let mut interim = 0;
    let received = poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
            interim += 1;
            if interim > MAX_INTERIM {
                return Poll::Ready(Err(ProxyError::because(
                    ErrorKind::BadAnswer,
                    "too many interim answers",
                )));
            }
            let (mut parts, ()) = head.into_parts();
            if let Err(why) = check_answer_fields(&mut parts.headers) {
                return Poll::Ready(Err(ProxyError::because(ErrorKind::BadAnswer, why)));
            }
            if parts.status == StatusCode::SWITCHING_PROTOCOLS {
                let why = "a 101 over HTTP/2, which has none";
                return Poll::Ready(Err(ProxyError::because(ErrorKind::BadAnswer, why)));
            }
            // The client was told to go on by ourselves.
            if parts.status != StatusCode::CONTINUE {
                asked.progress.interim.borrow_mut().push(ResponseHead {
                    status: parts.status,
                    headers: parts.headers,
                });
            }
        }
        if let Poll::Ready(received) = response.as_mut().poll(cx) {
            return Poll::Ready(Ok(received));
        }
        match lease.pump.as_ref().map(|pump| pump.poll_sent(cx)) {
            Some(Sent::Stalled) => {
                return Poll::Ready(Err(ErrorKind::UpstreamStalled.into()));
            }
            Some(Sent::Abandoned) => return Poll::Ready(Err(ErrorKind::ClientGone.into())),
            Some(Sent::Under) => {}
            Some(Sent::Whole) | None => {
                answer_deadline.get_or_insert_with(|| Instant::now() + asked.terms.answer);
                lease.pick.wait();
            }
        }
        let own = answer_deadline.map(|at| (at, ErrorKind::AnswerTimeout));
        let whole = asked.try_deadline.map(|at| (at, ErrorKind::TryTimeout));
        match own.into_iter().chain(whole).min_by_key(|(at, _)| *at) {
            Some((at, kind)) => lease.alarm.poll_until(cx, at).map(|()| Err(kind.into())),
            None => Poll::Pending,
        }
    })
    .await;
    match received {
        Ok(Ok(mut response)) => {
            if let Some(upgrade) = asked.upgrade {
                to_answer_of_http1(&mut response, upgrade);
                lease.end_unless_switched(response.status());
            }
            if let Some(pump) = &lease.pump {
                pump.answered();
            }
            Ok((response, lease))
        }
        Ok(Err(error)) => {
            if !error.is_reset() {
                lease.channel.close();
            }
            let stage = stage_of(&error);
            let may_go_again = stage != Stage::Sent || asked.repeatable && error.is_io();
            match is_empty && may_go_again {
                true => Err(dead(stage, head, RequestBody::Empty, error)),
                false => Err(Failed {
                    stage,
                    ..Failed::last(classify(error))
                }),
            }
        }
        Err(error) => Err(Failed::last(error)),
    }
}

fn dead(stage: Stage, head: request::Parts, body: RequestBody, why: h2::Error) -> Failed {
    Failed {
        error: classify(why),
        stage,
        request: Some(Box::new(Request::from_parts(head, body))),
        reused: false,
    }
}

/// Whether the origin says that it has not looked at the request (RFC 9113 sections
/// 6.8 and 8.7): because the connection ends, or because it does not want it.
fn stage_of(error: &h2::Error) -> Stage {
    match error.is_remote() {
        true if error.is_go_away() => Stage::Unsent,
        true if error.reason() == Some(Reason::REFUSED_STREAM) => Stage::Refused,
        _ => Stage::Sent,
    }
}

/// Why there is no answer, or no more of its body, in the proxy's words.
pub(in crate::upstream) fn classify(error: h2::Error) -> ProxyError {
    // h2 keeps of an error of TLS its kind and its text.
    let is_of_tls = |error: &io::Error| error.kind() == io::ErrorKind::InvalidData;
    let kind = match error.is_library() {
        true => ErrorKind::BadAnswer,
        false if error.get_io().is_some_and(is_of_tls) => ErrorKind::UpstreamTlsFailed,
        false => ErrorKind::UpstreamReset,
    };
    ProxyError::with(kind, error)
}

/// The head in HTTP/2's form. This proxy takes trailers from every origin, and some
/// that speak gRPC insist on being told.
fn to_http2(head: &request::Parts, scheme: Scheme) -> Result<Request<()>, Failed> {
    let mut headers = head.headers.clone();
    headers.remove(TRANSFER_ENCODING);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut parts = Parts::default();
    parts.scheme = Some(scheme);
    parts.path_and_query = head.uri.path_and_query().cloned();
    if let Some(host) = headers.remove(HOST) {
        let host = Bytes::copy_from_slice(host.as_bytes());
        parts.authority = Some(Authority::from_maybe_shared(host).map_err(internal)?);
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(parts).map_err(internal)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// In the place of a handshake of HTTP/1 (RFC 8441 section 4).
fn to_extended_connect(request: &mut Request<()>, upgrade: &Upgrade) -> Result<(), Failed> {
    for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY] {
        request.headers_mut().remove(name);
    }
    let protocol = upgrade.protocol.to_str().map_err(internal)?;
    request.extensions_mut().insert(Protocol::from(protocol));
    *request.method_mut() = Method::CONNECT;
    Ok(())
}

/// What accepts extended CONNECT, as HTTP/1 would say it.
fn to_answer_of_http1(response: &mut Response<RecvStream>, upgrade: &Upgrade) {
    if response.status().is_success() {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        upgrade.write_answer(response.headers_mut());
    }
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Failed {
    Failed::last(ProxyError::with(ErrorKind::Internal, error))
}
