//! `lockgate reload`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;

use crate::config::{AdminAddress, Mistakes};
use crate::console::{Exit, print, print_json};
use crate::control::admin::ReloadOutcome;
use crate::control::admin::client;
use crate::control::reload::attempt;

pub fn reload(
    config: Option<PathBuf>,
    admin: Option<String>,
    token: Option<String>,
    as_json: bool,
) -> anyhow::Result<Exit> {
    let (address, token) = match (admin, config) {
        (Some(admin), _) => (parse(&admin)?, token),
        (None, Some(config)) => {
            let attempt = attempt(&config);
            // Mistakes elsewhere do not hide where to ask: the running one is
            // to refuse the file, and to keep the reason.
            match (attempt.admin, attempt.outcome) {
                (Some(admin), _) => (admin.address, token.or(admin.token)),
                (None, Err(mistakes)) => return unread(&mistakes, as_json),
                (None, Ok(_)) => bail!("{} has no `admin`", config.display()),
            }
        }
        (None, None) => bail!("neither --config nor --admin is given"),
    };
    tell(client::post_reload(&address, token.as_deref())?, as_json)
}

fn parse(text: &str) -> anyhow::Result<AdminAddress> {
    match text.strip_prefix("unix:") {
        Some(path) => Ok(AdminAddress::Unix(path.into())),
        None => text.parse().map(AdminAddress::Tcp).with_context(|| {
            format!("`{text}` is neither HOST:PORT with an IP address nor unix:PATH")
        }),
    }
}

/// Nobody could be asked.
fn unread(mistakes: &Mistakes, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        print_json(&json!({ "ok": false, "mistakes": mistakes }))?;
    } else {
        for mistake in mistakes {
            print(&format!("error: {mistake}"))?;
        }
    }
    Ok(Exit::BadInput)
}

fn tell(outcome: ReloadOutcome, as_json: bool) -> anyhow::Result<Exit> {
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
