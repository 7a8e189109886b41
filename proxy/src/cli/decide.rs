//! `lockgate filter promote` and `lockgate filter abort`.

use serde_json::json;

use super::admin::Whom;
use crate::console::{Exit, print, print_json};
use crate::control::admin::ReloadOutcome;
use crate::control::admin::client;
use crate::state::Verdict;

/// Arguments of both commands.
#[derive(clap::Args)]
pub struct Options {
    /// The filter whose canary is meant.
    #[arg(value_parser = name)]
    filter: String,
    #[command(flatten)]
    whom: Whom,
    /// The outcome as one JSON document; {"ok", "error"} if there is none.
    #[arg(long)]
    json: bool,
}

pub fn decide(options: &Options, verdict: Verdict) -> anyhow::Result<Exit> {
    let asked = options.whom.find();
    let outcome = asked.and_then(|asked| {
        asked.ask(|address, token| client::post_decision(address, token, &options.filter, verdict))
    });
    match outcome {
        Ok(outcome) if options.json => {
            print_json(&json!(outcome))?;
            Ok(exit(&outcome))
        }
        Ok(outcome) => tell(options, verdict, &outcome),
        Err(failed) => failed.tell(options.json),
    }
}

fn tell(options: &Options, verdict: Verdict, outcome: &ReloadOutcome) -> anyhow::Result<Exit> {
    let (filter, generation) = (&options.filter, outcome.generation);
    let told = match (outcome.ok, verdict) {
        (true, Verdict::Promoted) => {
            format!(
                "promoted: the canary of `{filter}` serves in its place, generation {generation}"
            )
        }
        (true, Verdict::Aborted) => {
            format!("aborted: `{filter}` serves without its canary, generation {generation}")
        }
        (false, _) => format!("error: {}", outcome.mistakes.join("\nerror: ")),
    };
    print(&told)?;
    Ok(exit(outcome))
}

fn exit(outcome: &ReloadOutcome) -> Exit {
    match outcome.ok {
        true => Exit::Good,
        false => Exit::BadInput,
    }
}

fn name(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match !text.is_empty() && text.chars().all(is_good) {
        true => Ok(text.to_owned()),
        false => Err("a filter's name has letters, digits, `_`, `.` and `-`".to_owned()),
    }
}
