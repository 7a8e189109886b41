//! Requests that a client sends along with its first message, when it comes again.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use support::admin::metric_sum;
use support::tls::{Authority, Speaks, TlsClient};
use support::{LIMIT, Origin, Proxy, within};

const GET: &str = "GET /early HTTP/1.1\r\nhost: test\r\n\r\n";

struct Scene {
    origin: Origin,
    proxy: Proxy,
    authority: Authority,
}

impl Scene {
    fn new(tls: &str, listener: &str) -> Self {
        let (authority, origin) = (Authority::new("root"), Origin::saying("body"));
        let folder = Proxy::folder();
        authority.issue(&["edge.test"]).write(&folder, "edge");
        let yaml = format!(
            "admin: {{ address: '127.0.0.1:0' }}\n\
             listeners:\n\
             - name: web\n\
             \x20 address: 127.0.0.1:0\n\
             \x20 cluster: origin\n\
             \x20 tls: {{ certificates: [{{ chain: edge.pem, key: edge.key }}]{tls} }}\n\
             {listener}\
             clusters: [{{ name: origin, endpoints: ['{}'] }}]\n",
            origin.address
        );
        let proxy = Proxy::start_in(folder, &yaml);
        Self {
            origin,
            proxy,
            authority,
        }
    }

    fn with_early_data() -> Self {
        Self::new(", early_data: true", "")
    }

    /// A client that was here before.
    fn known(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut speaks = Speaks::new(&self.authority);
        speaks.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut config = Arc::unwrap_or_clone(speaks.config());
        config.enable_early_data = true;
        let config = Arc::new(config);
        let mut first = TlsClient::connect(self.proxy.address(), &config, "edge.test").unwrap();
        match alpn {
            ["h2"] => drop(first.send(http2(&[])).exactly(9)),
            _ => {
                assert_eq!(first.get("/first").text(), "body");
                let seen = self.origin.seen();
                assert_eq!(seen.header("early-data"), None);
            }
        }
        config
    }

    fn too_early(&self) -> f64 {
        let errors = "lockgate_request_errors_total";
        metric_sum(self.proxy.admin(), errors, "error=\"too_early\"")
    }
}

/// A connection whose client has heard the proxy, and does not answer it: its handshake is
/// not done before it says more.
struct Early {
    session: ClientConnection,
    tcp: TcpStream,
    heard: Vec<u8>,
}

impl Early {
    /// Says this with its first message, and gives both as they went out, too.
    fn say(scene: &Scene, config: &Arc<ClientConfig>, early: impl AsRef<[u8]>) -> (Self, Vec<u8>) {
        let name = ServerName::try_from("edge.test").unwrap();
        let mut session = ClientConnection::new(config.clone(), name).unwrap();
        let mut data = session
            .early_data()
            .expect("there is a ticket that allows it");
        data.write_all(early.as_ref()).unwrap();
        let mut tcp = TcpStream::connect(scene.proxy.address()).unwrap();
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        let mut flight = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut flight).unwrap();
        }
        tcp.write_all(&flight).unwrap();
        let early = Self {
            session,
            tcp,
            heard: Vec::new(),
        };
        (early, flight)
    }

    /// Hears the proxy until this was said, without a word.
    fn hears(&mut self, wanted: &[u8]) {
        while !self.has_heard(wanted) {
            assert!(
                self.session.read_tls(&mut self.tcp).unwrap() > 0,
                "{self:?}"
            );
            self.session.process_new_packets().unwrap();
            let mut piece = [0; 16 * 1024];
            while let Ok(count @ 1..) = self.session.reader().read(&mut piece) {
                self.heard.extend_from_slice(&piece[..count]);
            }
        }
        assert!(self.session.is_early_data_accepted());
    }

    fn has_heard(&self, wanted: &[u8]) -> bool {
        let mut windows = self.heard.windows(wanted.len());
        windows.any(|window| window == wanted)
    }

    /// Ends the handshake, and says more.
    fn say_more(&mut self, more: impl AsRef<[u8]>) {
        self.heard.clear();
        self.session.writer().write_all(more.as_ref()).unwrap();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.tcp).unwrap();
        }
    }
}

impl std::fmt::Debug for Early {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.heard))
    }
}

/// The beginning of a connection of HTTP/2, with requests of these methods, by their
/// numbers in HPACK's static table.
fn http2(methods: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for (stream, method) in (1..).step_by(2).zip(methods) {
        // `https`, `/`, and the authority `test`.
        let head = [&[0x80 | method, 0x87, 0x84, 0x41, 4], &b"test"[..]].concat();
        // The end of the head, and of the stream.
        bytes.extend([0, 0, head.len() as u8, 1, 5, 0, 0, 0, stream]);
        bytes.extend(head);
    }
    bytes
}

#[test]
fn a_safe_request_is_answered_before_the_handshake_is_done() {
    // Where names are looked at, the first message is read by itself.
    for tls in ["", ", unknown_name: refuse, require_name: true"] {
        is_answered_early(&Scene::new(&format!(", early_data: true{tls}"), ""));
    }
}

fn is_answered_early(scene: &Scene) {
    let config = scene.known(&[]);
    // More than is read at once.
    let field = "x".repeat(6000);
    let get = GET.replace("\r\n\r\n", &format!("\r\nx-long: {field}\r\n\r\n"));
    let (mut early, _) = Early::say(scene, &config, get);
    early.hears(b"\r\n\r\nbody");
    let seen = scene.origin.seen();
    assert_eq!(seen.line, "GET /early HTTP/1.1");
    assert_eq!(seen.header("early-data"), Some("1"));
    assert_eq!(seen.header("x-long"), Some(&*field));
    // Whatever comes after it is nobody else's.
    early.say_more("POST /later HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi");
    early.hears(b"\r\n\r\nbody");
    let seen = scene.origin.seen();
    assert_eq!(seen.line, "POST /later HTTP/1.1");
    assert_eq!(seen.header("early-data"), None);
    assert_eq!(scene.too_early(), 0.0);
}

#[test]
fn what_would_do_harm_twice_is_refused() {
    let scene = Scene::with_early_data();
    let websocket = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let requests = [
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi",
        "DELETE / HTTP/1.1\r\nhost: test\r\n\r\n",
        websocket,
    ];
    for request in requests {
        let (mut early, _) = Early::say(&scene, &scene.known(&[]), request);
        early.hears(b"HTTP/1.1 425 ");
        early.hears(b"only after the TLS handshake\n");
    }
    within("they are counted", || {
        (scene.too_early() == 3.0).then_some(())
    });
    // The origin heard of none of them.
    let config = scene.known(&[]);
    let mut client = TlsClient::connect(scene.proxy.address(), &config, "edge.test").unwrap();
    client.get("/after");
    assert_eq!(scene.origin.seen().line, "GET /after HTTP/1.1");
}

#[test]
fn streams_of_http2_are_early_each() {
    let scene = Scene::with_early_data();
    let config = scene.known(&["h2"]);
    let (get, post) = (2, 3);
    let (mut early, _) = Early::say(&scene, &config, http2(&[get, post]));
    // `:status`, in the static table as 200 and as a name.
    early.hears(b"body");
    early.hears(b"only after the TLS handshake\n");
    let seen = scene.origin.seen();
    assert_eq!(
        (&*seen.line, seen.header("early-data")),
        ("GET / HTTP/1.1", Some("1"))
    );
    within("it is counted", || (scene.too_early() == 1.0).then_some(()));
    let later = http2(&[get, get, post]);
    // The third stream alone.
    let head = later.len() - 18;
    early.say_more(&later[head..]);
    early.hears(b"body");
    let seen = scene.origin.seen();
    assert_eq!(
        (&*seen.line, seen.header("early-data")),
        ("POST / HTTP/1.1", None)
    );
}

/// Who overheard a client says all of it again.
#[test]
fn a_repetition_comes_to_nothing() {
    let scene = Scene::with_early_data();
    let config = scene.known(&[]);
    let (mut early, flight) = Early::say(&scene, &config, GET);
    early.hears(b"\r\n\r\nbody");
    assert_eq!(scene.origin.seen().line, "GET /early HTTP/1.1");
    let mut thief = TcpStream::connect(scene.proxy.address()).unwrap();
    thief.set_read_timeout(Some(LIMIT)).unwrap();
    thief.write_all(&flight).unwrap();
    let mut hello = [0; 5];
    thief.read_exact(&mut hello).unwrap();
    assert_eq!(hello[0], 22, "a handshake as with anybody");
    let mut client = TlsClient::connect(scene.proxy.address(), &config, "edge.test").unwrap();
    client.get("/after");
    assert_eq!(scene.origin.seen().line, "GET /after HTTP/1.1");
}

#[test]
fn it_is_off_unless_it_is_asked_for() {
    let scene = Scene::new("", "");
    let config = scene.known(&[]);
    let name = ServerName::try_from("edge.test").unwrap();
    let mut session = ClientConnection::new(config, name).unwrap();
    assert!(session.early_data().is_none());
}
