//! In the place of the shipped filter's `form`, whose form is 0: three more of them.
//! They differ in length, so that none is taken for another, and each version reads
//! what the one before it left and nothing older.

use lockgate_sdk::{Error, HandOver, Stored};

const FORMAT: u32 = match (cfg!(feature = "second"), cfg!(feature = "third")) {
    (_, true) => 3,
    (true, _) => 2,
    _ => 1,
};

const SECOND: u64 = 1_000_000_000;

pub fn encode(tat: u64) -> Vec<u8> {
    match FORMAT {
        1 => [&[1], tat.to_be_bytes().as_slice()].concat(),
        2 => format!("{tat:020}").into_bytes(),
        _ => {
            let nanoseconds = (tat % SECOND) as u32;
            let seconds = tat / SECOND;
            [&seconds.to_le_bytes()[..], &nanoseconds.to_le_bytes()].concat()
        }
    }
}

pub fn decode(value: &[u8]) -> Option<u64> {
    decode_from(FORMAT, value)
}

fn decode_from(format: u32, value: &[u8]) -> Option<u64> {
    match format {
        0 => value.try_into().ok().map(u64::from_le_bytes),
        1 => {
            let (1, rest) = value.split_first()? else {
                return None;
            };
            rest.try_into().ok().map(u64::from_be_bytes)
        }
        2 => str::from_utf8(value).ok()?.parse().ok(),
        _ => {
            let (seconds, rest) = value.split_first_chunk()?;
            let nanoseconds: [u8; 4] = rest.try_into().ok()?;
            let nanoseconds = u64::from(u32::from_le_bytes(nanoseconds));
            u64::from_le_bytes(*seconds)
                .checked_mul(SECOND)?
                .checked_add(nanoseconds)
        }
    }
}

/// How counts are taken over.
pub struct Form;

impl HandOver for Form {
    const FORMAT: u32 = FORMAT;

    fn migrate(from: u32, _key: &str, stored: Stored) -> Result<Option<Stored>, Error> {
        let before = FORMAT - 1;
        if from != before {
            let reason = format!("counts of the form {from} are not read any more, only {before}");
            return Err(Error::new(reason));
        }
        let Stored::Bytes(bytes) = stored else {
            return Ok(None);
        };
        let tat = decode_from(before, &bytes);
        Ok(tat.map(|tat| encode(tat).into()))
    }
}
