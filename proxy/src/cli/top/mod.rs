//! `lockgate top`: what each filter does and costs, again and again.

mod table;

use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use super::admin::{Asked, Failed, Whom};
use crate::console::Exit;
use crate::control::admin::client;
use table::{Sample, Table};

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    whom: Whom,
    /// Seconds between two looks, of which a table tells the difference.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    interval: Duration,
    /// One table, after one interval.
    #[arg(long)]
    once: bool,
}

pub fn top(options: &Options) -> anyhow::Result<Exit> {
    let asked = match options.whom.find() {
        Ok(asked) => asked,
        Err(failed) => return failed.tell(false),
    };
    let is_live = !options.once && stdout().is_terminal();
    let mut before = None;
    loop {
        let now = match look(&asked) {
            Ok(sample) => sample,
            Err(failed) => return failed.tell(false),
        };
        if let Some(before) = before.replace(now.clone()) {
            let table = Table::between(&before, &now).to_string();
            if !show(&table, is_live)? || options.once {
                return Ok(Exit::Good);
            }
        }
        std::thread::sleep(options.interval);
    }
}

fn look(asked: &Asked) -> Result<Sample, Failed> {
    let filters = asked.ask(client::get_filters)?;
    Ok(Sample {
        taken: Instant::now(),
        filters,
    })
}

/// Whether anybody still reads it.
///
/// A terminal's table is written over the one before: three escape sequences that
/// every terminal knows, for which no crate is needed. Nothing is to be put back
/// when the command is interrupted.
fn show(table: &str, is_live: bool) -> anyhow::Result<bool> {
    const HOME: &str = "\x1b[H";
    const REST_OF_LINE: &str = "\x1b[K";
    const REST_OF_SCREEN: &str = "\x1b[J";
    let text = match is_live {
        true => {
            let lines = table.replace('\n', &format!("{REST_OF_LINE}\n"));
            format!("{HOME}{lines}{REST_OF_SCREEN}")
        }
        false => format!("{table}\n"),
    };
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "wanted a number of seconds")?;
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("wanted 0.1 to 3600 seconds".to_owned()),
    }
}
