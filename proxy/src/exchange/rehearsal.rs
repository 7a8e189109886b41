//! An exchange of a case: it takes the path of every other, and what came of it is
//! told to who asked instead of to the log.

use std::pin::pin;

use super::answer::Facts;
use super::midway::Course;
use super::{After, Ends, Scene, begin, run};
use crate::client::Client;
use crate::config::Name;
use crate::error::ProxyError;
use crate::filter::{Flow, Lendable, View};
use crate::http::ParsedRequest;

/// How the request phases of an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    Next,
    Respond,
    Fail,
    Reset,
}

/// What came of it.
pub struct Rehearsed {
    /// `None` where the proxy itself ended them.
    pub decided: Option<Decided>,
    /// Where the request was sent.
    pub cluster: Option<Name>,
    pub error: Option<ProxyError>,
    /// As filters left it.
    pub view: Lendable,
    /// What becomes of the connection: it shows whether the answer is whole.
    pub after: After,
}

impl Decided {
    /// By the flow that ended them.
    pub(super) fn by(flow: &Flow) -> Self {
        match flow {
            Flow::Respond(_) => Decided::Respond,
            Flow::Fail(_) => Decided::Fail,
            Flow::Reset { .. } => Decided::Reset,
            Flow::Next | Flow::Collect(_) | Flow::Transform(_) => Decided::Next,
        }
    }
}

/// Serves one request of a case. `prepare` leaves in the view what filters that are
/// not there would have.
pub async fn rehearse(
    scene: &Scene<'_>,
    request: Box<ParsedRequest>,
    prepare: impl FnOnce(&mut View),
    client: &mut Client,
) -> Rehearsed {
    let (asked, mut view) = begin::begin(scene, request);
    prepare(&mut view);
    let mut course = Course::of(view);
    let mut facts = Facts::default();
    let client = Ends::http1(client);
    let sent = pin!(run(scene, &asked, &mut course, &mut facts, client)).await;
    Rehearsed {
        decided: facts.decided,
        cluster: facts.cluster,
        error: facts.error,
        view: course.view,
        after: sent.after,
    }
}
