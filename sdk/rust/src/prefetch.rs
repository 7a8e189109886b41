//! The fields that `wants` asked for, packed by the proxy into one value:
//! for each field a little-endian u16 count of values, and for each value a
//! little-endian u32 length and its bytes.

use std::cell::Cell;

/// Packed fields, and which of them were changed since.
#[derive(Default)]
pub(crate) struct Prefetch<'a> {
    names: &'a [String],
    packed: &'a [u8],
    /// One bit for each field whose copy is out of date; the last bit stands
    /// for every field from the 64th on.
    stale: Cell<u64>,
}

impl<'a> Prefetch<'a> {
    pub(crate) fn new(names: &'a [String], packed: &'a [u8]) -> Self {
        Prefetch {
            names,
            packed,
            stale: Cell::new(0),
        }
    }

    /// The values of a field, or `None` when its copy is not here or out of
    /// date and the proxy must be asked.
    pub(crate) fn values(&self, name: &str) -> Option<Values<'a>> {
        let index = self.fresh_index(name)?;
        let mut rest = self.packed;
        for _ in 0..index {
            let count = take_u16(&mut rest)?;
            for _ in 0..count {
                take_value(&mut rest)?;
            }
        }
        let left = take_u16(&mut rest)?;
        Some(Values { left, rest })
    }

    /// From now on the proxy must be asked for this field.
    pub(crate) fn forget(&self, name: &str) {
        if let Some(index) = self.index(name) {
            self.stale.set(self.stale.get() | bit(index));
        }
    }

    fn fresh_index(&self, name: &str) -> Option<usize> {
        self.index(name)
            .filter(|index| self.stale.get() & bit(*index) == 0)
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.names
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The values of one field, in order.
pub(crate) struct Values<'a> {
    left: u16,
    rest: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        take_value(&mut self.rest)
    }
}

fn bit(index: usize) -> u64 {
    1 << index.min(63)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    let (count, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u16::from_le_bytes(*count))
}

fn take_value<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let (value, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = after;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_each_other() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let packed = packed(&[&[b"1", b"2"], &[], &[b""]]);
        let prefetch = Prefetch::new(&names, &packed);
        check(&prefetch, "a", Some(&[b"1", b"2"]));
        check(&prefetch, "B", Some(&[]));
        check(&prefetch, "c", Some(&[b""]));
        check(&prefetch, "d", None);
    }

    #[test]
    fn a_changed_field_is_asked_for() {
        let names = ["a", "b"].map(str::to_owned);
        let packed = packed(&[&[b"1"], &[b"2"]]);
        let prefetch = Prefetch::new(&names, &packed);
        prefetch.forget("A");
        prefetch.forget("unknown");
        check(&prefetch, "a", None);
        check(&prefetch, "b", Some(&[b"2"]));
    }

    #[test]
    fn from_the_sixty_fourth_on_fields_are_forgotten_together() {
        let names: Vec<_> = (0..70).map(|number| number.to_string()).collect();
        let packed = packed(&[&[b"x".as_slice()] as &[_]; 70]);
        let prefetch = Prefetch::new(&names, &packed);
        prefetch.forget("69");
        check(&prefetch, "62", Some(&[b"x"]));
        check(&prefetch, "63", None);
        check(&prefetch, "69", None);
    }

    /// The proxy never sends such, and a filter must not panic on it.
    #[test]
    fn cut_short() {
        let names = ["a".to_owned()];
        let whole = packed(&[&[b"12"]]);
        for length in 0..whole.len() {
            let prefetch = Prefetch::new(&names, &whole[..length]);
            assert_eq!(
                prefetch.values("a").and_then(|mut values| values.next()),
                None
            );
        }
    }

    fn packed(fields: &[&[&[u8]]]) -> Vec<u8> {
        let mut packed = Vec::new();
        for values in fields {
            packed.extend((values.len() as u16).to_le_bytes());
            for value in *values {
                packed.extend((value.len() as u32).to_le_bytes());
                packed.extend(*value);
            }
        }
        packed
    }

    #[track_caller]
    fn check(prefetch: &Prefetch, name: &str, wanted: Option<&[&[u8]]>) {
        let found = prefetch.values(name).map(Iterator::collect::<Vec<_>>);
        assert_eq!(found.as_deref(), wanted, "{name}");
    }
}
