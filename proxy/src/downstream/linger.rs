//! Closing so that the client can read what it was sent: its unread bytes would
//! otherwise make the kernel reset the connection.

use std::pin::pin;
use std::time::Duration;

use crate::client::Client;
use crate::deadline::within;

/// Discarded of what a client still sends behind a final answer, at most.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(2);

/// Ends this side, and discards what still comes for a while.
pub async fn linger(client: &mut Client) {
    client.writer.shutdown().await;
    let reader = &mut client.reader;
    let discard = async {
        let mut left = LINGER_BYTES;
        loop {
            reader.buffer.clear();
            match reader.fill_body().await {
                Ok(count) if count > 0 && count < left => left -= count,
                _ => return,
            }
        }
    };
    if within(&mut client.alarm, LINGER, pin!(discard))
        .await
        .is_none()
    {
        tracing::trace!("a client went on sending behind a final answer");
    }
}
