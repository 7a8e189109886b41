use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::config::{Account, KeepAlive, SocketFileRules};

fn rules() -> ListenerSocket {
    ListenerSocket {
        backlog: 64,
        reuse_port: true,
        ipv6_only: false,
        no_delay: true,
        keep_alive: None,
        fast_open: None,
        mark: None,
        freebind: false,
        transparent: false,
        file: SocketFileRules::private(),
    }
}

fn on(address: ListenAddress, socket: ListenerSocket) -> config::Listener {
    let yaml = "listeners: [{ name: web, address: '127.0.0.1:0' }]";
    let loaded = config::load_text(yaml, "lockgate.yaml", &|_| None).unwrap();
    config::Listener {
        address,
        socket,
        ..loaded.config.listeners[0].clone()
    }
}

fn tcp(address: &str) -> ListenAddress {
    ListenAddress::Tcp(address.parse().unwrap())
}

fn bind_to(address: ListenAddress, workers: usize) -> Result<Socket, BindError> {
    bind(&on(address, rules()), workers, &Inherited::default())
}

fn address(socket: &Socket) -> SocketAddr {
    match socket.address {
        ListenAddress::Tcp(address) => address,
        _ => panic!("{}", socket.address),
    }
}

/// A folder for a test of this name.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lockgate-{name}-{}", std::process::id()));
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_second_process_on_the_same_port_is_told_so() {
    let first = bind_to(tcp("127.0.0.1:0"), 2).unwrap();
    let error = bind_to(first.address.clone(), 2).unwrap_err();
    assert!(
        error.to_string().contains("is another Lockgate running?"),
        "{error}"
    );
}

#[test]
fn every_worker_takes_its_socket_once() {
    let socket = bind_to(tcp("127.0.0.1:0"), 2).unwrap();
    assert_ne!(address(&socket).port(), 0);
    for worker in 0..2 {
        let taken = socket.take(worker);
        assert_eq!(taken.len(), 1);
        let bound = taken[0].local_addr().unwrap().as_socket();
        assert_eq!(bound, Some(address(&socket)));
        assert!(socket.take(worker).is_empty());
    }
    assert!(socket.take(2).is_empty());
}

#[test]
fn passed_sockets_are_shared_out_whatever_their_number() {
    for (passed, workers, wanted) in [
        (1, 1, &[1][..]),
        (1, 3, &[1, 1, 1]),
        (2, 3, &[1, 1, 1]),
        (3, 2, &[2, 1]),
    ] {
        let sockets = open_all("127.0.0.1:0".parse().unwrap(), &rules(), passed).unwrap();
        let bound = bound_to(&sockets[0]).unwrap().unwrap();
        let passed_on = sockets
            .into_iter()
            .map(|socket| (socket.into(), String::new()));
        let inherited = Inherited::of(passed_on.collect());
        let socket = bind(&on(bound, rules()), workers, &inherited).unwrap();
        let taken: Vec<_> = (0..workers)
            .map(|worker| socket.take(worker).len())
            .collect();
        assert_eq!(taken, wanted, "{passed} for {workers}");
        assert_eq!(socket.descriptors().unwrap().len(), passed);
        assert!(inherited.close_rest().is_empty());
    }
}

#[test]
fn a_socket_closes_when_its_workers_and_the_control_thread_let_go() {
    let socket = bind_to(tcp("127.0.0.1:0"), 1).unwrap();
    let connects = || TcpStream::connect(address(&socket)).is_ok();
    assert_eq!(socket.descriptors().unwrap().len(), 1);
    socket.let_go();
    assert!(socket.descriptors().unwrap().is_empty());
    assert!(connects());
    drop(socket.take(0));
    assert!(!connects());
}

#[test]
fn a_name_that_was_not_passed_is_told() {
    let error = bind_to(ListenAddress::Systemd("edge".into()), 1).unwrap_err();
    assert!(error.to_string().contains("the name `edge`"), "{error}");
}

#[test]
fn accepted_connections_have_the_listeners_options() {
    let probes = KeepAlive {
        idle: Duration::from_secs(31),
        interval: Duration::from_secs(7),
        count: 3,
    };
    for no_delay in [true, false] {
        let rules = ListenerSocket {
            no_delay,
            keep_alive: Some(probes.clone()),
            fast_open: Some(16),
            reuse_port: false,
            ..rules()
        };
        let socket = bind(&on(tcp("127.0.0.1:0"), rules), 2, &Inherited::default()).unwrap();
        assert_eq!(socket.descriptors().unwrap().len(), 1, "one that both have");
        let _client = TcpStream::connect(address(&socket)).unwrap();
        let listening = socket.take(0).remove(0);
        listening.set_nonblocking(false).unwrap();
        let (stream, _) = TcpListener::from(listening).accept().unwrap();
        let stream = RawSocket::from(stream);
        assert_eq!(stream.tcp_nodelay().unwrap(), no_delay);
        assert!(stream.keepalive().unwrap());
        assert_eq!(stream.tcp_keepalive_time().unwrap(), probes.idle);
        assert_eq!(stream.tcp_keepalive_interval().unwrap(), probes.interval);
        assert_eq!(stream.tcp_keepalive_retries().unwrap(), probes.count);
    }
}

#[test]
fn ipv6_may_be_alone_or_take_ipv4_too() {
    for (ipv6_only, takes_ipv4) in [(false, true), (true, false)] {
        let rules = ListenerSocket {
            ipv6_only,
            ..rules()
        };
        let socket = bind(&on(tcp("[::]:0"), rules), 1, &Inherited::default()).unwrap();
        let port = address(&socket).port();
        assert!(TcpStream::connect(("::1", port)).is_ok());
        assert_eq!(
            TcpStream::connect(("127.0.0.1", port)).is_ok(),
            takes_ipv4,
            "{ipv6_only}"
        );
    }
}

#[test]
fn an_address_that_is_not_there_yet_wants_freebind() {
    let nobodys = tcp("192.0.2.77:4711");
    let error = bind_to(nobodys.clone(), 1).unwrap_err().to_string();
    assert!(error.contains("no such address"), "{error}");
    let rules = ListenerSocket {
        freebind: true,
        ..rules()
    };
    bind(&on(nobodys, rules), 1, &Inherited::default()).unwrap();
}

#[test]
fn a_unix_socket_has_its_mode_and_owner_and_goes_with_its_listener() {
    let folder = folder("unix-socket");
    let path = folder.join("web.sock");
    let own = |path: &Path| std::os::unix::fs::MetadataExt::gid(&path.metadata().unwrap());
    let rules = ListenerSocket {
        file: SocketFileRules {
            mode: 0o640,
            owner: None,
            group: Some(Account::Number(own(&folder))),
        },
        ..rules()
    };
    let config = on(ListenAddress::Unix(path.clone()), rules);
    let socket = bind(&config, 2, &Inherited::default()).unwrap();
    let mode = path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!((socket.take(0).len(), socket.take(1).len()), (1, 1));
    assert!(UnixStream::connect(&path).is_ok());
    let error = bind(&config, 1, &Inherited::default()).unwrap_err();
    assert!(error.to_string().contains("a running process"), "{error}");
    // It is told what became of it where another goes on with it.
    let passed = socket.descriptors().unwrap().remove(0);
    let inherited = Inherited::of(vec![(passed, String::new())]);
    let next = bind(&config, 1, &inherited).unwrap();
    socket.leave_name();
    socket.let_go();
    assert!(UnixStream::connect(&path).is_ok());
    drop(next);
    assert!(path.exists());
    // And one that nobody has any more is replaced, and taken away.
    drop(socket);
    let socket = bind(&config, 1, &Inherited::default()).unwrap();
    assert!(UnixStream::connect(&path).is_ok());
    socket.let_go();
    assert!(!path.exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_no_socket_and_who_is_unknown_is_told() {
    let folder = folder("no-socket");
    let path = folder.join("web.sock");
    std::fs::write(&path, "precious").unwrap();
    let error = bind_to(ListenAddress::Unix(path.clone()), 1).unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let mut rules = rules();
    rules.file.owner = Some(Account::Name("nobody-of-this-name".to_owned()));
    let config = on(ListenAddress::Unix(path), rules);
    let error = bind(&config, 1, &Inherited::default()).unwrap_err();
    let wanted = "/etc/passwd has no `nobody-of-this-name`";
    assert_eq!(error.to_string(), wanted);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_name_of_the_kernels_own_leaves_no_file() {
    let name = format!("\0lockgate-bind-{}", std::process::id());
    let address = ListenAddress::Unix(name.clone().into());
    let socket = bind_to(address.clone(), 1).unwrap();
    assert_eq!(socket.address.to_string(), format!("unix:@{}", &name[1..]));
    assert!(bind_to(address, 1).is_err());
}
