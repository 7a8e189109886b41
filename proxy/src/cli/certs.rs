//! `lockgate certs`.

use std::path::{Path, PathBuf};

use crate::certs::{self, Asked, Fate, New};
use crate::config::certificate;
use crate::config::{Config, Roots};
use crate::console::{Exit, print};
use crate::control::reload;

/// Arguments of `rehearse`.
#[derive(clap::Args)]
pub struct Rehearse {
    /// What is new, in PEM: certificates of authorities, which would replace `roots` of
    /// clusters and `ca` of listeners; or a certificate with its key, which would replace
    /// `certificate` of clusters.
    new: PathBuf,
    /// The key of a new certificate, where it is not in the same file.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "CONFIG")]
    against: PathBuf,
    /// Chains of clients in PEM, one after the other: which would listeners refuse?
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    clients: Option<PathBuf>,
    /// Only this cluster; may be given several times.
    #[arg(long, value_name = "NAME")]
    cluster: Vec<String>,
    /// Only this listener; may be given several times.
    #[arg(long, value_name = "NAME")]
    listener: Vec<String>,
}

/// How many there are, how many of them would fail, and of how many that is not known.
#[derive(Default)]
struct Count {
    all: usize,
    bad: usize,
    unknown: usize,
}

pub fn rehearse(options: &Rehearse) -> anyhow::Result<Exit> {
    let refused = |message: String| {
        eprintln!("{message}");
        Ok(Exit::BadInput)
    };
    let config = match reload::attempt(&options.against).outcome {
        Ok(loaded) => loaded.config,
        Err(mistakes) => return refused(mistakes.to_string()),
    };
    if let Some(unknown) = unknown(options, &config) {
        return refused(unknown);
    }
    let new = match certs::read(&options.new, options.key.as_deref()) {
        Ok(new) => new,
        Err(error) => return refused(error.to_string()),
    };
    let clients = match (&options.clients, &new) {
        (None, _) => Count::default(),
        (Some(_), New::Certificate(_)) => {
            return refused("`--clients` goes with new certificates of authorities".to_owned());
        }
        (Some(file), New::Roots(roots)) => match clients(options, &config, roots, file)? {
            Ok(count) => count,
            Err(message) => return refused(message),
        },
    };
    let endpoints = endpoints(&config, &new, &options.cluster)?;
    if endpoints.all + clients.all == 0 {
        let why =
            "nothing was asked: no cluster or listener that is meant goes by such certificates";
        return refused(why.to_owned());
    }
    let tell = |what: &str, count: &Count| format!("{} of {} {what}", count.bad, count.all);
    let mut summary = tell("endpoints", &endpoints);
    if options.clients.is_some() {
        summary = format!("{summary} and {}", tell("clients", &clients));
    }
    let unknown = match endpoints.unknown {
        0 => String::new(),
        1 => ", and 1 endpoint cannot be asked".to_owned(),
        many => format!(", and {many} endpoints cannot be asked"),
    };
    print(&format!("{summary} would fail{unknown}"))?;
    Ok(match endpoints.bad + endpoints.unknown + clients.bad {
        0 => Exit::Good,
        _ => Exit::Failed,
    })
}

fn unknown(options: &Rehearse, config: &Config) -> Option<String> {
    let is_cluster = |name: &&String| config.clusters.iter().any(|one| *one.name == ***name);
    let is_listener = |name: &&String| config.listeners.iter().any(|one| *one.name == ***name);
    let cluster = options.cluster.iter().find(|name| !is_cluster(name));
    let listener = options.listener.iter().find(|name| !is_listener(name));
    let cluster = cluster.map(|name| format!("there is no cluster `{name}`"));
    cluster.or_else(|| listener.map(|name| format!("there is no listener `{name}`")))
}

fn clients(
    options: &Rehearse,
    config: &Config,
    roots: &Roots,
    file: &Path,
) -> anyhow::Result<Result<Count, String>> {
    let read = certificate::read_bytes(file);
    let read = read.and_then(|pem| certificate::read_certificates(&pem));
    let chains = match read {
        Ok(chains) => chains,
        Err(unfit) => return Ok(Err(format!("`{}` is a file that {unfit}", file.display()))),
    };
    let (all, refused) = match certs::refused(config, roots, chains, &options.listener) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error.to_string())),
    };
    for one in &refused {
        let already = if one.already { ", as it is now" } else { "" };
        let certs::Refused {
            listener,
            subject,
            why,
            ..
        } = one;
        print(&format!(
            "listener {listener}: client {subject} would be refused{already}: {why}"
        ))?;
    }
    let bad = refused.len();
    Ok(Ok(Count {
        all,
        bad,
        unknown: 0,
    }))
}

fn endpoints(config: &Config, new: &New, only: &[String]) -> anyhow::Result<Count> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asking = tokio::task::LocalSet::new();
    let asked = asking.block_on(&runtime, certs::ask(config, new, only));
    let mut count = Count::default();
    for Asked {
        cluster,
        endpoint,
        fate,
    } in &asked
    {
        count.all += 1;
        let told = match fate {
            Fate::Good => "good".to_owned(),
            Fate::GoodByTls(why) => format!("good, by TLS alone: {why}"),
            Fate::WouldFail(why) => {
                count.bad += 1;
                format!("would fail: {why}")
            }
            Fate::FailsAlready(why) => {
                count.bad += 1;
                format!("fails now and would fail: {why}")
            }
            Fate::Unknown(why) => {
                count.unknown += 1;
                format!("cannot be asked: {why}")
            }
        };
        print(&format!("cluster {cluster}: {endpoint} {told}"))?;
    }
    Ok(count)
}
