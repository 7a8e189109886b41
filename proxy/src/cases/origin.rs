//! The origins of a case: each takes whatever it is sent, remembers it, and answers as
//! the case says.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::BytesMut;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::message::{self, Message};
use crate::cluster::Arrivals;
use crate::config::Name;
use crate::config::cases::SampleResponse;
use crate::http::h1::BodyDecoder;

/// Requests in the order of their arrival.
pub type Received = Rc<RefCell<Vec<Request>>>;

/// A request as an origin got it.
#[derive(Debug)]
pub struct Request {
    pub cluster: Name,
    pub method: Method,
    pub path: String,
    /// With `host`.
    pub message: Message,
}

/// Serves the connections to one cluster, until nobody can open one any more.
pub async fn serve(
    cluster: Name,
    mut arrivals: Arrivals,
    response: Rc<SampleResponse>,
    received: Received,
) {
    while let Some(pipe) = arrivals.recv().await {
        let connection = Connection {
            cluster: cluster.clone(),
            pipe,
            buffer: BytesMut::new(),
            received: received.clone(),
        };
        tokio::task::spawn_local(connection.serve(response.clone()));
    }
}

struct Connection {
    cluster: Name,
    pipe: DuplexStream,
    buffer: BytesMut,
    received: Received,
}

impl Connection {
    /// Until the proxy closes it.
    async fn serve(mut self, response: Rc<SampleResponse>) {
        while let Some((method, path, headers)) = self.head().await {
            let place = self.remember(&method, path, headers);
            self.body(place).await;
            let answer = message::encode_response(&response, &method);
            if self.pipe.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn head(&mut self) -> Option<(Method, String, HeaderMap)> {
        loop {
            if let Some(head) = message::take_request(&mut self.buffer) {
                return Some(head);
            }
            if self.pipe.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// It counts from its head on: the body may be cut off.
    fn remember(&self, method: &Method, path: String, headers: HeaderMap) -> usize {
        let mut received = self.received.borrow_mut();
        received.push(Request {
            cluster: self.cluster.clone(),
            method: method.clone(),
            path,
            message: Message {
                headers,
                is_cut_off: true,
                ..Message::default()
            },
        });
        received.len() - 1
    }

    async fn body(&mut self, place: usize) {
        let framing = message::framing(&self.received.borrow()[place].message.headers);
        let mut body = BodyDecoder::new(framing, u64::MAX);
        loop {
            {
                let message = &mut self.received.borrow_mut()[place].message;
                if message.take_body(&mut body, &mut self.buffer) {
                    message.is_cut_off = false;
                    return;
                }
            }
            match self.pipe.read_buf(&mut self.buffer).await {
                Ok(count) if count > 0 => {}
                _ => return,
            }
        }
    }
}
