//! `lockgate demo`: a proxy with all shipped filters and three origins, all in
//! this process, by a configuration that the user may edit while it runs.
//!
//! Takes nothing but free ports. `--tour` makes the requests itself and fails
//! if anything is not as it says. Everything here goes through the same `App`
//! as `lockgate run`.

mod ask;
mod drill;
mod origins;
mod policy;
mod tour;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::app::{App, Options as AppOptions, StartError};
use crate::console::{Exit, print};
use drill::Drill;
use origins::Origins;
use policy::Policy;

const PORT: u16 = 8080;
const ADMIN_PORT: u16 = 9901;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    /// Make the requests, print each with its outcome, and exit 0 if all was as promised.
    #[arg(long)]
    tour: bool,
    /// Break one of ten origins on purpose under load, print what clients saw, and exit 0 if
    /// that was as promised. Several by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "DRILL")]
    drill: Vec<Drill>,
    /// Be an origin of a drill, at this address.
    #[arg(long, hide = true, value_name = "ADDRESS")]
    origin: Option<SocketAddr>,
    /// Port of the proxy; 0 takes a free one. Without it, 8080.
    #[arg(long)]
    port: Option<u16>,
    /// Port of the admin address; 0 takes a free one. Without it, 9901.
    #[arg(long)]
    admin_port: Option<u16>,
    /// Folder that the configuration is written into; an existing file is kept, and its ports.
    #[arg(long, default_value = "lockgate-demo", value_name = "FOLDER")]
    dir: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    if let Some(address) = options.origin {
        return drill::origin::run(address);
    }
    if options.tour {
        return tour::run();
    }
    if !options.drill.is_empty() {
        return drill::run(&options.drill);
    }
    let origins = Origins::start()?;
    let policy = Policy {
        port: options.port.unwrap_or(PORT),
        admin_port: options.admin_port.unwrap_or(ADMIN_PORT),
        origins: origins.addresses(),
        ..Policy::default()
    };
    let path = write_config(options, &policy)?;
    print("starting: the first start compiles the filters, later ones take them from the cache")?;
    let app = match App::start(AppOptions::new(&path).as_process()?) {
        Ok(app) => app,
        Err(StartError::Config(mistakes)) => {
            eprintln!("{mistakes}");
            return Ok(Exit::BadInput);
        }
        Err(StartError::Other(error)) => return Err(error),
    };
    explain(&app, &path, &origins)?;
    Ok(app.wait().into())
}

/// The addresses of the origins change from run to run, so their file is written
/// anew. The policy is the user's once it is there.
fn write_config(options: &Options, policy: &Policy) -> anyhow::Result<PathBuf> {
    let folder = &options.dir;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let origins = folder.join("origins.yaml");
    let path = folder.join("lockgate.yaml");
    std::fs::write(&origins, policy.origins_yaml())
        .with_context(|| format!("cannot write {}", origins.display()))?;
    match std::fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(policy.yaml().as_bytes())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            print(&kept(&path, options))?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    }
    Ok(path)
}

fn kept(path: &Path, options: &Options) -> String {
    let mut text = format!("keeping {}, which is there already", path.display());
    let given = [
        ("--port", options.port),
        ("--admin-port", options.admin_port),
    ];
    let given: Vec<_> = given
        .into_iter()
        .filter(|(_, port)| port.is_some())
        .map(|(name, _)| name)
        .collect();
    if !given.is_empty() {
        text.push_str(&format!(
            ": its ports count, not {} (edit or remove it, or give another --dir)",
            given.join(" and ")
        ));
    }
    text
}

fn explain(app: &App, path: &Path, origins: &Origins) -> anyhow::Result<Exit> {
    let proxy = app
        .address("web")
        .context("the configuration has no listener `web`")?;
    let mut text = format!("\nproxy      http://{proxy}\n");
    if let Some(admin) = app.admin_address() {
        text.push_str(&format!(
            "admin      http://{admin}  # /metrics /config /filters /clusters /generations\n"
        ));
    }
    for (name, address) in origins.addresses() {
        text.push_str(&format!("{name:<10} http://{address}\n"));
    }
    text.push_str(&format!(
        "config     {}  # edit it: it is loaded as you save\n\n",
        path.display()
    ));
    text.push_str("try:\n");
    for (arguments, outcome) in TO_TRY {
        let command = format!("curl -i http://{proxy}{arguments}");
        text.push_str(&format!("  {command:<74}  # {outcome}\n"));
    }
    text.push_str("\nCtrl-C drains and ends.\n");
    print(&text)
}

/// What follows the address in a line to try, and what comes of it.
const TO_TRY: &[(&str, &str)] = &[
    ("/health", "the router answers"),
    ("/checkout", "split 80:20 over v1 and v2, copied to shadow"),
    ("/checkout -H 'x-beta: 1'", "always v2"),
    ("/account", "401: auth wants a key"),
    (
        "/account -H 'x-api-key: alice-key'",
        "passes, and the origin sees x-user: alice",
    ),
    (
        "/checkout -H 'x-lockgate-fault-abort: 503'",
        "a fault on demand",
    ),
    (
        "/checkout -H 'x-lockgate-fault-delay: 1s'",
        "a delay on demand",
    ),
];
