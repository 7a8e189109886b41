//! `lockgate upgrade`.

use serde_json::json;

use super::admin::Whom;
use crate::console::{Exit, print, print_json};
use crate::control::admin::client;
use crate::control::upgrade::UpgradeOutcome;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,
    /// The outcome as one JSON document; {"ok", "error"} if there is none.
    #[arg(long)]
    json: bool,
}

pub fn upgrade(options: &Options) -> anyhow::Result<Exit> {
    let outcome = options.whom.find();
    match outcome.and_then(|asked| asked.ask(client::post_upgrade)) {
        Ok(outcome) => tell(&outcome, options.json),
        Err(failed) => failed.tell(options.json),
    }
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
