use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// The far ends of two connections, of which each takes so many bytes at once.
fn between(room: usize) -> (DuplexStream, DuplexStream, Between) {
    let (client, near_client) = duplex(room);
    let (origin, near_origin) = duplex(room);
    let between = Between {
        pump: Pump::new(BytesMut::from("first ")),
        client: near_client,
        origin: near_origin,
    };
    (client, origin, between)
}

struct Between {
    pump: Pump,
    client: DuplexStream,
    origin: DuplexStream,
}

impl Between {
    async fn run(&mut self) -> Result<(), Broken> {
        let Self {
            pump,
            client,
            origin,
        } = self;
        poll_fn(|context| pump.poll(context, client, origin)).await
    }
}

#[tokio::test]
async fn both_directions_go_on_until_both_are_over() {
    let (mut client, mut origin, mut between) = between(7);
    let long = vec![b'x'; 3 * READ_BYTES];
    let talk = async {
        let ask = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answer = async {
            let mut question = Vec::new();
            origin.read_to_end(&mut question).await.unwrap();
            // The client has ended, and still gets this.
            origin.write_all(&long).await.unwrap();
            origin.shutdown().await.unwrap();
            question
        };
        tokio::join!(ask, answer)
    };
    let (ended, (answer, question)) = tokio::join!(between.run(), talk);
    ended.unwrap();
    assert_eq!(question, b"first question");
    assert_eq!(answer, long);
    let passed = between.pump.passed();
    assert_eq!((passed.up, passed.down), (14, long.len() as u64));
}

#[tokio::test]
async fn what_is_not_taken_is_kept_and_nothing_more_is_read() {
    let (mut client, origin, mut between) = between(16);
    let talk = async {
        for _ in 0..2 {
            client.write_all(b"0123456789abcdef").await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = between.run() => unreachable!("nobody reads"),
        () = talk => {}
    }
    assert_eq!(&between.pump.up.left[..], b"abcdef");
    drop(origin);
}

#[tokio::test]
async fn nothing_is_kept_while_nothing_comes() {
    let (mut client, mut origin, mut between) = between(16);
    let mut taken = [0; 14];
    let talk = async {
        client.write_all(b"question").await.unwrap();
        origin.read_exact(&mut taken).await.unwrap();
        tokio::task::yield_now().await;
    };
    tokio::select! {
        _ = between.run() => unreachable!("nobody ends"),
        () = talk => {}
    }
    assert_eq!(between.pump.up.left.capacity(), 0);
    assert_eq!(&taken, b"first question");
}

#[tokio::test]
async fn the_last_words_of_who_takes_nothing_more_are_passed_on() {
    let (mut client, mut origin, mut between) = between(64);
    origin.write_all(b"go away").await.unwrap();
    drop(origin);
    let listen = async {
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        heard
    };
    let (ended, heard) = tokio::join!(between.run(), listen);
    assert!(matches!(ended, Err(Broken::Origin(_))), "{ended:?}");
    assert_eq!(heard, b"go away");
}
