//! Sockets that the process is started with, as systemd passes them.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};
use support::process::{self, Process};
use support::{Client, LIMIT, Proxy, admin, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// Listening sockets of one address, of which each has a queue of its own.
fn sockets(count: usize) -> (Vec<TcpListener>, SocketAddr) {
    let mut address: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let open = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        address = socket.local_addr().unwrap().as_socket().unwrap();
        socket.into()
    };
    ((0..count).map(open).collect(), address)
}

/// Starts Lockgate with one or two sockets, by the shell, whose number it keeps.
fn start(sockets: Vec<TcpListener>, variables: &str, yaml: &str) -> Process {
    let mut sockets = sockets.into_iter().map(OwnedFd::from);
    let script =
        format!("LISTEN_PID=$$ {variables} exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null");
    let lockgate = process::lockgate(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(lockgate.get_program())
        .args(["run", "--config"]);
    for (name, value) in lockgate.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(sockets.next().map_or_else(Stdio::null, Stdio::from));
    command.stdout(sockets.next().map_or_else(Stdio::null, Stdio::from));
    Process::spawn_by(command, Proxy::folder(), yaml)
}

fn listener(name: &str, address: &str) -> String {
    format!("listeners: [{{ name: {name}, address: '{address}' }}]\n")
}

/// A connection with a request that nobody reads yet.
fn ask(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.send(GET);
    client
}

#[test]
fn who_connected_before_the_start_is_answered() {
    let (sockets, address) = sockets(1);
    let mut early = ask(address);
    let yaml = listener("web", &address.to_string());
    let process = start(sockets, "LISTEN_FDS=1", &yaml);
    assert_eq!(early.answer().status, 404);
    assert_eq!(process.address(), address);
    assert_eq!(process.get("/").status, 404);
}

#[test]
fn sockets_of_a_name_are_served_whatever_their_number_and_that_of_workers() {
    for workers in [1, 2, 3] {
        let (sockets, address) = sockets(2);
        // Both queues get some of them, but for one in 2¹⁹ runs.
        let mut early: Vec<_> = (0..20).map(|_| ask(address)).collect();
        let yaml = format!("workers: {workers}\n{}", listener("web", "systemd:edge"));
        let told = "LISTEN_FDS=2 LISTEN_FDNAMES=edge:edge";
        let process = start(sockets, told, &yaml);
        for client in &mut early {
            assert_eq!(client.answer().status, 404);
        }
        for _ in 0..20 {
            assert_eq!(ask(address).answer().status, 404);
        }
        drop(process);
    }
}

#[test]
fn the_admin_address_is_a_passed_one() {
    let (sockets, address) = sockets(1);
    let yaml = format!(
        "admin: {{ address: {address} }}\n{}",
        listener("web", "127.0.0.1:0")
    );
    let process = start(sockets, "LISTEN_FDS=1", &yaml);
    process.logged("listening");
    assert_eq!(admin::get(address, "/ready").status, 200);
    assert!(!process.log().contains("no listener's"));
}

#[test]
fn what_no_listener_wants_is_told_and_closed() {
    let (mut passed, address) = sockets(1);
    let (other, unwanted) = sockets(1);
    passed.extend(other);
    let yaml = listener("web", &address.to_string());
    let process = start(passed, "LISTEN_FDS=2 LISTEN_FDNAMES=web:old", &yaml);
    process.logged("listening");
    let told = process.logged("no listener's");
    assert!(told.contains(&format!("`old` at {unwanted}")), "{told}");
    assert!(TcpStream::connect(unwanted).is_err());
}

#[test]
fn no_socket_goes_on_to_child_processes() {
    let (sockets, address) = sockets(1);
    let yaml = listener("web", &address.to_string());
    let process = start(sockets, "LISTEN_FDS=1", &yaml);
    process.logged("listening");
    let folder = format!("/proc/{}/fd", process.id());
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let to = fs::read_link(&path).unwrap_or_default();
        if !to.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let info = format!(
            "/proc/{}/fdinfo/{}",
            process.id(),
            path.file_name().unwrap().display()
        );
        let info = fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert_ne!(
            flags & 0o2000000,
            0,
            "{} is not closed on exec",
            path.display()
        );
        seen += 1;
    }
    assert!(seen >= 2, "{seen} sockets");
}

#[test]
fn a_reload_closes_a_passed_socket_only_with_its_listener() {
    let (sockets, address) = sockets(1);
    let (moved, wide) = (listener("moved", &address.to_string()), "127.0.0.1:0");
    let process = start(
        sockets,
        "LISTEN_FDS=1 LISTEN_FDNAMES=edge",
        &listener("web", "systemd:edge"),
    );
    process.logged("listening");
    // The same socket, by its address.
    process.edit(&moved);
    process.logged("generation=2");
    assert_eq!(ask(address).answer().status, 404);
    process.edit(&listener("web", wide));
    process.logged("generation=3");
    within("the socket is closed", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    // It is not passed a second time.
    process.edit(&listener("web", "systemd:edge"));
    process.logged("`edge`");
}

#[test]
fn an_environment_that_lies_refuses_the_start() {
    for (variables, told) in [
        ("LISTEN_FDS=x", "`LISTEN_FDS` is `x`"),
        ("LISTEN_FDS=-1", "`LISTEN_FDS` is `-1`"),
        ("LISTEN_FDS=99999", "`LISTEN_FDS` is `99999`"),
        ("LISTEN_FDS=40", "descriptor 5 is told by `LISTEN_FDS`"),
    ] {
        let (sockets, _) = sockets(1);
        let mut process = start(sockets, variables, &listener("web", "127.0.0.1:0"));
        assert_eq!(process.exit_code(), Some(1), "{variables}");
        process.logged(told);
    }
    let (sockets, _) = sockets(1);
    let yaml = listener("web", "systemd:edge");
    let mut process = start(sockets, "LISTEN_FDS=1 LISTEN_FDNAMES=other", &yaml);
    assert_eq!(process.exit_code(), Some(2));
    process.logged("the name `edge` was passed");
}

/// systemd's own program starts Lockgate at the first connection, which then waits.
#[test]
fn systemd_passes_a_socket_with_a_name() {
    const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";
    assert!(
        Path::new(ACTIVATE).exists(),
        "Debian's package `systemd` is wanted for this test"
    );
    // An address that no other test has, since it cannot be told which one is taken.
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = SocketAddr::from(([127, high, low, 77], 4711));
    let lockgate = process::lockgate(&[]);
    let mut command = Command::new(ACTIVATE);
    command.arg(format!("--listen={address}"));
    command.arg("--fdname=edge").arg(lockgate.get_program());
    command.args(["run", "--config"]);
    let process = Process::spawn_by(command, Proxy::folder(), &listener("web", "systemd:edge"));
    let mut client = within("somebody listens", || {
        TcpStream::connect_timeout(&address, LIMIT).ok()?;
        Some(ask(address))
    });
    assert_eq!(client.answer().status, 404);
    process.logged("listening");
}
