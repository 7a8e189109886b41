//! From the filters' verdict to the head of an answer.

use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::header::{HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use tokio::time::Instant;

use super::answer::{Body, Facts, Outcome};
use super::begin::Asked;
use super::midway::{Course, Midway};
use super::mirror::{BodyKind, Copy};
use super::outgoing::Outgoing;
use super::upload::{Upload, alongside};
use super::{Scene, hops, reply, target};
use crate::config::{self, ClusterProtocol, RetryPolicy};
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::filter::timeouts::Timed;
use crate::filter::{Flow, View};
use crate::http::{Framing, ResponseHead, TargetForm, hop};
use crate::pace::Pace;
use crate::upstream::{
    self, Answer, ConnectTimes, FAIR, Hurry, Progress, RequestBody, Terms, TryEnd, UpstreamRequest,
    WorkerCluster,
};

/// The client's halves but for its body, which the upload reads.
pub struct Towards<'a, 'b> {
    pub outgoing: &'a mut Outgoing<'b>,
    pub alarm: &'a mut Alarm,
}

/// Does what the request phases decided. Every failure is an answer here.
pub async fn answer(
    scene: &Scene<'_>,
    course: &mut Course,
    flow: Flow,
    asked: &Asked,
    upload: &mut Upload<'_>,
    client: Towards<'_, '_>,
    facts: &mut Facts,
) -> Outcome {
    match flow {
        Flow::Next if asked.is_final => reply::of_final(&asked.method),
        Flow::Next if asked.method == Method::CONNECT => {
            let connecting = target::connect(scene, course, asked, upload, client, facts);
            let connected = Box::pin(connecting).await;
            connected.unwrap_or_else(|error| failed(error, facts))
        }
        Flow::Next => {
            let answer = pin!(forward(scene, course, asked, upload, client, facts)).await;
            answer.map_or_else(
                |error| {
                    // The rest of the body has nowhere to go.
                    upload.sender = None;
                    failed(error, facts)
                },
                |answer| passed_on(scene, asked, answer),
            )
        }
        other => decided(other, facts),
    }
}

/// What a filter decided in place of the origin.
pub fn decided(flow: Flow, facts: &mut Facts) -> Outcome {
    match flow {
        Flow::Respond(reply) => {
            facts.filter = Some(reply.filter.clone());
            reply::of_filter(*reply)
        }
        Flow::Fail(failure) => {
            facts.filter = Some(failure.filter.clone());
            failed(failure.into(), facts)
        }
        Flow::Reset { filter } => {
            facts.filter = Some(filter);
            facts.error = Some(ErrorKind::FilterReset.into());
            Outcome::Reset
        }
        // The phases go on after these by themselves.
        Flow::Next | Flow::Collect(_) | Flow::Transform(_) => {
            failed(ErrorKind::Internal.into(), facts)
        }
    }
}

pub fn failed(error: ProxyError, facts: &mut Facts) -> Outcome {
    let outcome = reply::of_error(error.kind);
    facts.error = Some(error);
    outcome
}

fn passed_on(scene: &Scene<'_>, asked: &Asked, answer: Answer) -> Outcome {
    let mut head = ResponseHead {
        status: answer.status,
        headers: answer.headers,
    };
    hop::remove_hop_by_hop(&mut head.headers);
    if asked.form != TargetForm::Origin && scene.listener.forward_proxy.is_some() {
        // Nobody but this proxy asks for what is for it.
        head.headers.remove(PROXY_AUTHENTICATE);
    }
    if let Some(upgrade) = &asked.upgrade
        && head.status == StatusCode::SWITCHING_PROTOCOLS
    {
        head.headers.insert(UPGRADE, upgrade.protocol.clone());
    }
    Outcome::Answer(head, Body::Stream(answer.body))
}

/// Sends the request on and waits for the head of the answer; the body goes
/// alongside.
async fn forward(
    scene: &Scene<'_>,
    course: &mut Course,
    asked: &Asked,
    upload: &mut Upload<'_>,
    client: Towards<'_, '_>,
    facts: &mut Facts,
) -> Result<Answer, ProxyError> {
    let cluster = choose(scene, asked, &course.view)?;
    facts.cluster = Some(cluster.name().clone());
    if asked
        .framing
        .exceeds(scene.listener.shared.config.limits.max_body_bytes)
    {
        return Err(ErrorKind::BodyTooLarge.into());
    }
    if is_call(asked, &cluster) {
        let longest = scene.listener.shared.config.timeouts.longest;
        upload.set_timeout(longest);
        client.outgoing.set_pace(Pace::of_silence(longest));
    }
    let retry = retry_for(scene, &course.view, &cluster);
    let hurry = hurry(scene, &course.view, &cluster.cluster().config, retry);
    note_total(scene, &mut course.view, &cluster);
    let progress = match cluster.cluster().config.targets {
        None => {
            let decisions = &course.view.decisions;
            let progress = Progress::of_client(scene.peer)
                .with_key(decisions.hash_key)
                .with_labels(decisions.labels.clone());
            match cluster.cluster().config.balance.hashing() {
                Some(_) => progress.for_path(asked.path.clone(), course.view.tls.is_some()),
                None => progress,
            }
        }
        // Boxed: no other exchange is to carry room for it.
        Some(_) => {
            let about = (asked, &*course.view);
            Box::pin(target::progress(
                scene,
                &cluster,
                about,
                upload,
                client.alarm,
            ))
            .await?
        }
    }
    .in_a_hurry(hurry);
    let limit = scene.limit(asked, &course.view);
    let now = Instant::now();
    if limit.at <= now {
        return Err(limit.kind.into());
    }
    let mut headers = headers_for(scene, &mut course.view, upload, &cluster)?;
    if let Some(policy) = retry {
        let method = &course.view.request.method;
        hops::tell_retries(&mut headers, asked, policy, method, upload.framing());
    }
    if asked.upgrade.is_none() {
        start_copies(scene, &course.view, &headers, upload);
    }
    let body = open_body(upload);
    if asked.upgrade.is_some() && !matches!(body, RequestBody::Empty) {
        let why = "a filter gave a body to a request that asks for another protocol";
        return Err(ProxyError::because(ErrorKind::FilterFailed, why));
    }
    if asked.expects_continue && !upload.was_asked_for && !upload.has_begun() {
        client.outgoing.ask_for_body().await?;
        upload.was_asked_for = true;
    }
    let request = UpstreamRequest {
        method: course.view.request.method.clone(),
        path: course.view.request.path.clone(),
        headers,
        body,
        repeatable: is_repeatable(&course.view.request.method),
        upgrade: asked.upgrade.clone(),
    };
    let terms = Terms {
        deadline: Some(limit.at),
        told: hops::told(asked, &course.view),
        ..terms_for(scene, asked, &course.view, &cluster, retry)
    };
    let answer = {
        let sending = pin!(upstream::forward(&cluster, request, &terms, &progress));
        let sending = pin!(pass_on_interim(
            &progress,
            asked.version,
            sending,
            client.outgoing
        ));
        let midway = Midway::new(&scene.listener.chain, course);
        let sending = pin!(alongside(upload, &midway, sending));
        scene.until(limit, client.alarm, sending).await
    };
    let answer = answer.flatten().flatten();
    let end = match &answer {
        Ok(answer) => TryEnd::Status(answer.status.as_u16()),
        Err(error) => TryEnd::Error(error.kind),
    };
    note_endpoint(&progress, &cluster, &mut course.view, facts, end);
    let answer = match answer {
        // It was the client, if the origin has taken all that there was.
        Err(late) if late.kind == ErrorKind::TotalTimeout && upload.waits_for_client() => {
            upload.give_up();
            return Err(ErrorKind::BodyTimeout.into());
        }
        Err(late) if is_late(late.kind) => {
            cluster.late(&progress, late.kind, now);
            return Err(late);
        }
        answer => answer?,
    };
    facts.upstream = Some(answer.answer_time);
    facts.version = Some(answer.version);
    facts.reused = answer.reused;
    Ok(answer)
}

/// Whether it ran out of time that is not one try's.
pub fn is_late(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TotalTimeout | ErrorKind::DeadlineExceeded)
}

/// The cluster's time for all of it, where no filter has said how long it may take.
pub fn note_total(scene: &Scene<'_>, view: &mut View, cluster: &WorkerCluster) {
    let timeouts = &mut view.decisions.timeouts;
    if let Some(total) = cluster.cluster().config.timeouts.total
        && timeouts[Timed::Total].is_none()
    {
        let own = scene.listener.shared.config.timeouts.total;
        timeouts.set(Timed::Total, Some(total.min(own)));
    }
}

/// Which times filters made too short for anybody to be blamed for.
pub fn hurry(
    scene: &Scene<'_>,
    view: &View,
    cluster: &config::Cluster,
    retry: Option<&RetryPolicy>,
) -> Hurry {
    let (said, own) = (&view.decisions.timeouts, &cluster.timeouts);
    let total = scene.listener.shared.config.timeouts.total;
    let of_policy = retry.and_then(|retry| retry.try_timeout);
    let is_short = |which: Timed, own: Option<Duration>| {
        let fair = own.map_or(FAIR, |own| own.min(FAIR));
        said[which].is_some_and(|said| said < fair)
    };
    Hurry {
        total: is_short(Timed::Total, own.total.or(Some(total))),
        one_try: is_short(Timed::Try, of_policy.or(own.try_timeout)),
        idle: is_short(Timed::Idle, Some(own.idle)),
        connect: is_short(Timed::Connect, Some(own.connect)),
        tls: is_short(Timed::Tls, own.tls),
        answer: is_short(Timed::Answer, Some(own.answer)),
    }
}

/// Where it was tried, of which the last ended so.
pub fn note_endpoint(
    progress: &Progress,
    cluster: &WorkerCluster,
    view: &mut View,
    facts: &mut Facts,
    end: TryEnd,
) {
    facts.endpoint = progress.endpoint();
    facts.retries = progress.retries();
    facts.tries = progress.tries(end);
    facts.no_retry = progress.no_retry();
    view.upstream = facts
        .endpoint
        .as_ref()
        .map(|endpoint| (cluster.name().clone(), endpoint.label.clone()));
}

/// Where the filters sent it, or where the listener sends the rest.
pub fn choose(
    scene: &Scene<'_>,
    asked: &Asked,
    view: &View,
) -> Result<Rc<WorkerCluster>, ProxyError> {
    let forward_proxy = scene.listener.forward_proxy.as_ref();
    match (&view.decisions.cluster, asked.form, forward_proxy) {
        (Some(name), _, _) => scene.snapshot.cluster(name).cloned(),
        (None, TargetForm::Absolute | TargetForm::Authority, Some(cluster)) => {
            Some(cluster.clone())
        }
        (None, _, _) => scene.listener.cluster.clone(),
    }
    .ok_or_else(|| ErrorKind::NoRoute.into())
}

/// The origin gets a copy where filters may still look at the head: fields are
/// counted references to the bytes that were read. Elsewhere the view gives up
/// its own.
fn headers_for(
    scene: &Scene<'_>,
    view: &mut View,
    upload: &Upload<'_>,
    cluster: &WorkerCluster,
) -> Result<HeaderMap, ProxyError> {
    let wants = scene.listener.chain.wants();
    let mut headers = match wants.looks_at_requests_later() || upload.is_staged() {
        true => view.request.headers.clone(),
        false => std::mem::take(&mut view.request.headers),
    };
    let host = match &view.request.authority {
        Some(authority) => HeaderValue::from_str(authority.as_str()),
        None => HeaderValue::from_str(cluster.name()),
    };
    let host = host.map_err(|error| ProxyError::with(ErrorKind::Internal, error))?;
    headers.insert(HOST, host);
    if view.form != TargetForm::Origin && scene.listener.forward_proxy.is_some() {
        // It was for this proxy, whoever asks for it (RFC 9110 section 11.7.2).
        headers.remove(PROXY_AUTHORIZATION);
    }
    Ok(headers)
}

fn start_copies(scene: &Scene<'_>, view: &View, headers: &HeaderMap, upload: &mut Upload<'_>) {
    for mirror in &view.decisions.mirrors {
        let Some(cluster) = scene.snapshot.cluster(&mirror.cluster) else {
            continue;
        };
        let body = match upload.framing() {
            Framing::None => BodyKind::Empty,
            Framing::Length(length) => BodyKind::Stream(Some(length)),
            Framing::Chunked => BodyKind::Stream(None),
        };
        let copy = Copy::start(
            scene.local,
            cluster,
            &view.request,
            headers.clone(),
            mirror,
            body,
        );
        upload.copies.extend(copy);
    }
}

fn open_body(upload: &mut Upload<'_>) -> RequestBody {
    let length = match upload.framing() {
        Framing::None | Framing::Length(0) => return RequestBody::Empty,
        Framing::Length(length) => Some(length),
        Framing::Chunked => None,
    };
    let (sender, body) = upstream::body_channel(length);
    upload.sender = Some(sender);
    body
}

/// The policy that a filter named, or the cluster's.
fn retry_for<'a>(
    scene: &'a Scene<'_>,
    view: &View,
    cluster: &'a WorkerCluster,
) -> Option<&'a RetryPolicy> {
    let Some(name) = &view.decisions.retry else {
        return cluster.cluster().config.retry.as_deref();
    };
    let mut policies = scene.snapshot.shared.config.retry_policies.iter();
    policies
        .find(|policy| policy.name == *name)
        .map(|policy| &**policy)
}

/// The cluster's, as far as filters did not change them.
fn terms_for<'a>(
    scene: &Scene<'_>,
    asked: &Asked,
    view: &View,
    cluster: &'a WorkerCluster,
    retry: Option<&'a RetryPolicy>,
) -> Terms<'a> {
    let longest = scene.listener.shared.config.timeouts.longest;
    let mut terms = Terms::of(&cluster.cluster().config).with_retry(retry);
    let said = |which| view.decisions.timeouts[which].map(|said| said.min(longest));
    terms.connect = connect_times(view, cluster, longest);
    terms.try_timeout = said(Timed::Try).or(terms.try_timeout);
    terms.answer = said(Timed::Answer).unwrap_or(terms.answer);
    match said(Timed::Idle) {
        Some(idle) => terms.idle = idle,
        None if is_call(asked, cluster) => terms.idle = longest,
        None => {}
    }
    terms
}

/// Likewise, for a connection.
pub fn connect_times(view: &View, cluster: &WorkerCluster, longest: Duration) -> ConnectTimes {
    let said = |which| view.decisions.timeouts[which].map(|said| said.min(longest));
    let own = ConnectTimes::of(&cluster.cluster().config);
    ConnectTimes {
        whole: said(Timed::Connect).unwrap_or(own.whole),
        tls: said(Timed::Tls).or(own.tls),
    }
}

/// A call of gRPC where that is spoken. It may be silent for as long as it lasts: pings
/// tell that either end is there.
fn is_call(asked: &Asked, cluster: &WorkerCluster) -> bool {
    asked.is_grpc && cluster.cluster().config.protocol != ClusterProtocol::Http1
}

/// Methods that may be sent twice (RFC 9110 section 9.2.2).
fn is_repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

/// Runs `work`, writing interim answers of the origin as they come, but for a
/// client of HTTP/1.0. One that the client does not take is no reason to give the
/// answer up.
async fn pass_on_interim<T>(
    progress: &Progress,
    version: Version,
    mut work: Pin<&mut impl Future<Output = T>>,
    outgoing: &mut Outgoing<'_>,
) -> T {
    loop {
        let done = std::future::poll_fn(|context| {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            match progress.interim.borrow().is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(None),
            }
        })
        .await;
        for mut head in progress.interim.take() {
            if version != Version::HTTP_10 {
                hop::remove_hop_by_hop(&mut head.headers);
                outgoing.interim(&head);
            }
        }
        match done {
            Some(value) => return value,
            None => {
                if let Err(error) = Box::pin(outgoing.flush()).await {
                    tracing::trace!(%error, "an interim answer was not taken");
                }
            }
        }
    }
}
