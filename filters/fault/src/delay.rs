//! How long a request is held.

use std::time::Duration;

/// A length, or a range of lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Delay {
    Fixed(Duration),
    /// The first is not longer than the second.
    Between(Duration, Duration),
}

impl Delay {
    /// `unit` is drawn only when there is something to draw.
    pub fn length(&self, unit: impl FnOnce() -> f64) -> Duration {
        match *self {
            Delay::Fixed(length) => length,
            Delay::Between(min, max) => min + (max - min).mul_f64(unit()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let ms = Duration::from_millis;
        assert_eq!(Delay::Fixed(ms(5)).length(|| 0.9), ms(5));
        assert_eq!(Delay::Between(ms(10), ms(20)).length(|| 0.0), ms(10));
        assert_eq!(Delay::Between(ms(10), ms(20)).length(|| 0.5), ms(15));
        assert_eq!(Delay::Between(ms(10), ms(10)).length(|| 0.5), ms(10));
    }
}
