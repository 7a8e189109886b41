use super::*;
use crate::config::{
    Balance, ClusterProtocol, ClusterTimeouts, Endpoint, PingTimes, PoolLimits, UpstreamHttp2,
};
use crate::stats::PerWorker;

fn cluster(addresses: Vec<EndpointAddress>) -> Arc<Cluster> {
    let config = config::Cluster {
        name: "origin".into(),
        endpoints: addresses
            .into_iter()
            .map(|address| Endpoint {
                address,
                weight: 1,
                place: Default::default(),
            })
            .collect(),
        targets: None,
        balance: Balance::RoundRobin,
        protocol: ClusterProtocol::Http1,
        tls: None,
        proxy_protocol: None,
        http2: UpstreamHttp2 {
            max_streams: 8,
            stream_window: 1 << 16,
            connection_window: 1 << 20,
            pings: PingTimes {
                every: Duration::from_secs(10),
                timeout: Duration::from_secs(10),
            },
        },
        pool: PoolLimits {
            max_idle: 1,
            idle_timeout: Duration::from_secs(1),
            max_lifetime: Duration::from_secs(1),
            max_requests: None,
            warm: 0,
        },
        timeouts: ClusterTimeouts {
            connect: Duration::from_secs(1),
            tls: None,
            try_timeout: None,
            total: None,
            answer: Duration::from_secs(1),
            idle: Duration::from_secs(1),
        },
        bounds: Default::default(),
        retry: None,
        retry_budget: Default::default(),
        resolve_every: Duration::from_secs(1),
        spread: Default::default(),
        outliers: Default::default(),
        health_checks: Vec::new(),
        socket: Default::default(),
        refused_pause: Duration::from_secs(1),
        silent_pause: Duration::from_millis(100),
        max_head_bytes: 8192,
    };
    Cluster::new(config, None, Arc::new(PerWorker::new(1, Default::default)))
}

/// Those of the system.
fn dns() -> config::Dns {
    config::Dns {
        servers: Vec::new(),
        timeout: Duration::from_secs(1),
        attempts: 1,
    }
}

fn resolver(cluster: &Arc<Cluster>) -> Resolver {
    Resolver::new(cluster, &dns()).unwrap()
}

/// What a name stands for, each for a minute.
fn answer(addresses: &[u8]) -> io::Result<Answer<Found>> {
    let found = addresses
        .iter()
        .map(|last| (Address::Socket(socket(*last)), 1).into());
    Ok(Answer {
        found: found.collect(),
        holds: Duration::from_secs(60),
    })
}

fn host(host: &str) -> EndpointAddress {
    EndpointAddress::Host {
        host: host.into(),
        port: 80,
    }
}

fn socket(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 80))
}

fn labels(cluster: &Cluster) -> Vec<String> {
    let set = cluster.endpoints.load();
    set.endpoints.iter().map(|e| e.label.to_string()).collect()
}

#[tokio::test]
async fn the_last_good_answer_stays_when_a_name_fails() {
    let cluster = cluster(vec![
        host("a"),
        EndpointAddress::Socket(socket(9)),
        host("b"),
    ]);
    let mut resolver = resolver(&cluster);
    assert_eq!(labels(&cluster), ["127.0.0.9:80"]);

    let first = async |what: &EndpointAddress| match what.to_string().as_str() {
        "a:80" => answer(&[1, 2]),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let failures = resolver.refresh_by(first).await;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].host, "b:80");
    assert_eq!(
        labels(&cluster),
        ["127.0.0.1:80", "127.0.0.2:80", "127.0.0.9:80"]
    );
    let before = cluster.endpoints.load_full();

    let nothing = async |_: &EndpointAddress| Err(io::ErrorKind::TimedOut.into());
    assert_eq!(resolver.refresh_by(nothing).await.len(), 2);
    assert!(Arc::ptr_eq(&before, &cluster.endpoints.load_full()));

    let moved = async |what: &EndpointAddress| match what.to_string().as_str() {
        "a:80" => answer(&[2]),
        _ => answer(&[3]),
    };
    assert!(resolver.refresh_by(moved).await.is_empty());
    assert_eq!(
        labels(&cluster),
        ["127.0.0.2:80", "127.0.0.9:80", "127.0.0.3:80"]
    );
    let after = cluster.endpoints.load();
    assert!(Arc::ptr_eq(&after.endpoints[0], &before.endpoints[1]));
}

#[tokio::test]
async fn names_of_the_hosts_file_resolve() {
    let cluster = cluster(vec![host("localhost")]);
    let mut resolver = resolver(&cluster);
    assert!(resolver.refresh().await.is_empty());
    let labels = labels(&cluster);
    assert!(
        labels.iter().any(|label| label.ends_with(":80")),
        "{labels:?}"
    );
}

#[tokio::test]
async fn the_loop_ends_with_its_cluster() {
    let cluster = cluster(vec![host("localhost")]);
    let resolver = resolver(&cluster);
    drop(cluster);
    resolver.run().await;
}

#[test]
fn a_cluster_of_addresses_has_nothing_to_resolve() {
    let cluster = cluster(vec![EndpointAddress::Unix("/run/origin".into())]);
    assert!(Resolver::new(&cluster, &dns()).is_none());
    assert_eq!(labels(&cluster), ["unix:/run/origin"]);
}

#[test]
fn addresses_of_a_target_take_turns() {
    let check = |found: &[&str], wanted: &[&str]| {
        let found = found.iter().map(|address| address.parse().unwrap());
        let turns: Vec<_> = by_turns(found.collect());
        let turns: Vec<_> = turns.iter().map(ToString::to_string).collect();
        assert_eq!(turns, wanted);
    };
    check(&[], &[]);
    check(&["10.0.0.1", "10.0.0.1"], &["10.0.0.1"]);
    check(
        &["fd00::1", "fd00::2", "fd00::1", "10.0.0.1"],
        &["fd00::1", "10.0.0.1", "fd00::2"],
    );
    check(&["10.0.0.2", "10.0.0.1"], &["10.0.0.2", "10.0.0.1"]);
}
