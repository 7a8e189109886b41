//! Clients who mean well. Each of their answers is checked, status and content.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use crate::Stage;
use crate::origins::said;
use crate::policy::{KEY, STEADY};
use crate::support::{Answer, Client};

/// Between two requests of one client.
const PACE: Duration = Duration::from_millis(30);
/// Requests of one connection.
const ON_ONE: u64 = 50;

/// Request after request, of all kinds in turn.
pub fn go_on(stage: &Stage, client: u64) {
    let mut number = client * 1_000_000_000;
    while stage.goes_on() {
        let connection = AssertUnwindSafe(|| {
            let mut client = Client::connect(stage.address);
            for _ in 0..ON_ONE {
                if !stage.goes_on() {
                    return;
                }
                let due = Instant::now() + PACE;
                number += 1;
                ask(stage, &mut client, number);
                stage.ledger.good();
                stage.wait_until(due);
            }
        });
        if let Err(panic) = catch_unwind(connection) {
            stage.ledger.lost_by("steady", &*panic);
        }
    }
}

fn ask(stage: &Stage, client: &mut Client, number: u64) {
    let route = STEADY[(number % STEADY.len() as u64) as usize];
    let path = format!("/{route}/{number}");
    let oldest = stage.valid.oldest.load(SeqCst);
    match route {
        "auth" if number.is_multiple_of(7) => {
            let answer = get(client, &path, "x-api-key: wrong\r\n");
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
        }
        "auth" => {
            let answer = get(client, &path, &format!("x-api-key: {KEY}\r\n"));
            check(stage, oldest, &path, &answer, |mark| {
                said("GET", &path, mark, "")
            });
        }
        "limited" if number.is_multiple_of(7) => {
            let answer = get(client, "/limited/once", "");
            assert_eq!(answer.status, 429, "{answer:?}");
        }
        "upper" => {
            let answer = get(client, &path, "");
            let shouted = |mark: &str| said("GET", &path, mark, "").to_ascii_uppercase();
            check(stage, oldest, &path, &answer, shouted);
        }
        "body" => {
            client.send(format!(
                "POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                 trailer: x-end\r\n\r\n5\r\nsome \r\n4\r\nbody\r\n0\r\nx-end: 1\r\n\r\n"
            ));
            let answer = client.answer();
            check(stage, oldest, &path, &answer, |mark| {
                said("POST", &path, mark, "SOME BODY")
            });
        }
        _ => {
            let answer = get(client, &path, "");
            check(stage, oldest, &path, &answer, |mark| {
                said("GET", &path, mark, "")
            });
        }
    }
}

fn get(client: &mut Client, path: &str, fields: &str) -> Answer {
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
        .answer()
}

/// An answer of the origin, made under one policy that was valid at some time between
/// the request and now, by all filters alike.
fn check(
    stage: &Stage,
    oldest: u64,
    path: &str,
    answer: &Answer,
    expected: impl Fn(&str) -> String,
) {
    let newest = stage.valid.newest.load(SeqCst);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let number = answer
        .header("x-policy")
        .and_then(|policy| policy.parse().ok());
    let number: u64 = number.unwrap_or_else(|| panic!("{path}: no policy: {answer:?}"));
    assert!(
        (oldest..=newest).contains(&number),
        "{path}: policy {number} and not {oldest} to {newest}"
    );
    let marks = stage.scenery.policy(number).marks();
    let mark = answer.header("x-mark").unwrap_or_default();
    assert!(
        marks.iter().any(|known| known == mark),
        "{path}: policy {number}, mark `{mark}`"
    );
    assert_eq!(answer.text(), expected(mark), "{path}: {answer:?}");
}

/// Of the limit that lets one request pass in a day.
pub fn use_up_the_limit(stage: &Stage) {
    let answer = get(&mut Client::connect(stage.address), "/limited/once", "");
    assert_eq!(answer.status, 200, "{answer:?}");
}
