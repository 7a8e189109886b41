//! How the real program takes signals, and how it ends.

mod support;

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use support::admin::ask_unix;
use support::process::lockgate;
use support::{Client, Origin, Process, Proxy, within};

fn policy(origin: &Origin, drain_timeout: &str) -> String {
    format!(
        "drain_timeout: {drain_timeout}\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    )
}

/// A process with a request that its origin holds.
fn held(origin: &Origin, drain_timeout: &str) -> (Process, Client) {
    let process = Process::start(&policy(origin, drain_timeout));
    let mut client = process.connect();
    client.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(origin.seen().line.contains("/held"));
    (process, client)
}

#[test]
fn sigterm_lets_what_is_under_way_finish_and_takes_nothing_new() {
    let (origin, release) = Origin::holding("body");
    let (mut process, mut client) = held(&origin, "20s");
    let address = process.address();
    let mut idle = process.connect();
    idle.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(idle.answer().status, 200);

    process.signal("TERM");
    process.logged("draining");
    assert_eq!(idle.rest(), b"", "an idle connection is closed");
    within("new connections are refused", || {
        TcpStream::connect(address).err()
    });
    release.send(()).unwrap();
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.text()), (200, "body"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(client.rest(), b"");
    assert_eq!(process.exit_code(), Some(0));
    process.logged("drained");
}

#[test]
fn sigint_drains_too() {
    let origin = Origin::saying("body");
    let mut process = Process::start(&policy(&origin, "20s"));
    process.signal("INT");
    assert_eq!(process.exit_code(), Some(0));
    process.logged("drained");
}

#[test]
fn a_drain_ends_at_its_limit_and_says_so() {
    let (origin, _release) = Origin::holding("body");
    let (mut process, mut client) = held(&origin, "100ms");
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    let line = process.logged("the drain limit was reached");
    assert!(line.contains("open=1"), "{line}");
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.text()), (503, "shutting down\n"));
    assert_eq!(client.rest(), b"");
}

/// An access log is what it could wait for.
#[test]
fn a_second_signal_ends_it_at_once() {
    let (origin, _release) = Origin::holding("body");
    let folder = Proxy::folder();
    let log = folder.join("access.log");
    let access_log = format!("access_log: {{ to: '{}' }}\n", log.display());
    let mut process = Process::start_in(folder, &(access_log + &policy(&origin, "1h")));
    let mut client = process.connect();
    client.send("GET /held HTTP/1.1\r\nhost: test\r\n\r\n");
    origin.seen();
    process.signal("TERM");
    process.logged("draining");
    // Those that come right after the first are one with it.
    within("a second signal is taken", || {
        process.signal("TERM");
        let log = process.log();
        log.contains("a second signal came").then_some(())
    });
    let taken = Instant::now();
    assert_eq!(process.exit_code(), Some(1));
    let took = taken.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(client.rest(), b"");
}

/// `timeout` signals the process and its group.
#[test]
fn signals_that_come_together_are_one() {
    let (origin, release) = Origin::holding("body");
    let (mut process, mut client) = held(&origin, "20s");
    let both = "kill -s TERM \"$0\"; kill -s INT \"$0\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", both, &process.id().to_string()]);
    assert!(shell.status().unwrap().success());
    process.logged("draining");
    release.send(()).unwrap();
    assert_eq!(client.answer().status, 200);
    assert_eq!(process.exit_code(), Some(0));
    process.logged("drained");
}

/// A reload that waits for a registry, and the connection on which that says nothing.
fn reloading(process: &Process, origin: &Origin) -> TcpStream {
    let registry = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = registry.local_addr().unwrap();
    let digest = "0".repeat(64);
    let late = format!(
        "registries: [{{ host: '{host}', plain_http: true }}]\n\
         filters: {{ late: {{ component: 'oci://{host}/late@sha256:{digest}' }} }}\n"
    );
    process.edit(&format!("{late}{}", policy(origin, "1s")));
    registry.set_nonblocking(true).unwrap();
    within("the reload asks the registry", || registry.accept().ok()).0
}

#[test]
fn a_drain_does_not_wait_for_a_reload() {
    let origin = Origin::saying("body");
    let mut process = Process::start(&policy(&origin, "1s"));
    let _registry = reloading(&process, &origin);
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    process.logged("drained");
    assert!(!process.log().contains("reload refused"));
}

#[test]
fn a_sighup_during_a_reload_means_another_one() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let process = Process::start(&policy(&old, "1s"));
    let registry = reloading(&process, &old);
    process.signal("HUP");
    process.edit(&policy(&new, "1s"));
    drop(registry);
    process.logged("reload refused");
    process.logged("reloaded why=\"SIGHUP\"");
    assert_eq!(process.get("/").text(), "new");
}

#[test]
fn sighup_reloads() {
    let (old, new) = (Origin::saying("old"), Origin::saying("new"));
    let process = Process::start(&policy(&old, "1s"));
    assert_eq!(process.get("/").text(), "old");
    process.edit(&policy(&new, "1s"));
    process.signal("HUP");
    within("the new cluster", || {
        (process.get("/").text() == "new").then_some(())
    });
    process.logged("SIGHUP");
    process.edit("listeners: 7\n");
    process.signal("HUP");
    process.logged("reload refused; the old configuration stays");
    assert_eq!(process.get("/").text(), "new");
}

#[test]
fn a_signal_of_log_rotation_does_no_harm() {
    let origin = Origin::saying("body");
    let mut process = Process::start(&policy(&origin, "1s"));
    process.signal("USR1");
    process.signal("HUP");
    process.logged("SIGHUP");
    assert_eq!(process.get("/").text(), "body");
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
}

#[test]
fn a_second_lockgate_on_the_same_port_says_so() {
    let origin = Origin::saying("body");
    let process = Process::start(&policy(&origin, "1s"));
    let address = process.address();
    let taken = policy(&origin, "1s").replace("127.0.0.1:0", &address.to_string());
    let mut second = Process::spawn_in(Proxy::folder(), &taken);
    assert_eq!(second.exit_code(), Some(2));
    let line = second.logged("is another Lockgate running?");
    assert!(line.contains(&address.to_string()), "{line}");
    assert!(line.contains("lockgate.yaml:"), "{line}");
    assert_eq!(process.get("/").text(), "body");
}

#[test]
fn a_taken_admin_address_is_told_like_a_taken_listener() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let origin = Origin::saying("body");
    let yaml = format!(
        "admin: {{ address: '{address}' }}\n{}",
        policy(&origin, "1s")
    );
    let mut process = Process::spawn_in(Proxy::folder(), &yaml);
    assert_eq!(process.exit_code(), Some(2));
    let line = process.logged("is another Lockgate running?");
    assert!(
        line.contains(&format!("cannot listen on {address}: ")),
        "{line}"
    );
    assert!(line.contains("lockgate.yaml:4:"), "{line}");
}

#[test]
fn a_bad_configuration_does_not_start() {
    let path = support::process::file("listeners: 7\n");
    let output = lockgate(&["run", "--config"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("lockgate.yaml:"), "{told}");
}

/// Whoever balances over several looks at `/ready` from time to time.
#[test]
fn a_lame_duck_serves_on_and_is_not_ready() {
    let origin = Origin::saying("body");
    let folder = Proxy::folder();
    let socket = folder.join("admin.sock");
    let admin = format!("admin: {{ address: 'unix:{}' }}\n", socket.display());
    let yaml = |lame_duck| format!("lame_duck: {lame_duck}\n{admin}{}", policy(&origin, "20s"));
    let mut process = Process::start_in(folder, &yaml("1h"));
    let mut kept = process.connect();
    kept.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(kept.answer().status, 200);
    process.signal("TERM");
    process.logged("serving on, not ready any more");
    within("it says that it is not ready", || {
        let ready = ask_unix(&socket, "GET", "/ready");
        (ready.status == 503 && ready.text() == "draining\n").then_some(())
    });
    kept.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(kept.answer().header("connection"), None);
    assert_eq!(process.get("/").header("connection"), None);
    within("a second signal is taken", || {
        process.signal("TERM");
        process.log().contains("a second signal came").then_some(())
    });
    assert_eq!(process.exit_code(), Some(1));

    let mut process = Process::start_in(Proxy::folder(), &yaml("10ms"));
    process.signal("TERM");
    assert_eq!(process.exit_code(), Some(0));
    process.logged("serving on, not ready any more");
    process.logged("drained");
}
