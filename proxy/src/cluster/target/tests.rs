use super::*;

fn networks(texts: &[&str]) -> Vec<Network> {
    let network = |text: &&str| {
        let (address, prefix) = text.split_once('/').unwrap();
        Network {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    };
    texts.iter().map(network).collect()
}

fn allowed(hosts: &[HostPattern], listed: &[&str]) -> Targets {
    Targets {
        hosts: hosts.to_vec(),
        networks: networks(listed),
        ports: vec![80, 443],
    }
}

fn read(text: &str) -> Result<Target, ErrorKind> {
    let authority: Authority = text.parse().expect(text);
    Target::read(&authority, Some(80)).map_err(|error| error.kind)
}

fn below(name: &str) -> HostPattern {
    HostPattern::Below(name.to_owned())
}

#[test]
fn a_host_has_one_spelling() {
    for (text, host) in [
        ("example.com", "example.com"),
        ("EXAMPLE.com.", "example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a_b.example", "a_b.example"),
        ("0xabc.example", "0xabc.example"),
    ] {
        let wanted = Host::Name(host.to_owned());
        assert_eq!(read(text).unwrap().host, wanted, "{text}");
    }
    for (text, address) in [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1.", "10.0.0.1"),
        ("[::1]", "::1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
        ("[::ffff:10.0.0.1]", "::ffff:10.0.0.1"),
    ] {
        let wanted = Host::Address(address.parse().unwrap());
        assert_eq!(read(text).unwrap().host, wanted, "{text}");
    }
    // Addresses to resolvers, and what is no name in DNS.
    for text in [
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0X7F000001",
        "0x",
        "1.2.3.4.5",
        "a.1",
        "a..b",
        ".",
        "..",
        "example.com..",
        "-a.example",
        "a~b",
        "a!b",
        "user@example.com",
        "example.com:0",
        "example.com:",
    ] {
        assert_eq!(read(text), Err(ErrorKind::BadTarget), "{text}");
    }
}

#[test]
fn who_names_no_port_means_that_of_http() {
    assert_eq!(read("example.com").unwrap().port, 80);
    assert_eq!(read("example.com:443").unwrap().port, 443);
    let without = Target::read(&Authority::from_static("example.com"), None);
    assert_eq!(without.unwrap_err().kind, ErrorKind::BadTarget);
}

#[test]
fn targets_are_refused_but_for_those_that_are_listed() {
    let one = HostPattern::One("example.com".to_owned());
    let some = allowed(&[one, below("internal")], &["10.0.0.0/8", "fd00::/8"]);
    let check = |text: &str| {
        let checked = read(text).unwrap().check(&some);
        checked.map_err(|error| (error.kind, error.source.unwrap().to_string()))
    };
    for text in [
        "example.com",
        "Example.COM.:443",
        "a.internal",
        "a.b.INTERNAL.",
        "10.1.2.3",
        "10.1.2.3.",
        "[::ffff:10.1.2.3]",
        "[::10.1.2.3]",
        "[64:ff9b::10.1.2.3]",
        "[fd00::1]:443",
    ] {
        assert_eq!(check(text), Ok(()), "{text}");
    }
    for (text, why) in [
        ("example.com:22", "ports"),
        ("10.1.2.3:8080", "ports"),
        ("www.example.com", "hosts"),
        ("example.com.evil.test", "hosts"),
        ("notexample.com", "hosts"),
        ("internal", "hosts"),
        ("ainternal", "hosts"),
        ("localhost", "hosts"),
        ("11.1.2.3", "networks"),
        ("127.0.0.1", "networks"),
        ("169.254.169.254", "networks"),
        ("[::1]", "networks"),
        ("[::ffff:127.0.0.1]", "networks"),
        ("[64:ff9b::169.254.169.254]", "networks"),
        ("[fe80::1]", "networks"),
        ("8.8.8.8", "networks"),
    ] {
        let (kind, told) = check(text).unwrap_err();
        assert_eq!(kind, ErrorKind::TargetRefused, "{text}");
        assert!(told.contains(&format!("`{why}`")), "{text}: {told}");
    }
}

#[test]
fn every_name_is_no_address() {
    let every = allowed(&[HostPattern::Every], &[]);
    assert!(read("anything.test").unwrap().check(&every).is_ok());
    assert!(read("8.8.8.8").unwrap().check(&every).is_err());
}

#[test]
fn names_stand_for_addresses_of_the_internet_only() {
    let none = allowed(&[HostPattern::Every], &[]);
    let check = |text: &str, wanted| {
        let address: IpAddr = text.parse().expect(text);
        assert_eq!(may_stand_for(address, &none), wanted, "{text}");
    };
    for text in [
        "8.8.8.8",
        "1.0.0.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.0.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2a00::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ] {
        check(text, true);
    }
    for text in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::169.254.169.254",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "::ffff:169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ] {
        check(text, false);
    }
}

#[test]
fn what_is_listed_may_be_stood_for() {
    let some = allowed(&[], &["127.0.0.0/8", "fe80::/10"]);
    for (text, wanted) in [
        ("127.0.0.1", true),
        ("::ffff:127.0.0.1", true),
        ("64:ff9b::127.0.0.1", true),
        ("fe80::1", true),
        ("::1", false),
        ("169.254.169.254", false),
    ] {
        assert_eq!(
            may_stand_for(text.parse().unwrap(), &some),
            wanted,
            "{text}"
        );
    }
    // Every address of IPv6 is none of IPv4, however that is written.
    let six = allowed(&[], &["::/0", "::1/128", "fc00::/7"]);
    assert!(may_stand_for("::1".parse().unwrap(), &six));
    assert!(may_stand_for("fd00::1".parse().unwrap(), &six));
    for text in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"] {
        assert!(!may_stand_for(text.parse().unwrap(), &six), "{text}");
    }
}

/// Who lists the internet means no addresses that are not of it.
#[test]
fn special_addresses_are_listed_by_networks_of_their_kind() {
    let wide = allowed(&[], &["0.0.0.0/0", "::/0", "168.63.0.0/16"]);
    let listed = |text: &str| is_listed(&wide.networks, text.parse().unwrap());
    for text in [
        "8.8.8.8",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "168.63.129.17",
    ] {
        assert!(listed(text), "{text}");
    }
    for text in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "::1",
        "fd00:ec2::254",
        "fe80::1",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::1",
    ] {
        assert!(!listed(text), "{text}");
    }
    let near = allowed(&[], &["10.1.0.0/16", "168.63.129.16/32"]);
    for (text, wanted) in [
        ("10.1.2.3", true),
        ("10.2.0.1", false),
        ("168.63.129.16", true),
    ] {
        let found = is_listed(&near.networks, text.parse().unwrap());
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn what_the_proxy_listens_at_leads_back() {
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    let is_ours = |ip: IpAddr| ip.is_loopback() || ip == IpAddr::from([10, 0, 0, 1]);
    let check = |own: &str, to: &str, wanted| {
        assert_eq!(
            leads_back(&[parse(own)], parse(to), is_ours),
            wanted,
            "{own} {to}"
        );
    };
    check("127.0.0.1:80", "127.0.0.1:80", true);
    check("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true);
    check("127.0.0.1:80", "0.0.0.0:80", true);
    check("127.0.0.1:80", "127.0.0.1:81", false);
    check("127.0.0.1:80", "127.0.0.2:80", false);
    check("0.0.0.0:80", "127.0.0.2:80", true);
    check("0.0.0.0:80", "10.0.0.1:80", true);
    check("0.0.0.0:80", "10.0.0.2:80", false);
    check("0.0.0.0:80", "[::1]:80", false);
    check("[::]:80", "10.0.0.1:80", true);
    check("[::]:80", "[::1]:80", true);
    check("[::ffff:10.0.0.1]:80", "10.0.0.1:80", true);
}
