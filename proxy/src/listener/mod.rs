//! Listening sockets: binding them aside, before anything is published, and
//! accepting from them on a worker.
//!
//! Takes addresses; gives accepted connections, within the listener's limit.
//! An accept loop never ends on an error, and a socket is emptied before it is
//! closed, because closing it resets what still waits in its queue.

mod accept;
mod bind;

pub use accept::{AcceptLoop, Handshaking, Permit};
pub use bind::{BindError, Socket, bind};
