//! Reload after reload: other policies, other components, mistakes and canaries.

use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Stage;
use crate::hostile;
use crate::policy::Mistake;
use crate::support::Answer;
use crate::support::admin::ask_unix;

/// Between two reloads, on average.
const PACE: Duration = Duration::from_millis(1500);

/// Until the run is over.
pub fn go_on(stage: &Stage, mut rng: Rng) {
    let mut number = 0;
    while stage.goes_on() {
        stage.wait_until(Instant::now() + PACE.mul_f64(2.0 * rng.f64()));
        match rng.u32(..10) {
            0 => refused(stage, number, Mistake::ALL[rng.usize(..Mistake::ALL.len())]),
            1 => refused_component(stage, number, &mut rng),
            2 => {
                write_component(stage.process.path(), &mut rng);
                publish(stage, &mut number);
            }
            _ => {
                publish(stage, &mut number);
                decide(stage, number, &mut rng);
            }
        }
    }
}

/// The next policy. From when it is written it may answer; from when it is published
/// no other may.
fn publish(stage: &Stage, number: &mut u64) {
    *number += 1;
    stage.valid.newest.store(*number, SeqCst);
    stage.process.edit(&stage.scenery.policy(*number).text());
    match reload(stage) {
        answer if answer.status == 200 => {
            stage.valid.oldest.store(*number, SeqCst);
            stage.ledger.reloaded();
        }
        answer => stage
            .ledger
            .lost(format!("policy {number} is refused: {}", answer.text())),
    }
}

/// The next policy, with a mistake: that of now stays.
fn refused(stage: &Stage, number: u64, mistake: Mistake) {
    stage
        .process
        .edit(&stage.scenery.policy(number + 1).bad_text(mistake));
    is_refused(stage, &format!("{mistake:?}"));
    stage.process.edit(&stage.scenery.policy(number).text());
}

/// Bytes that are no component, and then good ones again.
fn refused_component(stage: &Stage, number: u64, rng: &mut Rng) {
    put(stage.process.path(), b"\0asm, or so it says");
    is_refused(stage, "no component");
    write_component(stage.process.path(), rng);
    let answer = reload(stage);
    if answer.status != 200 {
        stage
            .ledger
            .lost(format!("policy {number} is refused now: {}", answer.text()));
    }
}

fn is_refused(stage: &Stage, what: &str) {
    let answer = reload(stage);
    match answer.status {
        400..500 => stage.ledger.refused(),
        _ => stage.ledger.lost(format!("{what}: {}", answer.text())),
    }
}

/// Whether the watch or the command is first, it is done when this returns.
fn reload(stage: &Stage) -> Answer {
    ask_unix(&stage.process.path().join("admin.sock"), "POST", "/reload")
}

fn decide(stage: &Stage, number: u64, rng: &mut Rng) {
    if !stage.scenery.policy(number).has_canary() {
        return;
    }
    let verdict = rng.choice(["promote", "abort"]).expect("one of two");
    let socket = stage.process.path().join("admin.sock");
    let answer = ask_unix(&socket, "POST", &format!("/filters/mark/{verdict}"));
    match answer.status {
        200 => stage.ledger.decided(),
        _ => stage
            .ledger
            .lost(format!("policy {number}: {verdict}: {}", answer.text())),
    }
}

/// The component of the filter `mark`, in bytes that were never seen before.
pub fn write_component(folder: &Path, rng: &mut Rng) {
    let mut bytes = hostile::component().to_vec();
    // A section of its own, `note`.
    bytes.extend_from_slice(b"\x00\x15\x04note");
    bytes.extend_from_slice(format!("{:016x}", Rng::new().u64(..) ^ rng.u64(..)).as_bytes());
    put(folder, &bytes);
}

fn put(folder: &Path, bytes: &[u8]) {
    std::fs::write(folder.join(".mark.new"), bytes).unwrap();
    std::fs::rename(folder.join(".mark.new"), folder.join("mark.wasm")).unwrap();
}
