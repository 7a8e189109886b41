//! Futures in boxes.

use std::pin::Pin;

/// Makes a future in the box that it is to live in.
///
/// `Box::pin` takes one that is there already. Should there be no memory for the box it is
/// dropped, so the compiler keeps it where it is until then and copies it, room for all that
/// it will ever hold included: ten kilobytes for an exchange.
pub fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}
