//! What a filter costs in each language: `lockgate:filter/header-check` of the
//! templates, as `proxy/tests/languages.rs` has built it. Prints a table.
//!
//! `LOCKGATE_LANGUAGES` is the folder with LANGUAGE/header-check/header-check.wasm;
//! a language that is not there is passed over.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate::filter::{EngineOptions, FilterEngine};
use lockgate_benches::{Bench, build, configuration};

const LANGUAGES: [&str; 4] = ["rust", "c", "python", "js"];
/// Exchanges that are measured, after as many that are not.
const EXCHANGES: usize = 20_000;
/// Instances beyond the first, by which memory and making them are measured.
const INSTANCES: usize = 16;

fn main() {
    let folder = env::var_os("LOCKGATE_LANGUAGES").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| "target/tmp/languages".into());
    println!(
        "{:8} {:>10} {:>10} {:>9} {:>9} {:>11} {:>11}",
        "language", "component", "compile", "p50", "p99", "instance", "memory"
    );
    for language in LANGUAGES {
        let component = folder.join(language).join("header-check/header-check.wasm");
        match fs::metadata(&component) {
            Ok(metadata) => measure(language, &component, metadata.len()),
            Err(error) => println!("{language:8} {}: {error}", component.display()),
        }
    }
}

fn measure(language: &str, component: &Path, bytes: u64) {
    let filter = format!(
        "  check:\n    component: '{}'\n    config: {{ require: x-api-key }}\n    \
         # As the projects have it: an interpreter collects its garbage now and then.\n    \
         limits: {{ cpu: 50ms, memory: 64MiB }}",
        component.display()
    );
    let configuration = configuration("check", &filter);
    let engine = FilterEngine::start(EngineOptions::default()).expect("the engine starts");

    let started = Instant::now();
    let first = build(&configuration, &engine, 1);
    let compile = started.elapsed();
    let (before, started) = (memory(), Instant::now());
    let more = build(&configuration, &engine, INSTANCES);
    let making = started.elapsed() / INSTANCES as u32;
    let each = memory().saturating_sub(before) / INSTANCES as u64;
    drop(more);

    let mut bench = Bench::of(&configuration, Arc::new(first));
    let mut times = exchanges(&mut bench);
    let (p50, p99) = percentiles(&mut times);
    println!(
        "{language:8} {:>7} kB {:>7} ms {:>6.1} µs {:>6.1} µs {:>8.1} µs {:>7} KiB",
        bytes / 1000,
        compile.as_millis(),
        micros(p50),
        micros(p99),
        micros(making),
        each / 1024
    );
}

/// How long exchanges take that pass: a call for the request and one for the answer.
fn exchanges(bench: &mut Bench) -> Vec<Duration> {
    (0..EXCHANGES).for_each(|_| bench.exchange());
    let answered = &bench
        .view()
        .response
        .as_ref()
        .expect("it is answered")
        .headers;
    assert_eq!(answered["x-checked"], "passed");
    let timed = |_| {
        let started = Instant::now();
        bench.exchange();
        started.elapsed()
    };
    (0..EXCHANGES).map(timed).collect()
}

fn percentiles(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Memory of this process; what is mapped in several places counts once.
fn memory() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux tells");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kibibytes = kibibytes.and_then(|number| number.trim().parse::<u64>().ok());
    kibibytes.expect("a line of it is `Pss`") * 1024
}
