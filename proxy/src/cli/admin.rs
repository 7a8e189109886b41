//! Whom a command asks: the admin address of a running Lockgate.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use serde_json::json;

use crate::config::{Admin, AdminAddress, Mistakes};
use crate::console::{Exit, print, print_json};
use crate::control::admin::client::ClientError;
use crate::control::reload::attempt;

/// The arguments that tell it.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("whom").required(true).multiple(true))]
pub struct Whom {
    /// The configuration file of the running one: it tells the admin address and token.
    #[arg(long, short, value_name = "FILE", group = "whom")]
    config: Option<PathBuf>,
    /// Its admin address, if not the one in FILE: HOST:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS", group = "whom")]
    admin: Option<String>,
    /// Its admin token, if not the one in FILE.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
}

/// Arguments of a command that asks for one thing to be done.
#[derive(clap::Args)]
pub struct Question {
    #[command(flatten)]
    whom: Whom,
    /// The outcome as one JSON document; {"ok", "error"} if there is none.
    #[arg(long)]
    json: bool,
}

impl Question {
    /// Asks, and has the outcome told: as JSON or not.
    pub fn ask<T>(
        &self,
        ask: impl Fn(&AdminAddress, Option<&str>) -> Result<T, ClientError>,
        tell: impl FnOnce(&T, bool) -> anyhow::Result<Exit>,
    ) -> anyhow::Result<Exit> {
        match self.whom.find().and_then(|asked| asked.ask(ask)) {
            Ok(outcome) => tell(&outcome, self.json),
            Err(failed) => failed.tell(self.json),
        }
    }
}

/// Where to ask.
pub struct Asked {
    /// The first that can be reached: a name may have several.
    addresses: Vec<AdminAddress>,
    token: Option<String>,
    /// Read from a file, which may have been edited since the start.
    is_from_file: bool,
}

/// Why there is no answer.
pub enum Failed {
    /// The file does not tell whom to ask.
    Unread(Mistakes),
    Argument(String),
    /// Nobody answered, or not with what was asked for.
    Unanswered(String),
}

impl Whom {
    /// Reads the file, where it is given.
    pub fn find(&self) -> Result<Asked, Failed> {
        let given = self.admin.as_deref().map(parse).transpose()?;
        let known = self.config.as_deref().map(read).transpose()?.flatten();
        let token = self.token.clone();
        let token = token.or(known.as_ref().and_then(|admin| admin.token.clone()));
        let is_from_file = given.is_none();
        let addresses = match (given, known, &self.config) {
            (Some(addresses), _, _) => addresses,
            (None, Some(admin), _) => vec![admin.address],
            (None, None, Some(file)) => {
                let file = file.display();
                let error = format!("{file} has no `admin`; --admin tells where to ask");
                return Err(Failed::Argument(error));
            }
            (None, None, None) => {
                let error = "neither --config nor --admin is given".to_owned();
                return Err(Failed::Argument(error));
            }
        };
        Ok(Asked {
            addresses,
            token,
            is_from_file,
        })
    }
}

impl Asked {
    /// Asks the first address that can be reached.
    pub fn ask<T>(
        &self,
        ask: impl Fn(&AdminAddress, Option<&str>) -> Result<T, ClientError>,
    ) -> Result<T, Failed> {
        let mut unreached = None;
        for address in &self.addresses {
            match ask(address, self.token.as_deref()) {
                Err(error @ ClientError::Connect { .. }) => unreached = Some(error),
                outcome => return outcome.map_err(|error| Failed::Unanswered(text(error))),
            }
        }
        let mut text = unreached.map_or_else(|| "there is no address to ask".to_owned(), text);
        if self.is_from_file {
            text.push_str(
                "; `admin.address` counts from the next start: if it was edited since the last \
                 one, give the address before with --admin",
            );
        }
        Err(Failed::Unanswered(text))
    }
}

impl Failed {
    pub fn tell(&self, as_json: bool) -> anyhow::Result<Exit> {
        match self {
            Failed::Unread(mistakes) => unread(mistakes, as_json),
            Failed::Argument(error) => failed(error, Exit::BadInput, as_json),
            Failed::Unanswered(error) => failed(error, Exit::Failed, as_json),
        }
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

/// With its causes.
fn text(error: ClientError) -> String {
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
