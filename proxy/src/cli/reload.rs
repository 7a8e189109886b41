//! `lockgate reload`.

use serde_json::json;

use super::admin::Whom;
use crate::console::{Exit, print, print_json};
use crate::control::admin::ReloadOutcome;
use crate::control::admin::client;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,
    /// The outcome as one JSON document; {"ok", "error"} if there is none.
    #[arg(long)]
    json: bool,
}

pub fn reload(options: &Options) -> anyhow::Result<Exit> {
    let outcome = options.whom.find();
    match outcome.and_then(|asked| asked.ask(client::post_reload)) {
        Ok(outcome) => tell(&outcome, options.json),
        Err(failed) => failed.tell(options.json),
    }
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
