//! What each path of the admin address answers.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::access::{Refusal, Via};
use super::{AdminState, AdminView, Command, Decide, Readiness, ReloadOutcome, TellOutcome};
use crate::balance::health::Told;
use crate::control::upgrade::UpgradeOutcome;
use crate::error::ErrorKind;
use crate::overload::Level;
use crate::state::Verdict;
use crate::stats::overload::Resource;
use crate::stats::{Stats, exposition};

/// Nothing here needs a body at all.
const MAX_BODY_BYTES: usize = 1024;

const BODY_TIMEOUT: Duration = Duration::from_secs(5);

pub type Reply = Response<Full<Bytes>>;

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Page {
    Metrics,
    Ready,
    Live,
    Config,
    Filters,
    Clusters,
    Generations,
    Reload,
    Upgrade,
    /// What becomes of the canary of this filter.
    Decide(String, Verdict),
    /// How this endpoint of this cluster is.
    Tell(String, String, Option<Told>),
}

static PATHS: [(&str, Page); 9] = [
    ("/metrics", Page::Metrics),
    ("/ready", Page::Ready),
    ("/live", Page::Live),
    ("/config", Page::Config),
    ("/filters", Page::Filters),
    ("/clusters", Page::Clusters),
    ("/generations", Page::Generations),
    ("/reload", Page::Reload),
    ("/upgrade", Page::Upgrade),
];

/// Answers one request.
pub async fn answer(request: Request<Incoming>, via: Via, state: &AdminState) -> Reply {
    let (head, body) = request.into_parts();
    let mut reply = match route(&head, via, state) {
        Ok(page) => serve(page, body, state).await,
        Err(unserved) => unserved.reply(),
    };
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// Why a request gets no page.
#[derive(Debug, Clone, Copy)]
enum Unserved {
    Refused(Refusal),
    NotFound,
    /// With the methods that are allowed.
    NotAllowed(&'static str),
    LongBody,
    SlowBody,
}

impl Unserved {
    fn reply(self) -> Reply {
        match self {
            Unserved::Refused(refusal) => refused(refusal),
            Unserved::NotFound => not_found(),
            Unserved::NotAllowed(methods) => not_allowed(methods),
            Unserved::LongBody => {
                text(StatusCode::PAYLOAD_TOO_LARGE, "nothing here needs a body\n")
            }
            Unserved::SlowBody => text(StatusCode::REQUEST_TIMEOUT, "the body did not come\n"),
        }
    }
}

/// The page that a request may have.
fn route(head: &Parts, via: Via, state: &AdminState) -> Result<Page, Unserved> {
    let view = state.view.load();
    view.access.check(head, via).map_err(Unserved::Refused)?;
    let page = PATHS
        .iter()
        .find(|(path, _)| *path == head.uri.path())
        .map(|(_, page)| page.clone())
        .or_else(|| decision(head.uri.path()))
        .or_else(|| word(head.uri.path()))
        .ok_or(Unserved::NotFound)?;
    match (&page, &head.method) {
        (Page::Reload | Page::Upgrade | Page::Decide(..) | Page::Tell(..), &Method::POST) => {
            view.access.check_change(head).map_err(Unserved::Refused)?;
            Ok(page)
        }
        (Page::Reload | Page::Upgrade | Page::Decide(..) | Page::Tell(..), _) => {
            Err(Unserved::NotAllowed("POST"))
        }
        (_, &Method::GET | &Method::HEAD) => Ok(page),
        _ => Err(Unserved::NotAllowed("GET, HEAD")),
    }
}

/// `/filters/NAME/promote` and `/filters/NAME/abort`. Names need no escapes.
fn decision(path: &str) -> Option<Page> {
    let (name, verdict) = path.strip_prefix("/filters/")?.split_once('/')?;
    let verdict = match verdict {
        "promote" => Verdict::Promoted,
        "abort" => Verdict::Aborted,
        _ => return None,
    };
    Some(Page::Decide(name.to_owned(), verdict))
}

/// `/clusters/NAME/ADDRESS/drain`, `ready` and `auto`. Addresses are as `/clusters` tells
/// them, slashes of Unix sockets included.
fn word(path: &str) -> Option<Page> {
    let (name, rest) = path.strip_prefix("/clusters/")?.split_once('/')?;
    let (address, told) = rest.rsplit_once('/')?;
    let told = match told {
        "drain" => Some(Told::Drain),
        "ready" => Some(Told::Ready),
        "auto" => None,
        _ => return None,
    };
    Some(Page::Tell(name.to_owned(), address.to_owned(), told))
}

fn reloaded(outcome: &ReloadOutcome) -> bool {
    outcome.ok
}

fn upgraded(outcome: &UpgradeOutcome) -> bool {
    outcome.ok
}

async fn serve(page: Page, body: Incoming, state: &AdminState) -> Reply {
    let view = || state.view.load();
    match page {
        Page::Metrics => {
            (view().before_metrics)();
            metrics(state)
        }
        Page::Ready => readiness(view().readiness, &state.stats),
        Page::Live => text(StatusCode::OK, "live\n"),
        Page::Config => json(StatusCode::OK, &view().config),
        Page::Filters => json(StatusCode::OK, &(view().filters)()),
        Page::Clusters => json(StatusCode::OK, &(view().clusters)()),
        Page::Generations => json(StatusCode::OK, &(view().generations)()),
        Page::Reload => match read(body).await {
            Ok(()) => command(state, reloaded, |reply| Command::Reload { reply }).await,
            Err(unserved) => unserved.reply(),
        },
        Page::Upgrade => match read(body).await {
            Ok(()) => command(state, upgraded, |reply| Command::Upgrade { reply }).await,
            Err(unserved) => unserved.reply(),
        },
        Page::Tell(cluster, address, told) => match read(body).await {
            Ok(()) => tell(&cluster, &address, told, &view()),
            Err(unserved) => unserved.reply(),
        },
        Page::Decide(filter, verdict) => {
            let canary = (view().canary)(&filter);
            let decide = |reply| {
                Command::Decide(Decide {
                    filter,
                    verdict,
                    canary,
                    reply,
                })
            };
            match read(body).await {
                Ok(()) => command(state, reloaded, decide).await,
                Err(unserved) => unserved.reply(),
            }
        }
    }
}

/// Who is asked from now on is planned a moment later.
fn tell(cluster: &str, address: &str, told: Option<Told>, view: &AdminView) -> Reply {
    let error = (view.tell_endpoint)(cluster, address, told).err();
    let status = match error {
        None => StatusCode::OK,
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let ok = error.is_none();
    json(status, &TellOutcome { ok, error })
}

fn metrics(state: &AdminState) -> Reply {
    let kinds: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
    let text = exposition::text(&state.stats, &kinds);
    reply(StatusCode::OK, exposition::CONTENT_TYPE, text)
}

fn readiness(readiness: Readiness, stats: &Stats) -> Reply {
    match readiness {
        Readiness::Ready => carrying(stats),
        Readiness::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

/// Ready, and what it is overloaded with. Where that goes so far that no connection is
/// taken, none should be sent.
fn carrying(stats: &Stats) -> Reply {
    let (mut worst, mut told) = (Level::Fine, String::new());
    for resource in Resource::ALL {
        let level = Level::of(stats.process.overload.level(resource).get() as u8);
        if level != Level::Fine {
            told += &format!("overload: {}: {}\n", resource.name(), level.name());
        }
        worst = worst.max(level);
    }
    match worst {
        Level::Refuse => text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("overloaded\n{told}"),
        ),
        Level::Fine | Level::Close | Level::Shed => text(StatusCode::OK, format!("ready\n{told}")),
    }
}

/// Reads a body away, so that the client hears the answer.
async fn read(body: Incoming) -> Result<(), Unserved> {
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(Unserved::LongBody);
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Unserved::LongBody),
        Err(_) => Err(Unserved::SlowBody),
    }
}

/// Asks the control loop. A client that goes away does not stop what it asked for.
async fn command<T: Serialize>(
    state: &AdminState,
    is_ok: fn(&T) -> bool,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Reply {
    let (reply, outcome) = oneshot::channel();
    match state.commands.try_send(command(reply)) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => return unavailable("enough commands are waiting\n"),
        Err(TrySendError::Closed(_)) => return unavailable("stopping\n"),
    }
    match outcome.await {
        Ok(outcome) if is_ok(&outcome) => json(StatusCode::OK, &outcome),
        Ok(outcome) => json(StatusCode::UNPROCESSABLE_ENTITY, &outcome),
        Err(_) => unavailable("stopping\n"),
    }
}

fn refused(refusal: Refusal) -> Reply {
    let mut reply = text(refusal.status(), format!("{refusal}\n"));
    if refusal == Refusal::NoToken {
        let challenge = HeaderValue::from_static("Bearer");
        reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    reply
}

fn not_found() -> Reply {
    let paths: Vec<_> = PATHS.iter().map(|(path, _)| *path).collect();
    let paths = paths.join(" ");
    text(
        StatusCode::NOT_FOUND,
        format!("not here; there are: {paths}\n"),
    )
}

fn not_allowed(allowed: &'static str) -> Reply {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut reply = text(status, format!("allowed here: {allowed}\n"));
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

fn unavailable(why: &'static str) -> Reply {
    text(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut text = serde_json::to_string_pretty(value).expect("these values are all JSON");
    text.push('\n');
    reply(status, "application/json", text)
}

fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", text.into())
}

fn reply(status: StatusCode, content_type: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
