//! The side of a worker that faces origins: one request in, its answer out.
//!
//! Takes: an [`UpstreamRequest`] and a [`WorkerCluster`]. Gives: an [`Answer`]
//! whose body streams, or a `ProxyError` of the origin `Upstream`. In between
//! an endpoint is picked (`choice`), a connection is leased or made (`pool`,
//! `connect`), and hyper is driven by the task that waits for the answer: no
//! connection has a task of its own, except where an origin answers before it
//! was sent the whole request, and those of HTTP/2 (`http2/`).
//! Must never: know filters or listeners, lock, or share anything with another
//! worker but the tallies of `cluster/`. What is dropped unfinished is closed.

mod admission;
mod answer;
mod body;
mod choice;
mod classify;
mod connect;
mod connection;
mod counted;
mod destinations;
mod forward;
mod hash_key;
mod hedging;
mod http2;
mod hurry;
mod interim;
mod names;
mod opaque;
mod options;
mod pool;
mod replay;
mod request;
mod retry;
mod socket;
mod targets;
mod terms;
mod warm;
mod wire;
mod worker_cluster;

#[cfg(test)]
mod tests;

pub use answer::{Answer, AnswerBody, Frame};
pub use body::{BodySender, NotWanted, RequestBody, body_channel, body_channel_of};
pub use forward::forward;
pub use http2::{Duplex, poll_room, poll_stream};
pub use hurry::{FAIR, Hurry};
pub use opaque::{Opaque, reach_opaque};
pub use options::try_out;
pub use pool::Sweep;
pub use request::{Progress, Try, TryEnd, UpstreamRequest};
pub use terms::{ConnectTimes, Terms, Told};
pub use worker_cluster::WorkerCluster;
