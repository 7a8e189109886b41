//! The answer on its way to the client.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Version};

use super::answer::{Body, Facts, Outcome};
use super::begin::Asked;
use super::forward::Towards;
use super::midway::{Course, Midway};
use super::outgoing::Outgoing;
use super::respond::{grpc_status, to_grpc};
use super::upload::{Upload, alongside};
use super::{After, Scene, Spoken, reply};
use crate::deadline::{Alarm, within};
use crate::error::{ErrorKind, ProxyError};
use crate::http::framing::{self, is_bodiless};
use crate::http::h1::{OwnFields, Persistence};
use crate::http::{AnswerFraming, ResponseHead};
use crate::http::{grpc, request_id};
use crate::upstream::{Frame, Opaque};

/// A body that nobody wants is read to its end, so that the connection can go
/// on, if it ends within this time and this many bytes.
const UNWANTED: Duration = Duration::from_secs(2);
const UNWANTED_BYTES: u64 = 64 * 1024;

/// How sending ended.
pub struct Sent {
    pub after: After,
    /// `None` when no head was sent.
    pub status: Option<u16>,
    pub body_bytes: u64,
    /// From the request's first byte to the answer's last.
    pub duration: Duration,
    /// Until another protocol began on the connection, where one did.
    pub switched: Option<Duration>,
    /// The origin's side of a connection that goes on in another protocol.
    pub tunnel: Option<Box<Opaque>>,
}

/// The answer to a head that could not be understood.
pub struct Refused {
    /// Empty if there was nothing to answer.
    pub request_id: HeaderValue,
    /// `None` when no head was sent.
    pub status: Option<u16>,
    pub body_bytes: u64,
}

impl Default for Refused {
    fn default() -> Self {
        Self {
            request_id: HeaderValue::from_static(""),
            status: None,
            body_bytes: 0,
        }
    }
}

/// Sends the head that the view holds, and the body, while the request's body
/// may still be going to the origin. Errors end up in `facts`.
pub async fn send(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    body: Option<Body>,
    upload: &mut Upload<'_>,
    client: Towards<'_, '_>,
    facts: &mut Facts,
) -> Sent {
    let (Some(head), Some(mut body)) = (&course.view.response, body) else {
        return Sent {
            after: After::Close,
            status: None,
            body_bytes: 0,
            duration: scene.started.elapsed(),
            switched: None,
            tunnel: None,
        };
    };
    let status = head.status;
    // Behind a CONNECT that is refused there may be what was meant for its target, and is
    // no request: the connection ends.
    let how = framing::answer_framing(&asked.method, asked.version, status, body.length());
    let tunnel = match how {
        AnswerFraming::Switch => body.take_switched(),
        _ => None,
    };
    let keep_alive = scene.keep_alive
        && asked.method != Method::CONNECT
        && !scene.local.drain.is_draining()
        && !scene.local.closes()
        && (scene.local).goes_on(scene.snapshot, scene.listener.shared.socket.as_ref())
        && how != AnswerFraming::Close
        && may_finish(asked, upload);
    let local_length = body.length().filter(|_| course.view.is_local);
    let persistence = Persistence::new(asked.version, keep_alive);
    let outgoing = client.outgoing;
    let headed = encode_head(scene, asked, head, local_length, how, persistence, outgoing);
    let limit = scene.limit(asked, &course.view);
    let midway = Midway::new(&scene.listener.chain, course);
    let mut sending = Sending {
        outgoing,
        midway: &midway,
        how,
        bytes: 0,
    };
    let sent = {
        let sending = pin!(sending.after(headed, body));
        let sending = pin!(alongside(upload, &midway, sending));
        scene.until(limit, client.alarm, sending).await
    };
    let duration = scene.started.elapsed();
    let body_bytes = sending.bytes;
    let after = match sent.and_then(|sent| sent).and_then(|sent| sent) {
        Ok(()) if tunnel.is_some() => After::Switch,
        // The stream has ended, whatever is left of the request.
        Ok(()) if asked.version == Version::HTTP_2 => After::KeepAlive,
        Ok(()) if !keep_alive => close_of(asked, upload),
        Ok(()) => finish_upload(upload, &midway, client.alarm).await,
        Err(error) => {
            let after = cut_off(asked, error.kind, how, sending.outgoing, client.alarm).await;
            facts.error.get_or_insert(error);
            after
        }
    };
    // A handshake that was not sent whole is none.
    let tunnel = tunnel.filter(|_| after == After::Switch);
    Sent {
        after,
        status: Some(status.as_u16()),
        body_bytes,
        duration,
        switched: tunnel.is_some().then_some(duration),
        tunnel,
    }
}

/// Answers a head that could not be understood; the connection ends.
pub async fn refuse(
    scene: &Scene<'_>,
    error: &ProxyError,
    spoken: Spoken,
    outgoing: &mut Outgoing<'_>,
) -> Refused {
    let mut refused = Refused::default();
    let Outcome::Answer(mut head, Body::Full(mut text)) = reply::of_error(error.kind) else {
        return refused;
    };
    if error.kind == ErrorKind::ClientGone {
        return refused;
    }
    if spoken == Spoken::Grpc {
        to_grpc(&mut head, &text, Some(error.kind));
        text = Bytes::new();
    }
    let name = &scene.listener.shared.config.headers.request_id;
    refused.request_id = request_id::take_or_make(&mut head.headers, name, false);
    let how = AnswerFraming::Length(text.len() as u64);
    let length = text.len() as u64;
    let sent = async {
        write_head(scene, &head, how, Persistence::Close, outgoing)?;
        outgoing.data(text, how).await?;
        outgoing.end(None, how).await
    };
    if sent.await.is_ok() {
        refused.status = Some(head.status.as_u16());
        refused.body_bytes = length;
    }
    refused
}

fn encode_head(
    scene: &Scene<'_>,
    asked: &Asked,
    head: &ResponseHead,
    local_length: Option<u64>,
    how: AnswerFraming,
    persistence: Persistence,
    outgoing: &mut Outgoing<'_>,
) -> Result<(), ProxyError> {
    match local_length {
        // A HEAD is told the length that the answer to a GET would have.
        Some(length) if asked.method == Method::HEAD && !is_bodiless(&Method::GET, head.status) => {
            let mut head = head.clone();
            head.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
            write_head(scene, &head, how, persistence, outgoing)
        }
        _ => write_head(scene, head, how, persistence, outgoing),
    }
}

fn write_head(
    scene: &Scene<'_>,
    head: &ResponseHead,
    how: AnswerFraming,
    persistence: Persistence,
    outgoing: &mut Outgoing<'_>,
) -> Result<(), ProxyError> {
    let mut date = scene.local.date.borrow_mut();
    let own = OwnFields {
        date: date.at(SystemTime::now()),
        server: scene.listener.shared.config.headers.server.as_ref(),
    };
    outgoing.head(head, how, persistence, own)
}

/// An answer ends where it is. A call of gRPC can be told so; for all others it has to
/// show.
async fn cut_off(
    asked: &Asked,
    kind: ErrorKind,
    how: AnswerFraming,
    outgoing: &mut Outgoing<'_>,
    alarm: &mut Alarm,
) -> After {
    let is_there = !matches!(
        kind,
        ErrorKind::ClientGone | ErrorKind::ClientStalled | ErrorKind::ClientTooSlow
    );
    if asked.is_grpc
        && is_there
        && let Ok(status) = StatusCode::from_u16(kind.status())
    {
        let mut trailers = HeaderMap::new();
        let status = grpc_status(Some(kind), status);
        grpc::write_status(&mut trailers, status, kind.name().as_bytes());
        let ending = pin!(outgoing.end(Some(trailers), how));
        if matches!(within(alarm, UNWANTED, ending).await, Some(Ok(()))) {
            return After::KeepAlive;
        }
    }
    match how {
        AnswerFraming::Close => After::Reset,
        _ => After::Close,
    }
}

/// Whether the request's body may yet be read to its end.
fn may_finish(asked: &Asked, upload: &Upload<'_>) -> bool {
    if upload.is_broken() {
        return false;
    }
    let waits_for_us = asked.expects_continue && !upload.was_asked_for && !upload.has_begun();
    upload.is_done()
        || upload.sender.is_some()
        || !(waits_for_us || upload.remaining() > UNWANTED_BYTES)
}

/// What the client may have sent behind its request would make the kernel reset
/// the connection, and the answer with it (RFC 9112 section 9.6).
fn close_of(asked: &Asked, upload: &Upload<'_>) -> After {
    let is_all = upload.is_done() && asked.method != Method::CONNECT;
    match is_all && !asked.keeps_alive {
        true => After::Close,
        false => After::Linger,
    }
}

/// Reads what is left of a body that the origin did not wait for.
async fn finish_upload(upload: &mut Upload<'_>, midway: &Midway<'_>, alarm: &mut Alarm) -> After {
    if upload.is_done() {
        return After::KeepAlive;
    }
    upload.discard(UNWANTED_BYTES);
    match within(alarm, UNWANTED, pin!(upload.run(midway))).await {
        Some(Ok(())) => After::KeepAlive,
        _ => After::Linger,
    }
}

struct Sending<'a, 'b> {
    outgoing: &'a mut Outgoing<'b>,
    midway: &'a Midway<'a>,
    how: AnswerFraming,
    bytes: u64,
}

impl Sending<'_, '_> {
    /// What comes behind the head, if that could be encoded.
    async fn after(
        &mut self,
        headed: Result<(), ProxyError>,
        body: Body,
    ) -> Result<(), ProxyError> {
        headed?;
        let trailers = match body {
            Body::Full(bytes) => {
                self.data(bytes).await?;
                None
            }
            Body::Stream(_) | Body::Staged(_) => pin!(self.parts(body)).await?,
        };
        self.outgoing.end(trailers, self.how).await
    }

    /// Gives the trailers.
    async fn parts(&mut self, mut body: Body) -> Result<Option<HeaderMap>, ProxyError> {
        let mut trailers = None;
        loop {
            match self.next(&mut body).await? {
                Ok(Some(Frame::Data(bytes))) => self.data(bytes).await?,
                Ok(Some(Frame::Trailers(mut fields))) => {
                    if let Err(error) = self.midway.response_trailers(&mut fields) {
                        return Err(self.cut_off(error).await);
                    }
                    trailers = Some(fields);
                }
                Ok(None) => return Ok(trailers),
                Err(error) => return Err(self.cut_off(error).await),
            }
        }
    }

    /// The next part. What was encoded leaves before it is waited for, so that
    /// a head and a short body leave together and a slow body is not held back.
    async fn next(
        &mut self,
        body: &mut Body,
    ) -> Result<Result<Option<Frame>, ProxyError>, ProxyError> {
        let mut next = pin!(body.next(self.midway, self.bytes));
        let at_once = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
        match at_once {
            Poll::Ready(part) => Ok(part),
            Poll::Pending => {
                self.outgoing.flush().await?;
                Ok(next.await)
            }
        }
    }

    /// What there is leaves, so that the client sees an answer that was cut off.
    async fn cut_off(&mut self, error: ProxyError) -> ProxyError {
        match self.outgoing.flush().await {
            Ok(()) => error,
            Err(lost) => lost,
        }
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), ProxyError> {
        if self.how != AnswerFraming::None {
            self.bytes += bytes.len() as u64;
        }
        self.outgoing.data(bytes, self.how).await
    }
}
