//! `lockgate reload`.

use serde_json::json;

use super::admin::Question;
use crate::console::{Exit, print, print_json};
use crate::control::admin::ReloadOutcome;
use crate::control::admin::client;

pub fn reload(question: &Question) -> anyhow::Result<Exit> {
    question.ask(client::post_reload, tell)
}

fn tell(outcome: &ReloadOutcome, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        print_json(&json!(outcome))?;
    } else {
        for warning in &outcome.warnings {
            print(&format!("warning: {warning}"))?;
        }
        for mistake in &outcome.mistakes {
            print(&format!("error: {mistake}"))?;
        }
        let generation = outcome.generation;
        match (outcome.ok, outcome.changed.is_empty()) {
            (true, true) => print(&format!(
                "reloaded: generation {generation}, nothing changed"
            ))?,
            (true, false) => print(&format!(
                "reloaded: generation {generation}, changed: {}",
                outcome.changed.join(", ")
            ))?,
            (false, _) => print(&format!("refused: generation {generation} stays"))?,
        };
    }
    Ok(if outcome.ok {
        Exit::Good
    } else {
        Exit::BadInput
    })
}
