//! Requests that say themselves where they go: the addresses of their targets, and the
//! connections that CONNECT asks for.
//!
//! Where they go is what filters left of the authority. Whether they may is the cluster's
//! to say, for each request anew.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use http::{HeaderMap, Method, StatusCode};
use tokio::time::Instant;

use super::Scene;
use super::answer::{Body, Facts, Outcome};
use super::begin::Asked;
use super::forward::{Towards, choose, connect_times, hurry, is_late, note_endpoint, note_total};
use super::midway::Course;
use super::upload::Upload;
use crate::cluster::Target;
use crate::deadline::Alarm;
use crate::error::{ErrorKind, ProxyError};
use crate::filter::View;
use crate::http::ResponseHead;
use crate::upstream::{AnswerBody, Progress, TryEnd, WorkerCluster, reach_opaque};

/// What is known of a request that is yet to be tried, with where it may be tried.
pub async fn progress(
    scene: &Scene<'_>,
    cluster: &WorkerCluster,
    (asked, view): (&Asked, &View),
    upload: &mut Upload<'_>,
    alarm: &mut Alarm,
) -> Result<Progress, ProxyError> {
    let finding = pin!(addresses(scene, cluster, asked, view));
    let finding = pin!(upload.beside(finding));
    let limit = scene.limit(asked, view);
    let addresses = scene.until(limit, alarm, finding).await???;
    Ok(Progress::of_client(scene.peer).toward(addresses))
}

async fn addresses(
    scene: &Scene<'_>,
    cluster: &WorkerCluster,
    asked: &Asked,
    view: &View,
) -> Result<Vec<SocketAddr>, ProxyError> {
    let head = &view.request;
    let why = "no host to go to";
    let authority = head.authority.as_ref();
    let authority = authority.ok_or_else(|| ProxyError::because(ErrorKind::BadTarget, why))?;
    // What is spoken there is HTTP without TLS, whatever is spoken here; what a client is
    // connected with, nobody knows.
    let default_port = (asked.method != Method::CONNECT).then_some(80);
    let target = Target::read(authority, default_port)?;
    let own = scene.snapshot.own_addresses.iter().copied();
    let own: Vec<_> = own.chain(scene.local.admin).collect();
    cluster.addresses_of(&target, &own).await
}

/// Connects the client with what it asks for. What either says then is passed on once the
/// answer is sent.
pub async fn connect(
    scene: &Scene<'_>,
    course: &mut Course,
    asked: &Asked,
    upload: &mut Upload<'_>,
    client: Towards<'_, '_>,
    facts: &mut Facts,
) -> Result<Outcome, ProxyError> {
    debug_assert_eq!(asked.method, Method::CONNECT);
    let cluster: Rc<WorkerCluster> = choose(scene, asked, &course.view)?;
    facts.cluster = Some(cluster.name().clone());
    if cluster.cluster().config.targets.is_none() {
        let why = "CONNECT, which was routed to a cluster whose endpoints are known";
        return Err(ProxyError::because(ErrorKind::NotImplemented, why));
    }
    let hurry = hurry(scene, &course.view, &cluster.cluster().config, None);
    note_total(scene, &mut course.view, &cluster);
    let longest = scene.listener.shared.config.timeouts.longest;
    let times = connect_times(&course.view, &cluster, longest);
    let about = (asked, &*course.view);
    let progress = progress(scene, &cluster, about, upload, client.alarm).await?;
    let progress = progress.in_a_hurry(hurry);
    let limit = scene.limit(asked, &course.view);
    let began = Instant::now();
    let reached = {
        let reaching = pin!(reach_opaque(&cluster, times, &progress));
        let reaching = pin!(upload.beside(reaching));
        scene.until(limit, client.alarm, reaching).await
    };
    let reached = reached.flatten().flatten();
    let end = match &reached {
        Ok(_) => TryEnd::Connected,
        Err(error) => TryEnd::Error(error.kind),
    };
    note_endpoint(&progress, &cluster, &mut course.view, facts, end);
    if let Err(late) = &reached
        && is_late(late.kind)
    {
        cluster.late(&progress, late.kind, began);
    }
    let idle = cluster.cluster().config.timeouts.idle;
    let head = ResponseHead {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
    };
    let origin = AnswerBody::switched(reached?, idle);
    Ok(Outcome::Answer(head, Body::Stream(Box::new(origin))))
}
