//! Parts of a whole, and which of them a place in the whole belongs to.

/// For a few parts. What is no number or negative is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shares {
    /// Where each part ends; the last one's end is the whole.
    ends: Box<[f64]>,
}

impl Shares {
    pub fn new(parts: impl IntoIterator<Item = f64>) -> Self {
        let end = |sum: &mut f64, part: f64| {
            *sum += part.max(0.0);
            Some(*sum)
        };
        let ends = parts.into_iter().scan(0.0, end).collect();
        Self { ends }
    }

    /// The part at a place from 0 to 1: by chance, or by a key's hash where equal keys are
    /// to have the same part. `None` where all parts are nothing.
    pub fn at(&self, place: f64) -> Option<usize> {
        let whole = *self.ends.last()?;
        let place = place.clamp(0.0, 1.0) * whole;
        let part = self.ends.partition_point(|end| *end <= place);
        // The whole's own end belongs to the last part that is anything.
        let last = self.ends.partition_point(|end| *end < whole);
        (whole > 0.0).then_some(part.min(last))
    }

    /// The share of a part, from 0 to 1.
    pub fn of(&self, part: usize) -> f64 {
        let end = |part: usize| self.ends.get(part).copied().unwrap_or(0.0);
        let begin = part.checked_sub(1).map_or(0.0, end);
        match self.ends.last() {
            Some(whole) if *whole > 0.0 => (end(part) - begin).max(0.0) / whole,
            _ => 0.0,
        }
    }
}

/// The place of a key: its hash as a number from 0 to 1.
pub fn place_of(hash: u64) -> f64 {
    // As many bits as fit.
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parts: &[f64], place: f64, part: Option<usize>) {
        let shares = Shares::new(parts.iter().copied());
        assert_eq!(shares.at(place), part, "{parts:?} at {place}");
    }

    #[test]
    fn a_place_belongs_to_one_part() {
        check(&[0.5, 0.5], 0.0, Some(0));
        check(&[0.5, 0.5], 0.499, Some(0));
        check(&[0.5, 0.5], 0.5, Some(1));
        check(&[0.5, 0.5], 1.0, Some(1));
        check(&[30.0, 10.0], 0.74, Some(0));
        check(&[30.0, 10.0], 0.76, Some(1));
    }

    #[test]
    fn parts_that_are_nothing_have_no_place() {
        for place in [0.0, 0.3, 1.0, f64::NAN, 7.0, -1.0] {
            check(&[], place, None);
            check(&[0.0, -3.0, f64::NAN], place, None);
        }
        for place in [0.0, 0.3, 1.0, 7.0, -1.0] {
            check(&[0.0, 2.0, 0.0], place, Some(1));
            check(&[-5.0, f64::NAN, 2.0], place, Some(2));
        }
    }

    #[test]
    fn shares_come_to_one() {
        let shares = Shares::new([3.0, 0.0, 1.0, -2.0]);
        let found: Vec<_> = (0..5).map(|part| shares.of(part)).collect();
        assert_eq!(found, [0.75, 0.0, 0.25, 0.0, 0.0]);
        assert_eq!(Shares::default().of(0), 0.0);
    }

    #[test]
    fn hashes_have_places() {
        assert_eq!(place_of(0), 0.0);
        assert_eq!(place_of(1 << 63), 0.5);
        assert!(place_of(u64::MAX) < 1.0);
    }
}
