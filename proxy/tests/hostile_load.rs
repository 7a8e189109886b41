//! Every hostile guest at once, each on a path of its own with 20 requests a second
//! and worker: another path on the same workers loses no request.
//!
//! It is a bench as well: it prints how long those requests took, quiet and under
//! the load (`benches/README.md`). `LOCKGATE_HOSTILE_SECONDS` makes it run longer.

#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/hostile_guests.rs"]
mod hostile_guests;
mod support;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hostile::tracer;
use hostile_guests::{Guest, guests};
use serde_json::{Map, Value, json};
use support::filtered::counted;
use support::{Client, Origin, Proxy, within};

const WORKERS: u32 = 2;
/// Hostile requests to each guest, by second and worker.
const RATE: u32 = 20;
const SECONDS: u32 = 4;
/// Requests of each steady client while nothing hostile happens.
const QUIET: usize = 300;
const STEADY_CLIENTS: usize = 4;
/// Between two requests of a steady client.
const STEADY_PACE: Duration = Duration::from_millis(5);
/// Hostile connections that stay open, of each guest: some are never answered.
const HELD: usize = 4;
/// The default of `limits.cpu`.
const CPU_BUDGET: Duration = Duration::from_millis(3);

/// Every guest is off but on its own route. The last route has a good filter.
fn configuration(guests: &[Guest], origin: &Origin, silent: &Origin) -> String {
    let names = || guests.iter().map(|guest| guest.name).chain(["steady"]);
    let routes: Vec<_> = names()
        .map(|name| {
            json!({ "name": name, "match": { "path_prefix": format!("/{name}") }, "cluster": "o" })
        })
        .collect();
    let off_but_on = |own: &str| -> Map<String, Value> {
        let others = names().filter(|name| *name != own);
        others.map(|name| (name.to_owned(), json!("off"))).collect()
    };
    let mut filters = Map::new();
    let router = json!({ "component": "lockgate:router", "config": { "routes": routes } });
    filters.insert("router".into(), router);
    for guest in guests {
        let mut entry = guest.entry.clone();
        entry["routes"] = Value::Object(off_but_on(guest.name));
        filters.insert(guest.name.into(), entry);
    }
    let good = json!({
        "component": "./guest.wasm", "config": tracer("steady"), "routes": off_but_on("steady"),
    });
    filters.insert("steady".into(), good);
    let chain: Vec<_> = ["router"].into_iter().chain(names()).collect();
    let listeners =
        json!([{ "name": "web", "address": "127.0.0.1:0", "cluster": "o", "filters": chain }]);
    let clusters = json!([
        { "name": "o", "endpoints": [origin.address.to_string()] },
        { "name": "silent", "endpoints": [silent.address.to_string()] },
    ]);
    format!(
        "workers: {WORKERS}\nadmin: {{ address: '127.0.0.1:0' }}\nlog: {{ level: error }}\n\
         listeners: {listeners}\nfilters: {}\nclusters: {clusters}\n",
        Value::Object(filters)
    )
}

/// Sends `count` requests, each when it is due, and waits for no answer.
fn attack(address: SocketAddr, guest: &Guest, count: u32) {
    let request = guest.request();
    let started = Instant::now();
    let mut held = VecDeque::new();
    for number in 0..count {
        wait_until(started + Duration::from_secs(1) * number / (RATE * WORKERS));
        let mut client = Client::connect(address);
        client.try_send(&request);
        held.push_back(client);
        if held.len() > HELD {
            held.pop_front();
        }
    }
}

/// Sends requests one after the other for as long as `goes_on` says, and tells how
/// long each took. Panics when one is lost.
fn steady(address: SocketAddr, goes_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut client = Client::connect(address);
    let mut took = Vec::new();
    while goes_on(took.len()) {
        let started = Instant::now();
        let answer = client
            .send("GET /steady HTTP/1.1\r\nhost: a\r\n\r\n")
            .answer();
        took.push(started.elapsed());
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.header("x-seen"), Some("steady"));
        wait_until(started + STEADY_PACE);
    }
    took
}

/// The pace of a load, not a wait for something to happen.
fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// So many clients at once, and all that they measured, sorted.
fn steadies(address: SocketAddr, goes_on: impl Fn(usize) -> bool + Sync) -> Vec<Duration> {
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..STEADY_CLIENTS)
            .map(|_| scope.spawn(|| steady(address, &goes_on)))
            .collect();
        let took = clients.into_iter().map(|client| client.join().unwrap());
        took.flatten().collect()
    });
    took.sort();
    took
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[test]
fn no_request_beside_hostile_ones_is_lost() {
    let seconds = std::env::var("LOCKGATE_HOSTILE_SECONDS");
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let origin = Origin::start(|_| {
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-end: 1\r\n\r\n"
            .to_vec()
    });
    let silent = Origin::scripted(|mut stream, _| {
        std::io::copy(&mut stream, &mut std::io::sink()).ok();
    });
    let guests = guests();
    let folder = Proxy::folder();
    std::fs::write(folder.join("guest.wasm"), hostile::component()).unwrap();
    std::fs::write(folder.join("caller.wasm"), hostile::caller()).unwrap();
    std::fs::write(folder.join("table.wasm"), hostile::table_bomb()).unwrap();
    let proxy = Proxy::start_in(folder, &configuration(&guests, &origin, &silent));
    let address = proxy.address();

    let quiet = steadies(address, |done| done < QUIET);
    let is_over = AtomicBool::new(false);
    let loaded = std::thread::scope(|scope| {
        let steady = scope.spawn(|| steadies(address, |_| !is_over.load(Relaxed)));
        let attacks: Vec<_> = guests
            .iter()
            .map(|guest| scope.spawn(|| attack(address, guest, RATE * WORKERS * seconds)))
            .collect();
        for attack in attacks {
            attack.join().unwrap();
        }
        is_over.store(true, Relaxed);
        steady.join().unwrap()
    });

    for guest in guests.iter().filter(|guest| !guest.is_patient) {
        let labels = [("filter", guest.name)];
        let faults = || counted(&proxy, "lockgate_filter_faults_total", &labels);
        // On a slow machine it may not have come to it while its clients were there.
        let mut client = Client::connect(address);
        if faults() == 0 {
            client.try_send(guest.request());
        }
        within(&format!("`{}` is a danger", guest.name), || {
            (faults() > 0).then_some(())
        });
    }
    for name in ["loop", "ask-without-end"] {
        let paused = [("filter", name), ("fault", "paused")];
        let count = counted(&proxy, "lockgate_filter_faults_total", &paused);
        assert_ne!(count, 0, "`{name}` is called again and again");
    }
    tell(&quiet, &loaded);
}

fn tell(quiet: &[Duration], loaded: &[Duration]) {
    for (what, took) in [("quiet", quiet), ("beside hostile requests", loaded)] {
        let [half, p99] = [50, 99].map(|percent| percentile(took, percent));
        println!("{what}: {} requests, p50 {half:?}, p99 {p99:?}", took.len());
    }
    let allowed = percentile(quiet, 99) * 2 + CPU_BUDGET;
    println!("twice the quiet p99 and a CPU budget of {CPU_BUDGET:?}: {allowed:?}");
}
