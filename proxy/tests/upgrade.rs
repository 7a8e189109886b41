//! Another process takes over, and nobody notices.

mod support;

use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::admin::{ask_unix, json};
use support::load::{Connections, Load};
use support::process::{lockgate, run};
use support::{Client, LIMIT, Origin, Process, Proxy, Seen, within};

/// A process by a name of its own for the program, and those that take its place.
struct Running {
    first: Process,
    folder: PathBuf,
    /// The last one, if it is another.
    successor: Option<u32>,
}

impl Running {
    fn start(yaml: &str, variables: &[(&str, &Path)]) -> Self {
        let folder = Proxy::folder();
        let program = folder.join("lockgate");
        symlink(env!("CARGO_BIN_EXE_lockgate"), &program).unwrap();
        let known = lockgate(&["run", "--config"]);
        let mut command = Command::new(program);
        command.args(known.get_args()).stdin(Stdio::null());
        for (name, value) in known.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.envs(variables.iter().copied());
        let admin = folder.join("admin.sock");
        let yaml = format!("admin: {{ address: 'unix:{}' }}\n{yaml}", admin.display());
        let first = Process::spawn_by(command, folder.clone(), &yaml);
        first.logged("listening");
        Self {
            first,
            folder,
            successor: None,
        }
    }

    fn admin(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    fn ask(&self) -> (u16, Value) {
        let answer = ask_unix(&self.admin(), "POST", "/upgrade");
        (answer.status, json(&answer))
    }

    fn upgrade(&mut self) -> u32 {
        let (status, told) = self.ask();
        assert_eq!((status, &told["ok"]), (200, &Value::Bool(true)), "{told}");
        let process = u32::try_from(told["process"].as_u64().unwrap()).unwrap();
        self.successor = Some(process);
        process
    }

    /// Why it was refused.
    fn refused(&self) -> String {
        let (status, told) = self.ask();
        assert_eq!((status, &told["ok"]), (422, &Value::Bool(false)), "{told}");
        assert_eq!(self.first.get("/").text(), "body");
        told["mistakes"].to_string()
    }

    /// Another program under the same name.
    fn replace(&self, script: &str) {
        let new = self.folder.join("new");
        std::fs::write(&new, script).unwrap();
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(new, self.folder.join("lockgate")).unwrap();
    }

    fn put_back(&self) {
        std::fs::remove_file(self.folder.join("lockgate")).unwrap();
        let program = env!("CARGO_BIN_EXE_lockgate");
        symlink(program, self.folder.join("lockgate")).unwrap();
    }

    /// Signals the last one.
    fn signal(&self, name: &str) {
        let id = self.successor.unwrap_or(self.first.id()).to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(id) = self.successor.filter(|id| !has_ended(*id)) {
            let id = id.to_string();
            let status = Command::new("kill").args(["-s", "KILL", &id]).status();
            // It may have ended meanwhile.
            status.ok();
        }
    }
}

/// Or what is left of it waits for a parent that has gone.
fn has_ended(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    status.map_or(true, |status| {
        let (_, rest) = status.rsplit_once(')').unwrap();
        rest.trim_start().starts_with('Z')
    })
}

fn ends(process: u32) {
    within("it ends", || has_ended(process).then_some(()));
}

fn yaml(origin: &Origin) -> String {
    format!(
        "drain_timeout: 30s\n\
         listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    )
}

#[test]
fn twenty_upgrades_under_load_lose_no_request() {
    let origin = Origin::saying("body");
    let mut running = Running::start(&yaml(&origin), &[]);
    let load = Load::start(running.first.address(), Connections::MayEnd);
    let mut before = vec![running.first.id()];
    for _ in 0..20 {
        before.push(running.upgrade());
    }
    let last = before.pop().unwrap();
    for process in before {
        ends(process);
    }
    let (good, lost) = load.stop();
    assert!(lost.is_empty(), "{lost:#?}");
    assert!(good > 20, "{good}");
    assert!(!has_ended(last));
    running.signal("TERM");
    ends(last);
    assert!(
        !running.admin().exists(),
        "the last one takes its socket away"
    );
}

#[test]
fn open_connections_stay_with_the_process_that_drains() {
    let origin = Origin::scripted(|mut stream, seen| {
        seen.send(Seen::named("connected")).ok();
        let mut reader = stream.try_clone().unwrap();
        std::io::copy(&mut reader, &mut stream).ok();
        stream.shutdown(Shutdown::Write).ok();
    });
    let yaml = yaml(&origin).replace("cluster: o }", "cluster: o, protocols: [tcp] }");
    let mut running = Running::start(&yaml, &[]);
    let talk = |client: &mut Client, text: &str| {
        client.send(text);
        assert_eq!(client.exactly(text.len()), text.as_bytes());
    };
    let first = running.first.id();
    let mut old = running.first.connect();
    talk(&mut old, "before");
    let second = running.upgrade();
    running.first.logged("draining");
    talk(&mut old, "still");
    // The one before may be asked to stop as all of a service is, and goes on draining.
    let status = Command::new("kill")
        .args(["-s", "TERM", &first.to_string()])
        .status();
    assert!(status.unwrap().success());
    running.first.logged("draining already");
    talk(&mut old, "on");
    assert!(
        !has_ended(first),
        "it drains for as long as it has a connection"
    );
    old.finish();
    assert_eq!(old.rest(), b"");
    ends(first);
    talk(&mut running.first.connect(), "new");
    assert!(!has_ended(second));
}

/// A client that comes back to a connection after a while is told that it was the last
/// time, and not by a close.
#[test]
fn connections_without_a_request_are_waited_for() {
    let origin = Origin::saying("body");
    let mut running = Running::start(&yaml(&origin), &[]);
    let ask = |client: &mut Client| {
        let answer = client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").answer();
        assert_eq!(answer.text(), "body");
        answer.header("connection") == Some("close")
    };
    let mut clients: Vec<_> = (0..8).map(|_| running.first.connect()).collect();
    assert!(!clients.iter_mut().any(ask));
    let first = running.first.id();
    running.upgrade();
    running.first.logged("draining");
    assert_eq!(ask_unix(&running.admin(), "GET", "/ready").status, 200);
    let is_last = |client: &mut Client| within("it is the last time", || ask(client).then_some(()));
    clients.iter_mut().for_each(is_last);
    drop(clients);
    ends(first);
}

#[test]
fn lockgate_upgrade_tells_what_came_of_it() {
    let origin = Origin::saying("body");
    let mut running = Running::start(&yaml(&origin), &[]);
    let admin = format!("unix:{}", running.admin().display());
    let upgrade = || {
        let output = run(&["upgrade", "--admin", &admin]);
        let told = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), told)
    };
    running.replace("#!/bin/sh\nexit 3\n");
    let (code, told) = upgrade();
    assert_eq!(code, Some(2));
    let why = "error: the new process ended before it served (exit status: 3)";
    assert!(told.contains(why), "{told}");
    assert!(
        told.ends_with("refused: the process before goes on serving\n"),
        "{told}"
    );
    running.put_back();
    let (code, told) = upgrade();
    assert_eq!(code, Some(0), "{told}");
    let process = told.strip_prefix("upgraded: process ").unwrap();
    let process = process.split(' ').next().unwrap();
    running.successor = Some(process.parse().unwrap());
    assert_eq!(running.first.exit_code(), Some(0));
    assert_eq!(running.first.get("/").text(), "body");
}

#[test]
fn a_new_process_that_does_not_come_to_serve_changes_nothing() {
    let origin = Origin::saying("body");
    let running = Running::start(&yaml(&origin), &[]);
    running.replace("#!/bin/sh\nkill -s KILL $$\n");
    let why = running.refused();
    assert!(why.contains("signal: 9"), "{why}");
    std::fs::remove_file(running.folder.join("lockgate")).unwrap();
    let why = running.refused();
    assert!(why.contains("cannot be started"), "{why}");
    // Something else on whatever it was passed.
    let greet = "for fd in 3 4 5 6 7 8 9; do echo hello >&$fd; done 2>/dev/null";
    running.replace(&format!("#!/bin/bash\n{greet}\n"));
    let why = running.refused();
    assert!(why.contains("ended before it served"), "{why}");

    // One of ours, by a file that has become bad.
    running.put_back();
    let bad = "listeners: [{ name: web, address: '127.0.0.1:0', cluster: nowhere }]\n";
    running.first.edit(bad);
    let why = running.refused();
    assert!(
        why.contains("lockgate.yaml:") && why.contains("nowhere"),
        "{why}"
    );
}

#[test]
fn a_drain_does_not_wait_for_an_upgrade() {
    let origin = Origin::saying("body");
    let mut running = Running::start(&yaml(&origin), &[]);
    running.replace("#!/bin/sh\nexec sleep 1000\n");
    running.signal("USR2");
    let line = running.first.logged("a new process starts");
    let (_, process) = line.split_once("process=").unwrap();
    let process = process.parse().unwrap();
    running.signal("TERM");
    assert_eq!(running.first.exit_code(), Some(0));
    running.first.logged("drained");
    ends(process);
}

#[test]
fn a_signal_upgrades_and_a_service_manager_is_told() {
    let origin = Origin::saying("body");
    let path = Proxy::folder().join("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let told = || {
        let mut buffer = [0; 4096];
        let count = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..count].to_vec()).unwrap()
    };
    let mut running = Running::start(&yaml(&origin), &[("NOTIFY_SOCKET", &path)]);
    assert_eq!(told(), "READY=1\n");

    assert_eq!(ask_unix(&running.admin(), "POST", "/reload").status, 200);
    let reloads = told();
    assert!(
        reloads.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloads}"
    );
    assert_eq!(told(), "READY=1\n");

    running.signal("USR2");
    let line = running.first.logged("handed over");
    let (_, process) = line.split_once("process=").unwrap();
    let process = process.parse().unwrap();
    running.successor = Some(process);
    // Either may be first.
    let main = format!("MAINPID={process}\n");
    let mut both = [told(), told()];
    both.sort();
    assert_eq!(both, [&*main, "READY=1\n"]);
    assert_eq!(running.first.exit_code(), Some(0));
    running.signal("TERM");
    assert_eq!(told(), "STOPPING=1\n");
    ends(process);
}

/// Its path stays for as long as somebody serves.
#[test]
fn a_unix_socket_is_handed_on_with_its_path() {
    let origin = Origin::saying("body");
    let path = Proxy::folder().join("web.sock");
    let known = "listeners: [{ name: web, address: '127.0.0.1:0', cluster: o }";
    let unix = format!(
        "{known}, {{ name: unix, address: 'unix:{}', cluster: o }}",
        path.display()
    );
    let mut running = Running::start(&yaml(&origin).replace(known, &unix), &[]);
    let ask = || ask_unix(&path, "GET", "/").text();
    assert_eq!(ask(), "body");
    running.replace("#!/bin/sh\nexit 3\n");
    running.refused();
    assert_eq!(ask(), "body");
    running.put_back();
    for _ in 0..3 {
        running.upgrade();
        assert_eq!(ask(), "body");
    }
    assert_eq!(running.first.exit_code(), Some(0));
    assert_eq!(ask(), "body");
    let last = running.successor.unwrap();
    running.signal("TERM");
    ends(last);
    assert!(!path.exists());
}

/// More workers, or fewer, serve the same sockets.
#[test]
fn the_next_one_may_have_other_workers_and_listeners() {
    let origin = Origin::saying("body");
    let more = ", { name: b, address: '127.0.0.1:0', cluster: o }";
    let of = |workers: usize, more: &str| {
        let yaml = yaml(&origin).replace("cluster: o }]", &format!("cluster: o }}{more}]"));
        format!("workers: {workers}\n{yaml}")
    };
    let mut running = Running::start(&of(3, ""), &[]);
    let admin = format!(
        "admin: {{ address: 'unix:{}' }}\n",
        running.admin().display()
    );
    for (workers, more) in [(1, ""), (4, more), (2, "")] {
        running.first.edit(&format!("{admin}{}", of(workers, more)));
        let load = Load::start(running.first.address(), Connections::MayEnd);
        running.upgrade();
        for _ in 0..64 {
            assert_eq!(running.first.get("/").text(), "body");
        }
        let (_, lost) = load.stop();
        assert!(lost.is_empty(), "{workers}: {lost:#?}");
    }
}
