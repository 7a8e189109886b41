//! Listening sockets: binding them aside, before anything is published, or taking
//! those that the process was started with, and accepting from them on a worker.
//!
//! Takes addresses; gives accepted connections, within the limits on how many there may be.
//! An accept loop never ends on an error, and a socket is emptied before it is
//! closed, because closing it resets what still waits in its queue.

mod accept;
mod bind;
mod clients;
mod inherited;
mod options;
mod unix;

pub use accept::{AcceptLoop, Handshaking, Permit, Room};
pub use bind::{BindError, Socket, bind};
pub use clients::{Counted, Place};
pub use inherited::{
    FIRST_PASSED, InheritError, Inherited, MOST_PASSED, OF_LISTENER, PREDECESSOR, Taken, WITH_PATH,
};
pub use options::OptionError;
pub use unix::{SocketFile, UnixError, bind_unix};
