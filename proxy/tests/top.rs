//! `lockgate top`: the bill of a running proxy, over its admin address.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use support::filtered::yaml;
use support::process::{lockgate, run};
use support::{Client, Origin, Proxy, within};

const ROUTER: &str =
    "  router: { component: lockgate:router, config: { routes: [{ name: r, cluster: o }] } }\n";

fn start(origin: &Origin) -> Proxy {
    Proxy::start(&yaml("router", "", ROUTER, &[("o", origin)]))
}

/// What stands under each title in the row of this filter.
fn row(text: &str, filter: &str) -> Vec<(String, String)> {
    let titles = text.lines().next().unwrap().split_whitespace();
    let row = text.lines().find(|line| line.starts_with(filter));
    let row = row.unwrap_or_else(|| panic!("no `{filter}` in {text}"));
    let cells = row.split_whitespace().map(str::to_owned);
    titles.map(str::to_owned).zip(cells).collect()
}

fn cell(row: &[(String, String)], title: &str) -> f64 {
    let (_, cell) = row.iter().find(|(known, _)| known == title).unwrap();
    cell.trim_end_matches('M').parse().unwrap()
}

#[test]
fn one_table_tells_what_happened_in_between() {
    let origin = Origin::saying("ok");
    let proxy = start(&origin);
    let (address, admin) = (proxy.address(), proxy.admin().to_string());
    let is_over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Relaxed) {
                let head = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
                assert_eq!(Client::connect(address).send(head).answer().status, 200);
            }
        });
        let output = run(&["top", "--admin", &admin, "--once", "--interval", "0.3"]);
        is_over.store(true, Relaxed);
        output
    });
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let row = row(&text, "router");
    for title in ["CALLS/S", "US/CALL", "INSTANCES", "MEMORY"] {
        assert!(cell(&row, title) > 0.0, "{title} in {text}");
    }
    assert_eq!(cell(&row, "FAULTS/S"), 0.0, "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn tables_follow_each_other_until_nobody_reads_them() {
    let origin = Origin::saying("ok");
    let folder = Proxy::folder();
    let text = yaml("router", "", ROUTER, &[("o", &origin)]);
    let socket = folder.join("admin.sock");
    let text = text.replace(
        "127.0.0.1:0' }\n",
        &format!("unix:{}' }}\n", socket.display()),
    );
    let proxy = Proxy::start_in(folder, &text);
    let file = proxy.path().join("lockgate.yaml");
    let mut child = lockgate(&["top", "--interval", "0.1", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let is_title = |line: &String| line.starts_with("FILTER");
        assert!(
            lines
                .by_ref()
                .map_while(Result::ok)
                .any(|line| is_title(&line))
        );
    }
    drop(lines);
    let status = within("it ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn who_is_not_there_is_told() {
    let output = run(&["top", "--once"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&["top", "--admin", "127.0.0.1:1", "--once", "--interval", "0"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&["top", "--admin", "127.0.0.1:1", "--once"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("cannot connect to the admin address 127.0.0.1:1"),
        "{text}"
    );
}
