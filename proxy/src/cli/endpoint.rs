//! `lockgate endpoint drain`, `ready` and `auto`.

use serde_json::json;

use super::admin::Whom;
use crate::console::{Exit, print, print_json};
use crate::control::admin::client;

/// Arguments of the commands.
#[derive(clap::Args)]
pub struct Options {
    /// The cluster's name.
    #[arg(value_parser = part)]
    cluster: String,
    /// The endpoint's address, as `lockgate clusters` shows it.
    #[arg(value_parser = part)]
    address: String,
    #[command(flatten)]
    whom: Whom,
    /// The outcome as one JSON document: {"ok", "error"}.
    #[arg(long)]
    json: bool,
}

pub fn tell(options: &Options, word: &str) -> anyhow::Result<Exit> {
    let Options {
        cluster, address, ..
    } = options;
    let asked = options.whom.find();
    let outcome = asked.and_then(|asked| {
        asked.ask(|admin, token| client::post_word(admin, token, (cluster, address, word)))
    });
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failed) => return failed.tell(options.json),
    };
    match (&outcome.error, options.json) {
        (_, true) => print_json(&json!(outcome))?,
        (None, false) => print(&format!("{word}: {address} of `{cluster}`"))?,
        (Some(error), false) => print(&format!("error: {error}"))?,
    };
    Ok(match outcome.ok {
        true => Exit::Good,
        false => Exit::BadInput,
    })
}

/// What can stand in a path as it is.
fn part(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%');
    match !text.is_empty() && text.chars().all(is_good) {
        true => Ok(text.to_owned()),
        false => Err("wanted a name or an address, as `lockgate clusters` shows it".to_owned()),
    }
}
