//! The answer on its way through the filters, last to first.

use std::pin::pin;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Version};

use super::answer::{Body, Facts, Outcome};
use super::begin::Asked;
use super::midway::{Course, Midway};
use super::upload::{Upload, alongside};
use super::{Scene, forward};
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::filter::{Collect, Flow, View};
use crate::http::ResponseHead;
use crate::http::framing::is_bodiless;
use crate::http::grpc;

/// Runs the response phases of the filters that took part. One that answers
/// anew replaces the answer for those that come after it. Gives the body; the
/// head stays in the view. `None` when nothing is to be sent.
pub async fn respond(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    mut outcome: Outcome,
    upload: &mut Upload<'_>,
    alarm: &mut Alarm,
    facts: &mut Facts,
) -> Option<Body> {
    loop {
        let (mut head, mut body) = match outcome {
            Outcome::Answer(head, body) => (head, body),
            Outcome::Reset => return None,
        };
        let version = facts.version.unwrap_or(Version::HTTP_11);
        add_own(scene, &course.view, version, &mut head.headers);
        course.view.is_local = matches!(body, Body::Full(_));
        course.view.response = Some(head);
        let flow = pin!(pass(scene, asked, course, &mut body, upload, alarm)).await;
        outcome = match flow {
            Ok(Flow::Next) if asked.is_grpc && course.view.is_local => {
                let error = facts.error.as_ref().map(|error| error.kind);
                return Some(in_grpc(&mut course.view, body, error));
            }
            Ok(Flow::Next) => match looks_switched(asked, &course.view) {
                Some(error) => forward::failed(error, facts),
                None => return Some(body),
            },
            Ok(other) => forward::decided(other, facts),
            Err(error) => forward::failed(error, facts),
        };
    }
}

/// Over HTTP/2 a status of success says that another protocol follows, where one was
/// asked for (RFC 8441 section 5); to CONNECT, that the client is connected.
fn looks_switched(asked: &Asked, view: &View) -> Option<ProxyError> {
    let is_success = |head: &ResponseHead| head.status.is_success();
    let is_connected = view.response.as_ref().is_some_and(is_success);
    if asked.method == Method::CONNECT && view.is_local && is_connected {
        let why = "a filter answered CONNECT with success";
        return Some(ProxyError::because(ErrorKind::FilterFailed, why));
    }
    let is_wrong = asked.upgrade.is_some()
        && asked.version == Version::HTTP_2
        && view.response.as_ref().is_some_and(is_success);
    is_wrong.then(|| match view.is_local {
        true => ProxyError::because(
            ErrorKind::FilterFailed,
            "a filter answered with success in place of another protocol",
        ),
        false => ProxyError::because(
            ErrorKind::BadAnswer,
            "the origin answered in place of switching protocols",
        ),
    })
}

/// Runs the phases on one answer, collecting its body for those filters that ask
/// for it. Gives the flow that ends them.
async fn pass(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    body: &mut Body,
    upload: &mut Upload<'_>,
    alarm: &mut Alarm,
) -> Result<Flow, ProxyError> {
    let chain = &scene.listener.chain;
    loop {
        let limit = scene.limit(asked, &course.view);
        let flow = {
            let asking = pin!(chain.on_response(&mut course.view, &mut course.taken));
            let asking = pin!(upload.beside(asking));
            scene.until(limit, alarm, asking).await??
        };
        let flow = match flow {
            Flow::Collect(collect) => {
                let collecting = collect_body(scene, asked, course, body, upload, collect, alarm);
                pin!(collecting).await?
            }
            Flow::Transform(transform) => {
                match has_body(asked, &course.view) {
                    true => body.transform(*transform),
                    false => transform.let_go(&course.view),
                }
                tell_length(asked, &mut course.view, None);
                Flow::Next
            }
            Flow::Next | Flow::Respond(_) | Flow::Fail(_) | Flow::Reset { .. } => return Ok(flow),
        };
        if !matches!(flow, Flow::Next) {
            return Ok(flow);
        }
    }
}

/// Collects the body for the filter that was called last, and calls it. The rest
/// of the request goes on meanwhile.
async fn collect_body(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    body: &mut Body,
    upload: &mut Upload<'_>,
    collect: Collect,
    alarm: &mut Alarm,
) -> Result<Flow, ProxyError> {
    let chain = &scene.listener.chain;
    let limit = scene.limit(asked, &course.view);
    let mut collection = {
        let midway = Midway::new(chain, course);
        let collecting = pin!(body.collect(collect, &midway));
        let collecting = pin!(alongside(upload, &midway, collecting));
        scene.until(limit, alarm, collecting).await???
    };
    let flow = {
        let asking =
            pin!(chain.on_response_body(&mut course.view, &mut course.taken, &mut collection.body));
        let asking = pin!(upload.beside(asking));
        scene.until(limit, alarm, asking).await??
    };
    let is_replaced = collection.body.is_replaced;
    body.put_back(collection);
    // The answer to a HEAD keeps the length that it was given.
    if is_replaced || has_body(asked, &course.view) {
        tell_length(asked, &mut course.view, body.length());
    }
    Ok(flow)
}

/// Later filters see the length that the body has now.
fn tell_length(asked: &Asked, view: &mut View, length: Option<u64>) {
    let has_body = has_body(asked, view);
    let Some(response) = &mut view.response else {
        return;
    };
    match length {
        Some(length) if has_body || length > 0 => {
            let length = HeaderValue::from(length);
            response.headers.insert(CONTENT_LENGTH, length);
        }
        Some(_) | None => {
            response.headers.remove(CONTENT_LENGTH);
        }
    }
}

fn has_body(asked: &Asked, view: &View) -> bool {
    let response = view.response.as_ref();
    response.is_some_and(|head| !is_bodiless(&asked.method, head.status))
}

/// An answer that the proxy or a filter made, in gRPC's words: all of it is in the
/// head. One that has a status of gRPC is in them already.
fn in_grpc(view: &mut View, body: Body, error: Option<ErrorKind>) -> Body {
    match &mut view.response {
        Some(head) if !grpc::has_status(&head.headers) => {
            let message = match &body {
                Body::Full(text) => text,
                Body::Stream(_) | Body::Staged(_) => &Bytes::new(),
            };
            to_grpc(head, message, error);
            Body::Full(Bytes::new())
        }
        Some(_) | None => body,
    }
}

/// The head that stands for a whole answer in gRPC's words.
pub fn to_grpc(head: &mut ResponseHead, message: &[u8], error: Option<ErrorKind>) {
    let status = grpc_status(error, head.status);
    grpc::to_head(&mut head.headers, status, message);
    head.status = StatusCode::OK;
}

/// gRPC has a word of its own for time that is over.
pub fn grpc_status(error: Option<ErrorKind>, status: StatusCode) -> u8 {
    match error {
        Some(ErrorKind::DeadlineExceeded | ErrorKind::TotalTimeout) => grpc::DEADLINE_EXCEEDED,
        Some(_) | None => grpc::status_of(status),
    }
}

/// What the proxy adds to every answer, for filters to see and to change.
fn add_own(scene: &Scene<'_>, view: &View, version: Version, headers: &mut HeaderMap) {
    let shared = &scene.listener.shared;
    let name = &shared.config.headers.request_id;
    headers.insert(name, view.request_id.clone());
    if let Some(via) = &shared.via {
        via.append(headers, version);
    }
}
