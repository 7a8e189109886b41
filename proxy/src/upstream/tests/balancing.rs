//! Endpoints as a worker follows and chooses them.

use std::net::SocketAddr;
use std::num::NonZeroU8;

use super::*;
use crate::cluster::Address;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn round_robin_goes_round() {
    run(async {
        let origins = [Origin::answering(OK).await, Origin::answering(OK).await];
        let cluster = open(config(origins.iter().map(Origin::address)));
        let mut labels = Vec::new();
        for _ in 0..4 {
            let answer = ask(&cluster, get()).await.unwrap();
            labels.push(answer.endpoint.label.clone());
            read(answer.body).await.unwrap();
        }
        assert_ne!(labels[0], labels[1]);
        assert_eq!(labels[0], labels[2]);
        assert_eq!(labels[1], labels[3]);
    });
}

#[test]
fn a_new_set_of_endpoints_is_followed() {
    run(async {
        let origins = [Origin::answering(OK).await, Origin::answering(OK).await];
        let cluster = cluster(&origins[0]);
        fetch(&cluster, get()).await;
        let under_way = ask(&cluster, get()).await.unwrap();

        let EndpointAddress::Socket(address) = origins[1].address() else {
            unreachable!("origins listen on sockets");
        };
        let shared = cluster.cluster();
        shared.replace_endpoints([(Address::Socket(address), 1)]);

        let answer = ask(&cluster, get()).await.unwrap();
        assert_eq!(&*answer.endpoint.label, address.to_string());
        read(answer.body).await.unwrap();
        // What is under way ends well, and its connection is not kept.
        assert_eq!(read(under_way.body).await.unwrap().0, "ok");
        assert_eq!(cluster.stats().connections_idle.get(), 1);
        assert_eq!(cluster.stats().connections_discarded.get(), 1);
    });
}

#[test]
fn least_request_avoids_the_endpoint_that_holds_its_requests() {
    run(async {
        let slow = Origin::start(|mut peer, _| async move {
            peer.read_head().await;
            peer.read_to_end().await;
        })
        .await;
        let quick = Origin::answering(OK).await;
        let mut config = config([slow.address(), quick.address()]);
        config.balance = Balance::LeastRequest(NonZeroU8::new(2).unwrap());
        let cluster = open(config);
        // Held until one is at the slow one; the rest finds the quick one,
        // but for the few whose draws were all the same.
        let mut held = Vec::new();
        let mut answered = 0;
        for _ in 0..200 {
            let mut asking = Box::pin(ask(&cluster, get()));
            // Long enough for a quick one on a machine that does other things too.
            let timeout = tokio::time::timeout(Duration::from_millis(500), &mut asking);
            match timeout.await {
                Ok(answer) => {
                    answered += 1;
                    read(answer.unwrap().body).await.unwrap();
                }
                Err(_) => held.push(asking),
            }
        }
        assert!(answered >= 180, "{answered}");
    });
}

fn socket(address: EndpointAddress) -> SocketAddr {
    match address {
        EndpointAddress::Socket(address) => address,
        other => panic!("origins listen on sockets, and not at {other:?}"),
    }
}

/// Where nobody listens; the port is kept for as long as this is.
fn nobody() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn addresses_of_a_target_are_tried_in_their_order() {
    run(async {
        let origin = Origin::answering(OK).await;
        let origin = socket(origin.address());
        let (_one, one) = nobody();
        let (_two, two) = nobody();
        let ask = async |cluster: &Rc<WorkerCluster>, addresses: &[SocketAddr]| {
            let progress = Progress::default().toward(addresses.to_vec());
            let asked = ask_telling(cluster, get(), &progress).await;
            let asked = asked.map(|answer| answer.endpoint.label.to_string());
            (asked.map_err(|error| error.kind), progress.retries())
        };
        let cluster = open(config([EndpointAddress::RequestTarget]));
        let there = Ok(origin.to_string());
        assert_eq!(ask(&cluster, &[one, two, origin]).await, (there.clone(), 2));
        // Those that refused are passed over for a while.
        assert_eq!(ask(&cluster, &[one, two, origin]).await.0, there);
        assert_eq!(ask(&cluster, &[one, origin]).await, (there, 0));
        let refused = Err(ErrorKind::ConnectFailed);
        assert_eq!(ask(&cluster, &[one]).await, (refused.clone(), 0));
        assert_eq!(ask(&cluster, &[one, two]).await, (refused, 1));
        assert_eq!(ask(&cluster, &[]).await, (Err(ErrorKind::NoEndpoint), 0));
    });
}
