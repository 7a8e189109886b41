//! Requests to hostile filters, whose fate has to be what `on_error` says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Stage;
use crate::hostile_guests::Guest;
use crate::origins::said;
use crate::policy::OnError;
use crate::support::Client;

/// Between two requests of one attacker, on average.
const PACE: Duration = Duration::from_millis(45);
/// Connections whose request never ends, of one attacker.
const HELD: usize = 4;

/// Guests whose harm is done when the exchange cannot be changed any more, or never:
/// answers have no trailers here.
const HARMLESS: [&str; 4] = ["done", "call-drop", "call-forget", "response-trailers"];
/// Guests that fail while the request's body is on its way.
const MIDWAY: [&str; 4] = [
    "request-trailers",
    "transform-trap",
    "transform-finish",
    "transform-huge",
];

/// A request at a time, each to any of the guests.
pub fn go_on(stage: &Stage, mut rng: Rng) {
    let mut held = std::collections::VecDeque::new();
    while stage.goes_on() {
        let due = Instant::now() + PACE.mul_f64(2.0 * rng.f64());
        let place = rng.usize(..stage.scenery.guests.len());
        let guest = &stage.scenery.guests[place];
        let number = rng.u32(..);
        let attack = AssertUnwindSafe(|| match guest.name {
            "transform-never" => {
                let mut client = Client::connect(stage.address);
                client.try_send(guest.request());
                held.push_back(client);
                if held.len() > HELD {
                    held.pop_front();
                }
            }
            _ => attack(stage, place, guest, number),
        });
        if let Err(panic) = catch_unwind(attack) {
            stage.ledger.lost_by(guest.name, &*panic);
        }
        stage.wait_until(due);
    }
}

/// What became of a hostile request.
#[derive(Debug)]
enum Outcome {
    Whole(u16),
    /// Closed in the middle of an answer.
    CutOff,
    /// Closed without a byte.
    Closed,
}

fn attack(stage: &Stage, place: usize, guest: &Guest, number: u32) {
    let path = format!("/{}/{number}", guest.name);
    let request = guest.request();
    let request = request.replacen(&format!("/{} ", guest.name), &format!("{path} "), 1);
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let oldest = stage.valid.oldest.load(SeqCst);
    let mut client = Client::connect(stage.address);
    client.try_send(&request);
    let bytes = client.rest();
    let newest = stage.valid.newest.load(SeqCst);
    let text = String::from_utf8_lossy(&bytes);
    let outcome = outcome(&text);
    let policies = (oldest..=newest).map(|number| stage.scenery.policy(number));
    let mut rules: Vec<_> = policies.map(|policy| policy.on_error(place)).collect();
    rules.dedup();
    let rule = rules
        .iter()
        .find(|rule| is_explained(guest, **rule, &outcome));
    let Some(rule) = rule else {
        stage
            .ledger
            .lost(format!("{path}: not explained by {rules:?}: {text:?}"));
        return;
    };
    if matches!(outcome, Outcome::Whole(200)) {
        let body = if request.starts_with("POST") {
            "body"
        } else {
            ""
        };
        let method = if request.starts_with("POST") {
            "POST"
        } else {
            "GET"
        };
        let expected = said(method, &path, "none", body);
        if !text.contains(&expected) {
            stage
                .ledger
                .lost(format!("{path}: another answer: {text:?}"));
        }
    }
    stage
        .ledger
        .explained(guest.name, rule.name(), format!("{outcome:?}"));
}

fn is_explained(guest: &Guest, on_error: OnError, outcome: &Outcome) -> bool {
    if HARMLESS.contains(&guest.name) {
        return matches!(outcome, Outcome::Whole(200));
    }
    let is_midway = MIDWAY.contains(&guest.name);
    match (on_error, outcome) {
        (OnError::Deny, Outcome::Whole(500 | 503))
        | (OnError::Skip, Outcome::Whole(200))
        | (OnError::Reset, Outcome::Closed) => true,
        // What was passed on already cannot be taken back.
        (_, Outcome::Closed | Outcome::CutOff | Outcome::Whole(500)) => is_midway,
        _ => false,
    }
}

fn outcome(text: &str) -> Outcome {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Outcome::Closed;
    };
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{text:?}"));
    let head = head.to_ascii_lowercase();
    let length = head.split_once("content-length: ").map(|(_, rest)| {
        let digits = rest.split("\r\n").next().unwrap();
        digits.parse::<usize>().unwrap()
    });
    let is_whole = match length {
        Some(length) => body.len() == length,
        None => body.ends_with("0\r\n\r\n"),
    };
    match is_whole {
        true => Outcome::Whole(status),
        false => Outcome::CutOff,
    }
}
