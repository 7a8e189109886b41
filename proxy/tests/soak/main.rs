//! The real program under everything at once: steady clients, hostile filters, reloads
//! good and bad, and origins that are killed. Whatever a steady client gets is checked,
//! status and content; whatever a hostile filter makes of its own request has to be
//! what `on_error` says. Memory is sampled all the while.
//!
//! `LOCKGATE_SOAK_SECONDS=3600` makes it the hour that the releases are measured by,
//! and `LOCKGATE_SOAK_SEED` repeats the choices of another run. From half an hour on,
//! memory has to be flat as well.

#[path = "../support/hostile.rs"]
mod hostile;
#[path = "../support/hostile_guests.rs"]
mod hostile_guests;
#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod footprint;
mod ledger;
mod origins;
mod policy;
mod reloads;
mod steady;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fastrand::Rng;
use footprint::Footprints;
use ledger::Ledger;
use origins::Cluster;
use policy::Scenery;
use support::admin::{ask_unix, json};
use support::{Origin, Process, Proxy, within};

const SECONDS: u64 = 10;
const STEADY_CLIENTS: u64 = 6;
const ATTACKERS: u64 = 3;
const SHAKY_ENDPOINTS: u8 = 3;
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// What all that happens at once shares.
pub struct Stage {
    pub process: Process,
    pub address: SocketAddr,
    pub scenery: Scenery,
    /// Policies that an answer may come from now.
    pub valid: Valid,
    pub ledger: Ledger,
    is_over: AtomicBool,
}

/// From the number of the oldest policy to that of the newest.
#[derive(Default)]
pub struct Valid {
    pub oldest: AtomicU64,
    pub newest: AtomicU64,
}

impl Stage {
    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Relaxed)
    }

    /// The pace of a load, not a wait for something to happen. Ends early with the run.
    pub fn wait_until(&self, due: Instant) {
        while self.goes_on() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

#[test]
fn everything_at_once_loses_no_request() {
    let seconds = from_environment("LOCKGATE_SOAK_SECONDS").unwrap_or(SECONDS);
    let seed = from_environment("LOCKGATE_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("{seconds} s, LOCKGATE_SOAK_SEED={seed}");
    let silent = Origin::scripted(|mut stream, _| {
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let stable = Cluster::start([1]);
    let shaky = Cluster::start(2..2 + SHAKY_ENDPOINTS);
    let stage = start(seed, &silent, &stable, &shaky);
    let footprints = run(&stage, &shaky, Duration::from_secs(seconds));
    tell(&stage, &footprints);
    let lost = stage.ledger.told_lost();
    assert!(lost.is_empty(), "{lost:#?}\n{}", complaints(&stage));
    footprints.check(Duration::from_secs(seconds));
    ends_well(stage);
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

fn start(seed: u64, silent: &Origin, stable: &Cluster, shaky: &Cluster) -> Stage {
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    std::fs::write(folder.join("caller.wasm"), hostile::caller()).unwrap();
    std::fs::write(folder.join("table.wasm"), hostile::table_bomb()).unwrap();
    reloads::write_component(&folder, &mut Rng::new());
    let clusters = [
        ("shaky", shaky.addresses()),
        ("stable", stable.addresses()),
        ("silent", vec![silent.address]),
    ];
    let scenery = Scenery::new(seed, &folder, &clusters);
    let process = Process::start_in(folder, &scenery.policy(0).text());
    let stage = Stage {
        address: process.address(),
        process,
        scenery,
        valid: Valid::default(),
        ledger: Ledger::default(),
        is_over: AtomicBool::new(false),
    };
    steady::use_up_the_limit(&stage);
    stage
}

/// Everything at once, for so long.
fn run(stage: &Stage, shaky: &Cluster, length: Duration) -> Footprints {
    let rng = |number: u64| Rng::with_seed(stage.scenery.seed.wrapping_add(number));
    std::thread::scope(|scope| {
        scope.spawn(|| reloads::go_on(stage, rng(1)));
        scope.spawn(|| origins::kill_on(stage, shaky, rng(2)));
        for number in 0..STEADY_CLIENTS {
            scope.spawn(move || steady::go_on(stage, number));
        }
        for number in 0..ATTACKERS {
            let rng = rng(3 + number);
            scope.spawn(move || attacks::go_on(stage, rng));
        }
        let footprints = observe(stage, length);
        stage.is_over.store(true, Relaxed);
        footprints
    })
}

fn observe(stage: &Stage, length: Duration) -> Footprints {
    let began = Instant::now();
    let mut footprints = Footprints::default();
    let (mut sampled, mut told) = (began, began);
    while began.elapsed() < length {
        sampled += length / 40;
        stage.wait_until(sampled.min(began + length));
        footprints.sample(stage, began.elapsed());
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            println!("{}; {}", footprints.last(), stage.ledger.line());
        }
    }
    footprints
}

/// What the log says of filters that mean well, and of the proxy itself.
fn complaints(stage: &Stage) -> String {
    let log = stage.process.log();
    let is_hostile = |line: &str| {
        let mut guests = stage.scenery.guests.iter();
        guests.any(|guest| line.contains(&format!("filter=\"{}\"", guest.name)))
    };
    let others: Vec<_> = log.lines().filter(|line| !is_hostile(line)).collect();
    others.join("\n")
}

fn tell(stage: &Stage, footprints: &Footprints) {
    println!("{footprints}{}", stage.ledger.table());
    println!("{}", stage.ledger.line());
}

/// Nothing is left of what is over, and the process stops when it is told to.
fn ends_well(mut stage: Stage) {
    let socket = stage.process.path().join("admin.sock");
    within("the old generations end", || {
        let told = json(&ask_unix(&socket, "GET", "/generations"));
        (told["live"].as_array().unwrap().len() == 1).then_some(())
    });
    let mut footprints = Footprints::default();
    footprints.sample(&stage, Duration::ZERO);
    println!("at rest: {}", footprints.last());
    stage.process.signal("TERM");
    assert_eq!(stage.process.exit_code(), Some(0));
}
