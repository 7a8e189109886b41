//! Which requests are hit.

use std::cell::OnceCell;

use lockgate_sdk::prelude::*;
use lockgate_sdk::random;

/// 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percent(f64);

impl Percent {
    /// `None` when it is not one.
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Percent(percent))
    }
}

/// What is drawn. Each draw of a request is independent of its others.
#[derive(Debug, Clone, Copy)]
pub enum Draw {
    Delay,
    Length,
    Abort,
}

/// The draws of one request.
pub struct Draws<'a> {
    seed: Option<u64>,
    exchange: &'a Exchange<'a>,
    request_id: OnceCell<String>,
}

impl<'a> Draws<'a> {
    pub fn new(seed: Option<u64>, exchange: &'a Exchange<'a>) -> Self {
        let request_id = OnceCell::new();
        Draws {
            seed,
            exchange,
            request_id,
        }
    }

    /// Certain draws ask nobody: they cost nothing.
    pub fn hits(&self, draw: Draw, percent: Percent) -> bool {
        let Percent(percent) = percent;
        percent >= 100.0 || (percent > 0.0 && self.unit(draw) * 100.0 < percent)
    }

    /// At least 0 and less than 1.
    pub fn unit(&self, draw: Draw) -> f64 {
        match self.seed {
            None => random::f64(),
            Some(seed) => unit_of(seed, draw, self.request_id()),
        }
    }

    fn request_id(&self) -> &str {
        self.request_id
            .get_or_init(|| self.exchange.attribute("request.id").unwrap_or_default())
    }
}

/// The same for the same seed and request, in every version of this filter.
fn unit_of(seed: u64, draw: Draw, request_id: &str) -> f64 {
    let lane: u64 = match draw {
        Draw::Delay => 0x64656c6179,
        Draw::Length => 0x6c656e677468,
        Draw::Abort => 0x61626f7274,
    };
    random::unit(random::keyed(seed ^ lane, request_id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_of_a_hundred_thousand() {
        for draw in [Draw::Delay, Draw::Length, Draw::Abort] {
            let hits = (0..100_000u64)
                .filter(|number| unit_of(42, draw, &request_id(*number)) < 0.1)
                .count();
            assert!((9_500..=10_500).contains(&hits), "{draw:?}: {hits}");
        }
    }

    #[test]
    fn delay_and_abort_are_drawn_apart() {
        let both = (0..100_000u64)
            .map(request_id)
            .filter(|id| unit_of(42, Draw::Delay, id) < 0.1)
            .filter(|id| unit_of(42, Draw::Abort, id) < 0.1)
            .count();
        assert!((900..=1_100).contains(&both), "{both}");
    }

    #[test]
    fn the_draw_is_a_promise() {
        let drawn = unit_of(1, Draw::Abort, "6f1d");
        assert_eq!(drawn, unit_of(1, Draw::Abort, "6f1d"));
        assert_ne!(drawn, unit_of(2, Draw::Abort, "6f1d"));
    }

    /// As the proxy makes them: a UUID whose digits are not a counter.
    fn request_id(number: u64) -> String {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!(
            "{:08x}-{:04x}-4000-8000-{number:012x}",
            mixed >> 32,
            mixed & 0xffff
        )
    }
}
