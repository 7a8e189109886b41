//! Many connections on which nothing happens.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use support::{Client, Origin, Process, Proxy, within};

const CONNECTIONS: usize = 10_000;
/// Names the proxy's address to the other end, a process of its own: both ends
/// would be too many descriptors for one.
const ADDRESS: &str = "LOCKGATE_TEST_IDLE_ADDRESS";
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn ten_thousand_idle_connections_are_held() {
    let origin = Origin::saying("ok");
    allow_descriptors(CONNECTIONS + 1000);
    let proxy = Proxy::start(&format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: origin, timeouts: {{ idle: 1h }} }}]\n\
         clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
        origin.address
    ));
    assert_eq!(proxy.get("/").status, 200);
    let before = resident_bytes();
    let mut holder = Holder::start(proxy.address());
    holder.wait_for("held");
    assert_eq!(proxy.get("/").text(), "ok", "nobody else is harmed");
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    assert!(each < 16 * 1024, "{each} bytes each");
    holder.go_on();
    holder.wait_for("answered");
}

/// Not a test by itself: the other end of the one above.
#[test]
fn hold_connections() {
    let Ok(address) = std::env::var(ADDRESS) else {
        return;
    };
    allow_descriptors(CONNECTIONS + 1000);
    let address: SocketAddr = address.parse().unwrap();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(address)).collect();
    // Each has been accepted, served, and is idle again.
    ask_all(&mut clients);
    println!("held");
    std::io::stdin().read_exact(&mut [0]).unwrap();
    ask_all(&mut clients);
    println!("answered");
}

/// What looks at running filters wakes up a thousand times a second while some run, and hardly
/// more often than anybody else while none does.
#[test]
fn nobody_looks_at_filters_that_do_not_run() {
    let process = Process::start(
        "listeners: [{ name: web, address: '127.0.0.1:0', filters: [fault] }]\n\
         filters: { fault: { component: 'lockgate:fault', config: { abort: { status: 418 } } } }\n",
    );
    assert_eq!(process.get("/").status, 418);
    let wakes = || {
        let of = |name| wakes(process.id(), name);
        (of("control"), of("filter-ticker"))
    };
    let mut before = wakes();
    within("it is looked at seldom", || {
        let now = wakes();
        let (control, ticker) = (now.0 - before.0, now.1 - before.1);
        if control < 5 {
            return None;
        }
        before = now;
        (ticker < 10 * control).then_some(())
    });
    // And soon again where one runs.
    assert_eq!(process.get("/").status, 418);
}

/// How often a thread of a process has gone to sleep.
fn wakes(process: u32, name: &str) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let mut threads = threads.map(|thread| thread.unwrap().path());
    let thread = threads
        .find(|thread| read(thread.join("comm")).trim() == name)
        .expect("such a thread");
    let status = read(thread.join("status"));
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

fn ask_all(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(client.send(REQUEST).answer().status, 200);
    }
}

struct Holder {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Holder {
    fn start(address: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hold_connections", "--nocapture"])
            .env(ADDRESS, address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn wait_for(&mut self, word: &str) {
        let mut lines = self.output.by_ref().lines();
        assert!(
            lines.any(|line| line.unwrap().ends_with(word)),
            "the other end failed"
        );
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |number| number.parse::<usize>().unwrap() * 1024)
}

/// Raises the soft limit of this process, which is often 1,024.
#[allow(unsafe_code, reason = "there is no safe call for this")]
fn allow_descriptors(count: usize) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    let wanted = count as libc::rlim_t;
    // SAFETY: both calls get a valid pointer to a limit of ours.
    let is_allowed = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0
            && (limit.rlim_cur >= wanted || {
                limit.rlim_cur = wanted.min(limit.rlim_max);
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted
            })
    };
    assert!(is_allowed, "this test needs {count} descriptors");
}
