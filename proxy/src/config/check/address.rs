//! Addresses, networks and header names, from text.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use http::{HeaderName, HeaderValue};

use crate::config::checked::{
    AdminAddress, EndpointAddress, HostPattern, ListenAddress, Network, WEBSOCKET,
};

/// A text is not what was wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) wanted: String,
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(wanted: impl Into<String>) -> Self {
        Self {
            wanted: wanted.into(),
            hint: None,
        }
    }

    fn with_hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }
}

/// An address to listen on.
pub(super) fn read_listen(text: &str) -> Result<ListenAddress, Wrong> {
    if let Some(name) = text.strip_prefix("systemd:") {
        return read_descriptor(name);
    }
    if let Some(name) = text.strip_prefix("unix:") {
        return read_unix(name).map(ListenAddress::Unix);
    }
    let hint = || match text.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(port)) => Some(format!(
            "`0.0.0.0:{port}` is every IPv4 address of the machine"
        )),
        _ => hint_for(text),
    };
    text.parse().map(ListenAddress::Tcp).map_err(|_| {
        Wrong::new(
            "an IP address with a port, such as `0.0.0.0:8080`, `unix:/path`, or `systemd:NAME`",
        )
        .with_hint(hint())
    })
}

/// A name as systemd has them (`FileDescriptorName=`).
fn read_descriptor(name: &str) -> Result<ListenAddress, Wrong> {
    let is_good = |c: char| c.is_ascii() && !c.is_ascii_control() && c != ':';
    // With a slash begin the names under which one Lockgate passes sockets to the next.
    let is_free = !name.starts_with('/');
    match is_free && (1..=255).contains(&name.len()) && name.chars().all(is_good) {
        true => Ok(ListenAddress::Systemd(name.into())),
        false => Err(Wrong::new(
            "the name of a socket after `systemd:`: ASCII without `:` and without `/` at its beginning, 255 characters at most",
        )),
    }
}

pub(super) fn read_admin(text: &str) -> Result<AdminAddress, Wrong> {
    match text.strip_prefix("unix:") {
        Some(path) => absolute(path).map(AdminAddress::Unix),
        None => text.parse().map(AdminAddress::Tcp).map_err(|_| {
            Wrong::new("`unix:/path` or an IP address with a port, such as `127.0.0.1:9901`")
                .with_hint(hint_for(text))
        }),
    }
}

pub(super) fn read_endpoint(text: &str) -> Result<EndpointAddress, Wrong> {
    if text == "original_dst" {
        return Ok(EndpointAddress::OriginalDestination);
    }
    if text == "request_target" {
        return Ok(EndpointAddress::RequestTarget);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return read_unix(path).map(EndpointAddress::Unix);
    }
    if let Some(name) = text.strip_prefix("srv:") {
        let wrong =
            || Wrong::new("the name of a service after `srv:`: `srv:_http._tcp.example.com`");
        return match is_host(name) {
            true => Ok(EndpointAddress::Service(name.to_ascii_lowercase())),
            false => Err(wrong()),
        };
    }
    if let Some(path) = text.strip_prefix("file:") {
        return match path.is_empty() {
            true => Err(Wrong::new("the path of a file after `file:`")),
            false => Ok(EndpointAddress::File(path.into())),
        };
    }
    let wanted = "`host:port`, `[v6]:port`, `unix:/path`, `srv:name` or `file:path`";
    let wrong = || Wrong::new(wanted).with_hint(hint_for(text));
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => Err(Wrong::new("a port from 1 to 65535")),
            _ => Ok(EndpointAddress::Socket(address)),
        };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    match is_host(host) && port != 0 {
        true => Ok(EndpointAddress::Host {
            host: host.to_ascii_lowercase(),
            port,
        }),
        false => Err(wrong()),
    }
}

/// A host name (RFC 1123, with the `_` that is found in practice). One that ends
/// in a number would be a broken IPv4 address.
pub fn is_host(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let last = name.rsplit('.').next().unwrap_or("");
    name.len() <= 253 && name.split('.').all(is_label) && !last.chars().all(|c| c.is_ascii_digit())
}

/// A name of a host, names below one (`*.example.com`), or `*`, which is every name.
pub(super) fn read_host_pattern(text: &str) -> Result<HostPattern, Wrong> {
    if text == "*" {
        return Ok(HostPattern::Every);
    }
    let (is_below, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let hint = match is_address {
        true => Some("addresses go in `networks`".to_owned()),
        false if !name.is_ascii() => Some("names are written as in DNS: `xn--...`".to_owned()),
        false => hint_for(name),
    };
    if !is_host(name) {
        let wanted = "the name of a host, `*.` and a name for those below it, or `*`";
        return Err(Wrong::new(wanted).with_hint(hint));
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    Ok(match is_below {
        true => HostPattern::Below(name),
        false => HostPattern::One(name),
    })
}

fn absolute(path: &str) -> Result<PathBuf, Wrong> {
    match Path::new(path).is_absolute() && !path.contains('\0') {
        true => Ok(PathBuf::from(path)),
        false => Err(Wrong::new("an absolute path after `unix:`")),
    }
}

/// A path, or the name of an abstract socket behind `@`. The kernel has room for 107
/// bytes, of which a file's name needs four while it is made.
fn read_unix(text: &str) -> Result<PathBuf, Wrong> {
    if text.len() > 103 {
        return Err(Wrong::new("at most 103 bytes after `unix:`"));
    }
    match text.strip_prefix('@') {
        Some("") => Err(Wrong::new("a name after `unix:@`")),
        Some(name) if name.contains('\0') => Err(Wrong::new("a name without NUL")),
        Some(name) => Ok(PathBuf::from(format!("\0{name}"))),
        None => absolute(text),
    }
}

fn hint_for(text: &str) -> Option<String> {
    scheme_hint(text)
        .or_else(|| brackets_hint(text))
        .or_else(|| scope_hint(text))
}

/// `[fe80::1%eth0]:80` is a name, of which nobody knows whether it stays the same.
fn scope_hint(text: &str) -> Option<String> {
    let is_scoped = text.starts_with('[') && text.contains('%');
    is_scoped.then(|| {
        "the scope of an address is a number, which `ip link` tells: `[fe80::1%2]:80`".to_owned()
    })
}

fn scheme_hint(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("://")?;
    Some(format!(
        "without a scheme or a path: `{}`",
        rest.split('/').next()?
    ))
}

fn brackets_hint(text: &str) -> Option<String> {
    let (address, port) = text.rsplit_once(':')?;
    address.parse::<std::net::Ipv6Addr>().ok()?;
    Some(format!("IPv6 needs brackets: `[{address}]:{port}`"))
}

/// A network, or an address alone.
pub(super) fn read_network(text: &str) -> Result<Network, Wrong> {
    // Who is connected by a Unix socket has no address, and is shown as this one.
    let text = if text == "unix:" { "0.0.0.0" } else { text };
    let wrong = || Wrong::new("a network such as `10.0.0.0/8` or `fd00::/8`, or an address");
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(prefix) if prefix.chars().all(|c| c.is_ascii_digit()) => {
            prefix.parse().map_err(|_| wrong())?
        }
        Some(_) => return Err(wrong()),
    };
    if prefix > longest {
        return Err(Wrong::new(format!("a prefix of at most {longest}")));
    }
    let network = first_of(address, prefix);
    match network == address {
        true => Ok(Network { address, prefix }),
        false => Err(Wrong::new(format!(
            "the first address of the network: `{network}/{prefix}`"
        ))),
    }
}

/// The address with nothing set beyond the prefix.
fn first_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// A field that may be removed, or set by the proxy. Those that frame or route a
/// message are the proxy's own.
pub(super) fn read_header(text: &str) -> Result<HeaderName, Wrong> {
    const OWN: &[&str] = &[
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| Wrong::new("the name of a header field, such as `x-user`"))?;
    match OWN.contains(&name.as_str()) {
        true => Err(Wrong::new("a field that is not the proxy's own")),
        false => Ok(name),
    }
}

/// A protocol that clients may go on in. HTTP in HTTP would pass filters by.
pub(super) fn read_upgrade(text: &str) -> Result<HeaderValue, Wrong> {
    const HTTP: &[&str] = &["h2c", "h2", "http"];
    let lower = text.to_ascii_lowercase();
    if lower == WEBSOCKET {
        return Ok(HeaderValue::from_static(WEBSOCKET));
    }
    let mut parts = lower.split('/');
    let is_token = |part: &str| {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        !part.is_empty() && part.chars().all(is_good)
    };
    let name = parts.next().unwrap_or_default();
    if HTTP.contains(&name) {
        return Err(Wrong::new(
            "a protocol other than HTTP, which `protocols` of the listener tells",
        ));
    }
    let is_good = is_token(name) && parts.next().is_none_or(is_token) && parts.next().is_none();
    let value = HeaderValue::from_str(text).ok().filter(|_| is_good);
    value.ok_or_else(|| Wrong::new("`websocket` or the name of a protocol, such as `spdy/3.1`"))
}

pub(super) fn read_server(text: &str) -> Result<Option<HeaderValue>, Wrong> {
    if text == "pass" {
        return Ok(None);
    }
    let is_visible = |c: char| c == ' ' || c.is_ascii_graphic();
    let good = !text.trim().is_empty() && text.trim() == text && text.chars().all(is_visible);
    let value = HeaderValue::from_str(text).ok().filter(|_| good);
    value
        .map(Some)
        .ok_or_else(|| Wrong::new("`pass` or a value of visible ASCII characters"))
}

/// A pseudonym is a token, or a host with a port (RFC 9110, 7.6.3).
pub(super) fn read_via(text: &str) -> Result<Option<String>, Wrong> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:[]".contains(c);
    match text {
        "off" => Ok(None),
        text if !text.is_empty() && text.chars().all(is_good) => Ok(Some(text.to_owned())),
        _ => Err(Wrong::new("`off` or a name without spaces")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `wanted` is the value as Rust prints it, or `!` and the hint.
    fn check<T: std::fmt::Debug>(read: fn(&str) -> Result<T, Wrong>, cases: &[(&str, &str)]) {
        for (text, wanted) in cases {
            let found = match read(text) {
                Ok(value) => format!("{value:?}"),
                Err(wrong) => format!("!{}", wrong.hint.unwrap_or_default()),
            };
            assert_eq!(found, *wanted, "{text}");
        }
    }

    #[test]
    fn listen_addresses() {
        check(
            read_listen,
            &[
                ("0.0.0.0:80", "Tcp(0.0.0.0:80)"),
                ("[::]:0", "Tcp([::]:0)"),
                ("systemd:web.http", "Systemd(\"web.http\")"),
                ("systemd:", "!"),
                ("unix:/run/x.sock", "Unix(\"/run/x.sock\")"),
                ("unix:@edge", "Unix(\"\\0edge\")"),
                ("unix:@", "!"),
                ("unix:x", "!"),
                ("[fe80::1%2]:80", "Tcp([fe80::1%2]:80)"),
                (
                    "[fe80::1%eth0]:80",
                    "!the scope of an address is a number, which `ip link` tells: `[fe80::1%2]:80`",
                ),
                ("systemd:a:b", "!"),
                ("0.0.0.0", "!"),
                ("localhost:80", "!"),
                (":80", "!`0.0.0.0:80` is every IPv4 address of the machine"),
                (
                    "http://1.2.3.4:80/",
                    "!without a scheme or a path: `1.2.3.4:80`",
                ),
                ("::1:80", "!IPv6 needs brackets: `[::1]:80`"),
                ("1.2.3.4:99999", "!"),
            ],
        );
    }

    #[test]
    fn endpoint_addresses() {
        check(
            read_endpoint,
            &[
                ("10.0.0.1:80", "Socket(10.0.0.1:80)"),
                ("[::1]:80", "Socket([::1]:80)"),
                ("Origin.svc:80", "Host { host: \"origin.svc\", port: 80 }"),
                (
                    "a_b.example.:80",
                    "Host { host: \"a_b.example.\", port: 80 }",
                ),
                ("unix:/run/x.sock", "Unix(\"/run/x.sock\")"),
                ("original_dst", "OriginalDestination"),
                ("request_target", "RequestTarget"),
                ("unix:@origin", "Unix(\"\\0origin\")"),
                ("unix:x.sock", "!"),
                ("unix:", "!"),
                ("10.0.0.1:0", "!"),
                ("origin:0", "!"),
                ("origin", "!"),
                ("10.0.0:80", "!"),
                ("a b:80", "!"),
                (":80", "!"),
                ("a..b:80", "!"),
                ("user@host:80", "!"),
                (
                    "https://origin:80",
                    "!without a scheme or a path: `origin:80`",
                ),
            ],
        );
    }

    #[test]
    fn patterns_of_hosts() {
        check(
            read_host_pattern,
            &[
                ("*", "Every"),
                ("Example.com.", "One(\"example.com\")"),
                ("*.Internal", "Below(\"internal\")"),
                ("", "!"),
                ("*.", "!"),
                ("*example.com", "!"),
                ("a.*.com", "!"),
                ("*.*", "!"),
                ("10.0.0.1", "!addresses go in `networks`"),
                ("[::1]", "!addresses go in `networks`"),
                ("example.com:80", "!"),
                (
                    "http://example.com",
                    "!without a scheme or a path: `example.com`",
                ),
                (
                    "b\u{fc}cher.example",
                    "!names are written as in DNS: `xn--...`",
                ),
            ],
        );
    }

    #[test]
    fn networks() {
        let network = |address: &str, prefix: u8| {
            let address: IpAddr = address.parse().expect("an address");
            Ok(Network { address, prefix })
        };
        assert_eq!(read_network("10.0.0.0/8"), network("10.0.0.0", 8));
        assert_eq!(read_network("10.1.2.3"), network("10.1.2.3", 32));
        assert_eq!(read_network("0.0.0.0/0"), network("0.0.0.0", 0));
        assert_eq!(read_network("unix:"), network("0.0.0.0", 32));
        assert_eq!(read_network("::/0"), network("::", 0));
        assert_eq!(read_network("fd00::/8"), network("fd00::", 8));
        let wanted = |text| read_network(text).expect_err(text).wanted;
        assert_eq!(
            wanted("10.1.0.0/8"),
            "the first address of the network: `10.0.0.0/8`"
        );
        assert_eq!(wanted("10.0.0.0/33"), "a prefix of at most 32");
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/300",
            "10.0.0/8",
            "x",
        ] {
            assert!(wanted(text).starts_with("a network such as"), "{text}");
        }
    }

    #[test]
    fn header_names_and_values() {
        check(
            read_header,
            &[
                ("X-User", "\"x-user\""),
                ("host", "!"),
                ("a b", "!"),
                ("", "!"),
                (":path", "!"),
            ],
        );
        check(
            read_server,
            &[
                ("a b/1", "Some(\"a b/1\")"),
                ("pass", "None"),
                ("", "!"),
                ("a\r\n", "!"),
            ],
        );
        check(
            read_via,
            &[
                ("edge:80", "Some(\"edge:80\")"),
                ("off", "None"),
                ("", "!"),
                ("a b", "!"),
            ],
        );
    }
}
