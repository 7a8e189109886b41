//! `lockgate upgrade`.

use serde_json::json;

use super::admin::Question;
use crate::console::{Exit, print, print_json};
use crate::control::admin::client;
use crate::control::upgrade::UpgradeOutcome;

pub fn upgrade(question: &Question) -> anyhow::Result<Exit> {
    question.ask(client::post_upgrade, tell)
}

fn tell(outcome: &UpgradeOutcome, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        print_json(&json!(outcome))?;
    } else {
        for mistake in &outcome.mistakes {
            print(&format!("error: {mistake}"))?;
        }
        match outcome.process {
            Some(process) => print(&format!(
                "upgraded: process {process} serves, the one before it drains"
            ))?,
            None => print("refused: the process before goes on serving")?,
        };
    }
    Ok(match outcome.ok {
        true => Exit::Good,
        false => Exit::BadInput,
    })
}
