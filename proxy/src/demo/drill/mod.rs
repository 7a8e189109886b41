//! `lockgate demo --drill`: one of ten origins is broken on purpose under load, and what
//! clients saw is told.
//!
//! Three parts of one load: all is well, one origin is broken, it is well again. Fails where
//! clients noticed more than was promised.

mod fleet;
mod load;
pub mod origin;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::app::{App, Options};
use crate::console::{Exit, print};
use fleet::Fleet;
use origin::Order;
use report::{Part, Seen};

/// Requests a second.
const RATE: u32 = 400;
/// Of the parts before and after.
const AROUND: Duration = Duration::from_secs(2);
const BROKEN: Duration = Duration::from_secs(6);
const POLICY: &str = include_str!("policy.yaml");

/// What happens to one origin of ten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Drill {
    /// It is killed (SIGKILL), and started again.
    Kill,
    /// It is frozen (SIGSTOP): connections are open, and nothing comes.
    Freeze,
    /// It takes twenty times as long.
    Slow,
    /// It refuses and serves by turns, each second.
    Flap,
    /// It closes its connections and refuses new ones.
    Refuse,
}

impl Drill {
    fn name(self) -> &'static str {
        match self {
            Drill::Kill => "kill: one of ten origins is killed (SIGKILL), then started again",
            Drill::Freeze => "freeze: one of ten origins is frozen (SIGSTOP), then goes on",
            Drill::Slow => "slow: one of ten origins takes twenty times as long",
            Drill::Flap => "flap: one of ten origins refuses and serves by turns, each second",
            Drill::Refuse => "refuse: one of ten origins closes and refuses connections",
        }
    }

    /// What clients may notice at most.
    fn promise(self, seen: &Seen) -> Result<&'static str, &'static str> {
        let failed = seen.failed(Part::Broken);
        let (is_kept, promise) = match self {
            Drill::Kill | Drill::Refuse => {
                (failed == 0, "no request fails, since all may be repeated")
            }
            Drill::Freeze => (failed == 0, "what it was given is asked of others in time"),
            Drill::Slow => (failed == 0, "no request fails"),
            Drill::Flap => (
                failed * 1000 <= seen.count(Part::Broken),
                "of a thousand requests one fails at most",
            ),
        };
        let is_kept = is_kept && seen.failed(Part::Before) == 0 && seen.failed(Part::After) == 0;
        match is_kept {
            true => Ok(promise),
            false => Err(promise),
        }
    }
}

/// One after the other.
pub fn run(drills: &[Drill]) -> anyhow::Result<Exit> {
    let mut broken = 0;
    for drill in drills {
        print(&format!("\n{}", drill.name()))?;
        let seen = rehearse(*drill)?;
        print(&seen.table())?;
        match drill.promise(&seen) {
            Ok(promise) => print(&format!("ok    {promise}"))?,
            Err(promise) => {
                broken += 1;
                print(&format!("WRONG it was promised that {promise}"))?
            }
        };
    }
    Ok(match broken {
        0 => Exit::Good,
        _ => Exit::Failed,
    })
}

fn rehearse(drill: Drill) -> anyhow::Result<Seen> {
    let folder = std::env::temp_dir().join(format!("lockgate-drill-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = rehearse_in(&folder, drill);
    std::fs::remove_dir_all(&folder).ok();
    outcome
}

fn rehearse_in(folder: &Path, drill: Drill) -> anyhow::Result<Seen> {
    let mut fleet = Fleet::start()?;
    let path = folder.join("lockgate.yaml");
    std::fs::write(&path, policy(&fleet))?;
    let app = App::start(Options::new(&path))?;
    let proxy = app.address("web").context("the drill has no listener")?;
    let began = Instant::now();
    let whole = AROUND + BROKEN + AROUND;
    let loading = std::thread::spawn(move || load::run(proxy, RATE, whole));
    wait_until(began + AROUND);
    break_one(&mut fleet, drill, began + AROUND + BROKEN)?;
    let samples = loading.join();
    let samples = samples.map_err(|_| anyhow::anyhow!("the load could not be made"))??;
    let admin = app
        .admin_address()
        .context("the drill has no admin address")?;
    let counters = report::counters(admin)?;
    app.stop();
    Ok(Seen::new(samples, counters, AROUND, BROKEN))
}

/// Until then it is broken, and well again afterwards.
fn break_one(fleet: &mut Fleet, drill: Drill, until: Instant) -> anyhow::Result<()> {
    match drill {
        Drill::Kill => {
            fleet.kill()?;
            wait_until(until);
            fleet.start_again()
        }
        Drill::Freeze => {
            fleet.freeze()?;
            wait_until(until);
            fleet.thaw()
        }
        Drill::Slow => {
            fleet.tell(Order::Slow)?;
            wait_until(until);
            fleet.tell(Order::Well)
        }
        Drill::Flap => {
            for order in [Order::Refuse, Order::Well].into_iter().cycle() {
                if Instant::now() >= until {
                    break;
                }
                fleet.tell(order)?;
                wait_until(until.min(Instant::now() + Duration::from_secs(1)));
            }
            fleet.tell(Order::Well)
        }
        Drill::Refuse => {
            fleet.tell(Order::Refuse)?;
            wait_until(until);
            fleet.tell(Order::Well)
        }
    }
}

fn wait_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

fn policy(fleet: &Fleet) -> String {
    let addresses: Vec<_> = fleet
        .addresses()
        .map(|address| format!("'{address}'"))
        .collect();
    POLICY.replace("@ENDPOINTS@", &addresses.join(", "))
}
