//! The configurations in `examples` do what their READMEs say, with addresses of this
//! machine in the place of theirs.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{KeyPair, SanType};
use support::tls::{Authority, Pair, Speaks, TlsClient};
use support::{Client, Origin, Proxy, Seen};

/// A configuration with other addresses, each of which has to be in it.
fn example(path: &str, addresses: &[(&str, &str)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = std::fs::read_to_string(root.join("examples").join(path)).unwrap();
    for (theirs, ours) in addresses {
        assert!(text.contains(theirs), "{path} names {theirs}");
        text = text.replace(theirs, ours);
    }
    text
}

/// A folder with an empty `certs`.
fn folder() -> (PathBuf, PathBuf) {
    let folder = Proxy::folder();
    let certs = folder.join("certs");
    std::fs::create_dir(&certs).unwrap();
    (folder, certs)
}

const ANY: &str = "127.0.0.1:0";
const ADMIN: (&str, &str) = ("127.0.0.1:9901", ANY);

#[test]
fn the_edge_gateway() {
    let (shop, api) = (Origin::saying("shop"), Origin::saying("api"));
    let (folder, certs) = folder();
    let authority = Authority::new("root");
    authority.issue(&["edge.test"]).write(&certs, "edge");
    authority.issue(&["*.edge.test"]).write(&certs, "wildcard");
    let yaml = example(
        "edge-gateway/lockgate.yaml",
        &[
            ADMIN,
            ("0.0.0.0:80\"", "127.0.0.1:0\""),
            ("0.0.0.0:443\"", "127.0.0.1:0\""),
            ("10.0.1.10:8080", &shop.address.to_string()),
            ("10.0.2.10:8080", &api.address.to_string()),
            ("lame_duck: 5s", "lame_duck: 0s"),
        ],
    );
    let proxy = Proxy::start_in(folder, &yaml);
    let mut plain = Client::connect(proxy.listener("plain").unwrap());
    let answer = plain
        .send("GET /a?b=c HTTP/1.1\r\nhost: edge.test\r\n\r\n")
        .answer();
    let location = Some("https://edge.test/a?b=c");
    assert_eq!((answer.status, answer.header("location")), (308, location));

    let edge = proxy.listener("edge").unwrap();
    let config = Speaks::new(&authority).config();
    let ask = |name: &str, path: &str| {
        let mut client = TlsClient::connect(edge, &config, name).unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: {name}\r\nx-user: root\r\n\r\n");
        client.send(head).answer().text()
    };
    assert_eq!(ask("edge.test", "/"), "shop");
    assert_eq!(shop.seen().header("x-user"), None);
    assert_eq!(ask("api.edge.test", "/"), "api");
    assert_eq!(ask("api.edge.test", "/health"), "ok");
    assert!(TlsClient::connect(edge, &config, "other.test").is_err());

    let mut client = TlsClient::connect(edge, &config, "edge.test").unwrap();
    let mut statuses = Vec::new();
    for _ in 0..1_000 {
        client.send("GET /health HTTP/1.1\r\nhost: edge.test\r\n\r\n");
        statuses.push(client.answer().status);
        if statuses.last() == Some(&429) {
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&429), "somebody asks too often");
    assert!(statuses.len() > 150, "{} were let through", statuses.len());
}

#[test]
fn the_sidecar_pair() {
    let payments = Origin::saying("charged");
    let authority = Authority::new("mesh");
    let sidecar = |name: &str| {
        let (folder, certs) = folder();
        std::fs::write(certs.join("mesh.pem"), authority.pem()).unwrap();
        workload(&authority, name).write(&certs, name);
        folder
    };
    let addresses = [
        ("127.0.0.1:9902", ANY),
        ("0.0.0.0:15443", ANY),
        ("127.0.0.1:8080", &payments.address.to_string()),
    ];
    let yaml = example("sidecar-pair/payments.yaml", &addresses);
    let inbound = Proxy::start_in(sidecar("payments"), &yaml);
    let inbound = inbound.listener("inbound").unwrap();
    let addresses = |to: SocketAddr| {
        let addresses = [
            ADMIN,
            ("127.0.0.1:15001", ANY),
            ("payments.internal:15443", &to.to_string()),
        ];
        example("sidecar-pair/web.yaml", &addresses)
    };
    let outbound = Proxy::start_in(sidecar("web"), &addresses(inbound));
    let post = |path: &str| {
        let mut client = Client::connect(outbound.listener("outbound").unwrap());
        let head = format!("POST {path} HTTP/1.1\r\nhost: payments\r\ncontent-length: 2\r\n\r\n17");
        client.send(head).answer()
    };
    assert_eq!(post("/charges").text(), "charged");
    let seen = payments.seen();
    let who = seen.header("x-forwarded-client-cert").unwrap();
    assert!(
        who.contains("URI=spiffe://example.org/ns/shop/sa/web"),
        "{who}"
    );
    assert_eq!(post("/refunds").status, 403);
    assert!(payments.seen_now().is_none());

    // Nobody comes in without a certificate, and what is not payments gets nothing.
    let mut nobody = Speaks::new(&authority);
    let asked = |speaks: &Speaks| {
        let client = TlsClient::connect(inbound, &speaks.config(), "payments.internal");
        client.is_ok_and(|mut client| {
            client
                .try_send("POST /charges HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
                .ok();
            client.rest().is_ok_and(|rest| !rest.is_empty())
        })
    };
    assert!(!asked(&nobody));
    nobody.certificate = Some(workload(&Authority::new("other"), "web"));
    assert!(!asked(&nobody));
    assert!(payments.seen_now().is_none());
}

/// The certificate of a workload: its SPIFFE ID is its only URI.
fn workload(authority: &Authority, name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    authority.issue_with(&["payments.internal"], &key, |params| {
        let id = format!("spiffe://example.org/ns/shop/sa/{name}");
        params
            .subject_alt_names
            .push(SanType::URI(id.try_into().unwrap()));
    })
}

#[test]
fn tcp_by_name() {
    let (orders, stock) = (Origin::saying("orders"), told_by_a_header());
    let authority = Authority::new("root");
    let database = serving(&authority, "orders.db.test", &orders);
    let yaml = example(
        "tcp-sni/lockgate.yaml",
        &[
            ADMIN,
            ("0.0.0.0:5432", ANY),
            ("10.0.3.10:5432", &database.address().to_string()),
            ("10.0.4.10:5432", &stock.address.to_string()),
        ],
    );
    let proxy = Proxy::start(&yaml);
    let address = proxy.listener("databases").unwrap();
    let config = Speaks::new(&authority).config();
    let mut client = TlsClient::connect(address, &config, "orders.db.test").unwrap();
    assert_eq!(client.get("/").text(), "orders");
    // Its origin hangs up where TLS would begin.
    assert!(TlsClient::connect(address, &config, "a.stock.db.test").is_err());
    assert_eq!(stock.seen().line, "PROXY v2");
    assert!(TlsClient::connect(address, &config, "other.test").is_err());
}

/// A service that speaks TLS under a name.
fn serving(authority: &Authority, name: &str, origin: &Origin) -> Proxy {
    let folder = Proxy::folder();
    authority.issue(&[name]).write(&folder, "own");
    let yaml = format!(
        "listeners: [{{ name: web, address: '127.0.0.1:0', cluster: o, \
         tls: {{ certificates: [{{ chain: own.pem, key: own.key }}] }} }}]\n\
         clusters: [{{ name: o, endpoints: ['{}'] }}]\n",
        origin.address
    );
    Proxy::start_in(folder, &yaml)
}

/// Reports the header that a connection begins with, and ends it.
fn told_by_a_header() -> Origin {
    Origin::scripted(|mut stream, seen| {
        let mut signature = [0; 12];
        if std::io::Read::read_exact(&mut stream, &mut signature).is_ok() {
            assert_eq!(&signature, b"\r\n\r\n\0\r\nQUIT\n");
            seen.send(Seen::named("PROXY v2")).ok();
        }
    })
}
