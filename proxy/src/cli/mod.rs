//! The command line: what each command takes, prints and exits with.
//!
//! Exit codes: 0 good, 2 bad input (arguments, configuration, component), 1
//! anything else. Text for people goes to standard output; with `--json` that
//! is one JSON document and nothing else.

mod admin;
mod build;
mod certs;
mod check;
mod clusters;
mod compile;
mod decide;
mod endpoint;
mod inspect;
mod lock;
mod new;
mod progress;
mod reload;
mod run;
mod test;
mod top;
mod upgrade;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::console::{Exit, print, print_json};
use crate::demo;
use crate::filter::COMPILE_COMMAND;
use crate::state::Verdict;

/// A proxy whose routing, authentication, mirroring and fault injection are
/// hot-reloadable WebAssembly filters.
#[derive(Parser)]
#[command(name = "lockgate", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve by a configuration file, until SIGTERM.
    ///
    /// SIGHUP, a change of any file that was read, and `lockgate reload` load
    /// it anew; a bad file changes nothing. SIGUSR2 and `lockgate upgrade` replace the
    /// program. SIGTERM drains, a second one ends at once.
    ///
    /// A filter that cannot be built at the start, or that failed on its probation
    /// before, is replaced by its last good version, where one is known; with --strict
    /// the start is refused instead.
    Run {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Start with what the file says or not at all.
        #[arg(long)]
        strict: bool,
    },
    /// Check a configuration as a reload would, and report every mistake.
    Check {
        /// The configuration file.
        file: PathBuf,
        /// One JSON document: {"ok", "mistakes", "more", "warnings"}.
        #[arg(long)]
        json: bool,
    },
    /// Run a proxy with all shipped filters and embedded origins to try.
    Demo(demo::Options),
    /// Print the JSON Schema of the configuration file.
    Schema {
        /// Of a file of cases instead, which `lockgate filter test` runs.
        #[arg(long)]
        cases: bool,
    },
    /// Work with filter components.
    #[command(subcommand)]
    Filter(Filter),
    /// Work with certificates.
    #[command(subcommand)]
    Certs(Certs),
    /// Ask a running Lockgate to reload, and print what came of it.
    Reload(admin::Question),
    /// Have a running Lockgate replaced by the program as it is on the disk now.
    ///
    /// It starts a new process with its own arguments, hands the listening sockets over
    /// once that serves, and drains; no connection is refused or reset. A new process
    /// that fails to start changes nothing, and what it says is printed. SIGUSR2 does
    /// the same.
    Upgrade(admin::Question),
    /// Show the endpoints of a running Lockgate's clusters, and how they are.
    Clusters(clusters::Options),
    /// Say how an endpoint is, in a running Lockgate. A restart forgets it.
    #[command(subcommand)]
    Endpoint(Word),
    /// Show what each filter of a running Lockgate does and costs, again and again.
    ///
    /// A terminal has one table that changes; anything else one after the other.
    Top(top::Options),
    /// What this program starts to compile a component apart from itself.
    #[command(name = COMPILE_COMMAND, hide = true)]
    Compile {
        /// Let every other process go first.
        #[arg(long)]
        give_way: bool,
    },
    /// Print the version.
    Version {
        /// {"version", "contract"}, one JSON document.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum Word {
    /// Send it nothing new: what is under way ends, and idle connections are closed.
    Drain(endpoint::Options),
    /// Take it for well, whatever checks and failures say.
    Ready(endpoint::Options),
    /// Let checks and failures tell again.
    Auto(endpoint::Options),
}

#[derive(Subcommand)]
enum Certs {
    /// Tell who would fail if new certificates took the place of configured ones.
    ///
    /// Endpoints of clusters with TLS are asked live by a HEAD, with what is configured
    /// and with what is new. Nothing is changed.
    ///
    /// Exits with 0 if none would fail, 1 if one would or cannot be asked, 2 if arguments
    /// or files are bad.
    Rehearse(certs::Rehearse),
}

#[derive(Subcommand)]
enum Filter {
    /// Write a small project for a filter: contract, example, cases, README.
    New(new::Options),
    /// Make a component of a project, by the tools of its language.
    ///
    /// Writes NAME.wasm into the project's folder, NAME being the folder's, and
    /// only if the proxy would load it. Prints its size, digest and imports.
    /// What is missing is named, with how to get it; nothing is installed.
    Build(build::Options),
    /// Tell what a component is: manifest, world, imports, size, digest, schema.
    Inspect {
        /// A component file, lockgate:NAME for a shipped one, or oci://HOST/NAME with
        /// :TAG or @sha256:DIGEST for one in a registry.
        component: String,
        /// A configuration file, for what it says of registries and trusted keys.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Run cases: sample exchanges with what is expected of a filter, without sockets.
    ///
    /// Exits with 0 if all passed, 1 if one failed, 2 if a file is bad.
    Test(test::Options),
    /// Put a filter's canary in its place, in a running Lockgate.
    ///
    /// The file stays as it is; the decision holds until the filter's block or a
    /// component changes.
    Promote(decide::Options),
    /// Give a filter's canary up, in a running Lockgate.
    ///
    /// As with promote, the decision holds until the file or a component changes.
    Abort(decide::Options),
    /// Write down what each filter is and may do, in `lockgate.lock` beside the
    /// configuration.
    ///
    /// With that file in place, a filter that wants more than it says is not
    /// loaded until this command is run again. Prints what is new.
    Lock {
        /// The configuration file.
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs what the arguments say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A closed pipe is no reason to fail louder than the error itself.
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    let exit = match cli.command {
        Command::Run { config, strict } => run::run(&config, strict),
        Command::Check { file, json } => check::check(&file, json),
        Command::Demo(options) => demo::run(&options),
        Command::Filter(Filter::New(options)) => new::new(&options),
        Command::Filter(Filter::Build(options)) => build::build(&options),
        Command::Schema { cases: false } => print_json(&crate::config::schema()),
        Command::Schema { cases: true } => print_json(&crate::config::case_schema()),
        Command::Filter(Filter::Inspect {
            component,
            config,
            json,
        }) => inspect::inspect(&component, config.as_deref(), json),
        Command::Filter(Filter::Test(options)) => test::test(&options),
        Command::Filter(Filter::Lock { config }) => lock::lock(&config),
        Command::Clusters(options) => clusters::clusters(&options),
        Command::Endpoint(Word::Drain(options)) => endpoint::tell(&options, "drain"),
        Command::Endpoint(Word::Ready(options)) => endpoint::tell(&options, "ready"),
        Command::Endpoint(Word::Auto(options)) => endpoint::tell(&options, "auto"),
        Command::Filter(Filter::Promote(options)) => decide::decide(&options, Verdict::Promoted),
        Command::Filter(Filter::Abort(options)) => decide::decide(&options, Verdict::Aborted),
        Command::Certs(Certs::Rehearse(options)) => certs::rehearse(&options),
        Command::Reload(question) => reload::reload(&question),
        Command::Upgrade(question) => upgrade::upgrade(&question),
        Command::Top(options) => top::top(&options),
        Command::Compile { give_way } => compile::compile(give_way),
        Command::Version { json } => version(json),
    };
    match exit {
        Ok(Exit::Good) => ExitCode::SUCCESS,
        Ok(Exit::BadInput) => ExitCode::from(2),
        Ok(Exit::Failed) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lockgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn version(json: bool) -> anyhow::Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        return print_json(&serde_json::json!({
            "version": version,
            "contract": crate::filter::CONTRACT,
        }));
    }
    print(&format!(
        "lockgate {version} (filters: {})",
        crate::filter::CONTRACT
    ))
}
