//! The answer on its way through the filters, last to first.

use std::pin::pin;

use http::{HeaderMap, Version};

use super::answer::{Body, Facts, Outcome};
use super::{Scene, forward};
use crate::deadline::Alarm;
use crate::filter::{Flow, Lendable, Participants, View};

/// Runs the response phases of the filters that took part. One that answers
/// anew replaces the answer for those that come after it. Gives the body; the
/// head stays in the view. `None` when nothing is to be sent.
pub async fn respond(
    scene: &Scene<'_>,
    view: &mut Lendable,
    taken: &mut Participants,
    mut outcome: Outcome,
    alarm: &mut Alarm,
    facts: &mut Facts,
) -> Option<Body> {
    let deadline = scene.deadline(view);
    loop {
        let (mut head, body) = match outcome {
            Outcome::Answer(head, body) => (head, body),
            Outcome::Reset => return None,
        };
        add_own(scene, view, &mut head.headers);
        view.is_local = matches!(body, Body::Full(_));
        view.response = Some(head);
        let asking = pin!(scene.listener.chain.on_response(view, taken));
        outcome = match scene.until(deadline, alarm, asking).await {
            Ok(Flow::Next) => return Some(body),
            Ok(other) => forward::decided(other, facts),
            Err(error) => forward::failed(error, facts),
        };
    }
}

/// What the proxy adds to every answer, for filters to see and to change.
fn add_own(scene: &Scene<'_>, view: &View, headers: &mut HeaderMap) {
    let shared = &scene.listener.shared;
    let name = &shared.config.headers.request_id;
    headers.insert(name, view.request_id.clone());
    if let Some(via) = &shared.via {
        via.append(headers, Version::HTTP_11);
    }
}
