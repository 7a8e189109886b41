use super::*;

fn network(text: &str) -> Network {
    let (address, prefix) = text.split_once('/').unwrap();
    Network {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
    }
}

fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn peer(text: &str) -> Peer {
    Peer::new(text.parse().unwrap())
}

const XFF: &str = "x-forwarded-for";

#[test]
fn networks_hold_their_addresses() {
    for (range, address, expected) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("10.0.0.0/8", "::ffff:10.1.2.3", true),
        ("0.0.0.0/0", "192.0.2.1", true),
        ("0.0.0.0/0", "::1", false),
        ("192.0.2.1/32", "192.0.2.1", true),
        ("192.0.2.1/32", "192.0.2.2", false),
        ("192.0.2.128/25", "192.0.2.127", false),
        ("::/0", "2001:db8::1", true),
        ("2001:db8::/32", "2001:db8:1::1", true),
        ("2001:db8::/32", "2001:db9::1", false),
        ("::1/128", "::1", true),
    ] {
        let found = contains(&[network(range)], address.parse().unwrap());
        assert_eq!(found, expected, "{range} {address}");
    }
    assert!(!contains(&[], "10.0.0.1".parse().unwrap()));
}

fn check_client(peer_text: &str, lines: &[(&'static str, &str)], style: ForwardedStyle) -> String {
    let trusted = [network("10.0.0.0/8"), network("fd00::/8")];
    let client = Client::find(&peer(peer_text), &map(lines), style, &trusted);
    client.address.to_string()
}

#[test]
fn the_client_is_the_first_that_no_trusted_hop_vouches_for() {
    for (peer, line, expected) in [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("fd00::1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown, 10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "198.51.100.1,", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "999.1.1.1", "10.0.0.1"),
    ] {
        let found = check_client(peer, &[(XFF, line)], ForwardedStyle::XForwarded);
        assert_eq!(found, expected, "{peer} {line}");
    }
    let lines = [(XFF, "198.51.100.1"), (XFF, "10.0.0.2")];
    assert_eq!(
        check_client("10.0.0.1", &lines, ForwardedStyle::Both),
        "198.51.100.1"
    );
    assert_eq!(
        check_client("10.0.0.1", &[], ForwardedStyle::Both),
        "10.0.0.1"
    );
}

#[test]
fn forwarded_is_read_where_it_is_the_style() {
    for (line, expected) in [
        ("for=198.51.100.1", "198.51.100.1"),
        ("For=\"[2001:db8::1]:80\";proto=http", "2001:db8::1"),
        ("proto=http; for=198.51.100.1;by=10.0.0.1", "198.51.100.1"),
        (
            "for=198.51.100.1;host=\"a,b;for=1.1.1.1\", for=10.0.0.2",
            "198.51.100.1",
        ),
        ("for=198.51.100.1, for=_hidden", "10.0.0.1"),
        ("for=198.51.100.1, proto=http", "10.0.0.1"),
        ("for=\"198.51.100.1", "10.0.0.1"),
        ("fo", "10.0.0.1"),
    ] {
        let found = check_client(
            "10.0.0.1",
            &[("forwarded", line)],
            ForwardedStyle::Forwarded,
        );
        assert_eq!(found, expected, "{line}");
    }
    let both = [("forwarded", "for=1.1.1.1"), (XFF, "2.2.2.2")];
    assert_eq!(
        check_client("10.0.0.1", &both, ForwardedStyle::Forwarded),
        "1.1.1.1"
    );
    assert_eq!(
        check_client("10.0.0.1", &both, ForwardedStyle::Both),
        "2.2.2.2"
    );
    assert_eq!(
        check_client("10.0.0.1", &both[..1], ForwardedStyle::Both),
        "1.1.1.1"
    );
    assert_eq!(
        check_client("10.0.0.1", &both[..1], ForwardedStyle::XForwarded),
        "10.0.0.1"
    );
}

fn check_write(
    peer_text: &str,
    before: &[(&'static str, &str)],
    style: ForwardedStyle,
    expected: &[(&str, &str)],
) {
    let peer = peer(peer_text);
    let mut headers = map(before);
    let client = Client::find(&peer, &headers, style, &[network("10.0.0.0/8")]);
    let authority = Authority::from_static("example.com:8080");
    write(
        &mut headers,
        style,
        &peer,
        client,
        &Scheme::HTTP,
        Some(&authority),
        None,
    );
    let mut found: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected, "{peer_text} {before:?}");
}

#[test]
fn this_hop_is_written_in_the_configured_style() {
    let forged = [
        (XFF, "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("forwarded", "for=1.1.1.1"),
    ];
    let x_forwarded = [
        (XFF, "192.0.2.1"),
        ("x-forwarded-host", "example.com:8080"),
        ("x-forwarded-proto", "http"),
    ];
    check_write(
        "192.0.2.1",
        &forged,
        ForwardedStyle::XForwarded,
        &x_forwarded,
    );
    check_write("192.0.2.1", &[], ForwardedStyle::XForwarded, &x_forwarded);
    check_write("192.0.2.1", &forged, ForwardedStyle::None, &[]);
    let element = "for=192.0.2.1;host=\"example.com:8080\";proto=http";
    check_write(
        "192.0.2.1",
        &forged,
        ForwardedStyle::Forwarded,
        &[("forwarded", element)],
    );
    let element = "for=\"[2001:db8::1]\";host=\"example.com:8080\";proto=http";
    check_write(
        "2001:db8::1",
        &[],
        ForwardedStyle::Forwarded,
        &[("forwarded", element)],
    );
}

#[test]
fn what_a_trusted_hop_says_is_kept_and_added_to() {
    check_write(
        "10.0.0.1",
        &[
            (XFF, "198.51.100.1"),
            (XFF, "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("forwarded", "for=198.51.100.1"),
        ],
        ForwardedStyle::Both,
        &[
            (
                "forwarded",
                "for=198.51.100.1, for=10.0.0.1;host=\"example.com:8080\";proto=http",
            ),
            (XFF, "198.51.100.1, 10.0.0.2, 10.0.0.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "https"),
        ],
    );
    check_write(
        "10.0.0.1",
        &[(XFF, "1.1.1.1")],
        ForwardedStyle::None,
        &[(XFF, "1.1.1.1")],
    );
}
