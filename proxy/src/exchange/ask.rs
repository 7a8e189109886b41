//! The request on its way through the filters, first to last.

use std::pin::pin;

use http::header::{CONTENT_LENGTH, HeaderValue};

use super::Scene;
use super::begin::Asked;
use super::forward::Towards;
use super::midway::{Course, Midway};
use super::stages::Collection;
use super::upload::Upload;
use crate::error::ProxyError;
use crate::filter::{Collect, Flow, View};
use crate::http::Framing;

/// Runs the request phases, collecting the body for those filters that ask for
/// it. Gives the flow that ends them.
pub async fn ask(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    upload: &mut Upload<'_>,
    client: Towards<'_, '_>,
) -> Result<Flow, ProxyError> {
    let chain = &scene.listener.chain;
    let Towards { outgoing, alarm } = client;
    loop {
        let limit = scene.limit(asked, &course.view);
        let flow = {
            let asking = pin!(chain.on_request(&mut course.view, &mut course.taken));
            let asking = pin!(upload.beside(asking));
            scene.until(limit, alarm, asking).await??
        };
        let flow = match flow {
            Flow::Collect(collect) => {
                let client = Towards { outgoing, alarm };
                let collecting = collect_body(scene, asked, course, upload, collect, client);
                pin!(collecting).await?
            }
            Flow::Transform(transform) => {
                upload.transform(*transform, &course.view);
                tell_length(&mut course.view, upload);
                Flow::Next
            }
            Flow::Next | Flow::Respond(_) | Flow::Fail(_) | Flow::Reset { .. } => return Ok(flow),
        };
        if !matches!(flow, Flow::Next) {
            return Ok(flow);
        }
    }
}

/// Collects the body for the filter that was called last, and calls it.
async fn collect_body(
    scene: &Scene<'_>,
    asked: &Asked,
    course: &mut Course,
    upload: &mut Upload<'_>,
    collect: Collect,
    client: Towards<'_, '_>,
) -> Result<Flow, ProxyError> {
    let chain = &scene.listener.chain;
    let limit = scene.limit(asked, &course.view);
    let Towards { outgoing, alarm } = client;
    let waits_for_us = asked.expects_continue && !upload.was_asked_for && !upload.has_begun();
    if waits_for_us && !upload.is_broken() && !upload.exceeds(collect) {
        outgoing.ask_for_body().await?;
        upload.was_asked_for = true;
    }
    let mut collection: Collection = {
        let midway = Midway::new(chain, course);
        let collecting = pin!(upload.collect(collect, &midway));
        scene.until(limit, alarm, collecting).await??
    };
    course.view.request_bytes = upload.bytes();
    let flow = {
        let asking =
            pin!(chain.on_request_body(&mut course.view, &mut course.taken, &mut collection.body));
        let asking = pin!(upload.beside(asking));
        scene.until(limit, alarm, asking).await??
    };
    upload.put_back(collection);
    tell_length(&mut course.view, upload);
    Ok(flow)
}

/// Later filters see the length that the body has now.
fn tell_length(view: &mut View, upload: &Upload<'_>) {
    let headers = &mut view.request.headers;
    match upload.framing() {
        Framing::Length(length) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Framing::None | Framing::Chunked => {
            headers.remove(CONTENT_LENGTH);
        }
    }
}
