//! Prefetched fields as one list of bytes, in the form that the contract gives
//! `packed-fields`: for each field a little-endian u16 count of values, and for
//! each value a little-endian u32 length and its bytes.

/// Adds one field with all its values. Values beyond the first 65,535 are left
/// out; a head never has that many.
pub fn pack<'a>(packed: &mut Vec<u8>, values: impl Iterator<Item = &'a [u8]>) {
    let count_at = packed.len();
    packed.extend_from_slice(&[0, 0]);
    let mut count: u16 = 0;
    for value in values.take(usize::from(u16::MAX)) {
        let length = u32::try_from(value.len()).expect("a head is smaller than 4 GiB");
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(value);
        count += 1;
    }
    packed[count_at..count_at + 2].copy_from_slice(&count.to_le_bytes());
}

/// Bytes that are not in the form of `packed-fields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packed fields")]
pub struct Malformed;

/// The values of every field.
pub fn unpack(mut packed: &[u8]) -> Result<Vec<Vec<&[u8]>>, Malformed> {
    let mut fields = Vec::new();
    while !packed.is_empty() {
        let count = u16::from_le_bytes(*take_array(&mut packed)?);
        let values = (0..count).map(|_| take_value(&mut packed));
        fields.push(values.collect::<Result<_, _>>()?);
    }
    Ok(fields)
}

fn take_value<'a>(packed: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = u32::from_le_bytes(*take_array(packed)?);
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (value, rest) = packed.split_at_checked(length).ok_or(Malformed)?;
    *packed = rest;
    Ok(value)
}

fn take_array<'a, const N: usize>(packed: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (array, rest) = packed.split_first_chunk().ok_or(Malformed)?;
    *packed = rest;
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back() {
        check(&[]);
        check(&[&[]]);
        check(&[&[b"one"]]);
        check(&[&[], &[b"", b"two"], &[b"\xff\x00"]]);
    }

    fn check(fields: &[&[&[u8]]]) {
        let mut packed = Vec::new();
        for values in fields {
            pack(&mut packed, values.iter().copied());
        }
        assert_eq!(unpack(&packed).unwrap(), fields);
    }

    #[test]
    fn malformed_bytes_are_refused() {
        for bytes in [
            &[1][..],
            &[1, 0],
            &[1, 0, 1, 0, 0],
            &[1, 0, 1, 0, 0, 0],
            &[1, 0, 255, 255, 255, 255, 7],
            &[0, 0, 9],
        ] {
            assert_eq!(unpack(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
