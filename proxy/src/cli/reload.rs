//! `lockgate reload`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use serde_json::json;

use crate::config::{Admin, AdminAddress, Mistakes};
use crate::console::{Exit, print, print_json};
use crate::control::admin::ReloadOutcome;
use crate::control::admin::client::{self, ClientError};
use crate::control::reload::attempt;

/// Arguments of the command.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("whom").required(true).multiple(true))]
pub struct Options {
    /// The configuration file of the running one: it tells the admin address and token.
    #[arg(long, short, value_name = "FILE", group = "whom")]
    config: Option<PathBuf>,
    /// Its admin address, if not the one in FILE: HOST:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS", group = "whom")]
    admin: Option<String>,
    /// Its admin token, if not the one in FILE.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The outcome as one JSON document; {"ok", "error"} if there is none.
    #[arg(long)]
    json: bool,
}

/// Why no reload came of it.
enum Failed {
    /// The file does not tell whom to ask.
    Unread(Mistakes),
    Argument(String),
    /// Nobody answered, or not with an outcome.
    Unanswered(String),
}

pub fn reload(options: &Options) -> anyhow::Result<Exit> {
    match ask(options) {
        Ok(outcome) => tell(&outcome, options.json),
        Err(Failed::Unread(mistakes)) => unread(&mistakes, options.json),
        Err(Failed::Argument(error)) => failed(&error, Exit::BadInput, options.json),
        Err(Failed::Unanswered(error)) => failed(&error, Exit::Failed, options.json),
    }
}

fn ask(options: &Options) -> Result<ReloadOutcome, Failed> {
    let given = options.admin.as_deref().map(parse).transpose()?;
    let token = options.token.as_deref();
    match (given, &options.config) {
        (Some(addresses), None) => ask_first(&addresses, token),
        (Some(addresses), Some(file)) => {
            let known = read(file)?;
            let known = known.as_ref().and_then(|admin| admin.token.as_deref());
            ask_first(&addresses, token.or(known))
        }
        (None, Some(file)) => ask_as_in(file, token),
        (None, None) => Err(Failed::Argument(
            "neither --config nor --admin is given".to_owned(),
        )),
    }
}

/// What a file tells of the admin address. Mistakes elsewhere do not hide it:
/// the running one is to refuse the file, and to keep the reason.
fn read(file: &Path) -> Result<Option<Admin>, Failed> {
    let attempt = attempt(file);
    match (attempt.admin, attempt.outcome) {
        (None, Err(mistakes)) => Err(Failed::Unread(mistakes)),
        (admin, _) => Ok(admin),
    }
}

fn ask_as_in(file: &Path, token: Option<&str>) -> Result<ReloadOutcome, Failed> {
    let Some(admin) = read(file)? else {
        let file = file.display();
        let error = format!("{file} has no `admin`; --admin tells where to ask");
        return Err(Failed::Argument(error));
    };
    let token = token.or(admin.token.as_deref());
    client::post_reload(&admin.address, token).map_err(|error| {
        let is_unreached = matches!(error, ClientError::Connect { .. });
        let mut text = unanswered(error);
        if is_unreached {
            text.push_str(
                "; `admin.address` counts from the next start: if it was edited since the last \
                 one, give the address before with --admin",
            );
        }
        Failed::Unanswered(text)
    })
}

/// Asks the first address that can be reached: a name may have several.
fn ask_first(addresses: &[AdminAddress], token: Option<&str>) -> Result<ReloadOutcome, Failed> {
    let mut unreached = None;
    for address in addresses {
        match client::post_reload(address, token) {
            Err(error @ ClientError::Connect { .. }) => unreached = Some(error),
            outcome => return outcome.map_err(|error| Failed::Unanswered(unanswered(error))),
        }
    }
    Err(Failed::Unanswered(unreached.map_or_else(
        || "there is no address to ask".to_owned(),
        unanswered,
    )))
}

/// With its causes.
fn unanswered(error: ClientError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

fn parse(text: &str) -> Result<Vec<AdminAddress>, Failed> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(vec![AdminAddress::Unix(path.into())]);
    }
    let wrong = |why: String| Failed::Argument(format!("--admin `{text}`: {why}"));
    let is_complete = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !is_complete {
        return Err(wrong("wanted HOST:PORT or unix:PATH".to_owned()));
    }
    let found: Vec<SocketAddr> = text
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?
        .collect();
    Ok(found.into_iter().map(AdminAddress::Tcp).collect())
}

fn unread(mistakes: &Mistakes, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        let error = "the file does not tell whom to ask";
        print_json(&json!({ "ok": false, "error": error, "mistakes": mistakes }))?;
    } else {
        for mistake in mistakes {
            print(&format!("error: {mistake}"))?;
        }
    }
    Ok(Exit::BadInput)
}

fn failed(error: &str, exit: Exit, as_json: bool) -> anyhow::Result<Exit> {
    match as_json {
        true => drop(print_json(&json!({ "ok": false, "error": error }))?),
        false => eprintln!("lockgate: {error}"),
    }
    Ok(exit)
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
