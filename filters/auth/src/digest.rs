//! SHA-256 digests as secrets are kept and compared.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// A SHA-256 digest that is compared in constant time. Words and not bytes: the
/// comparison runs over every key of a configuration.
#[derive(Clone, Copy)]
pub struct Fingerprint([u64; 4]);

impl Fingerprint {
    /// Of the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part);
        }
        Self::from_bytes(&digest.finalize().into())
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        match base16ct::mixed::decode(hex, &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self::from_bytes(&bytes)),
            _ => Err("expected a SHA-256 digest of 64 hexadecimal digits".into()),
        }
    }

    /// Whether both are equal, told in a time that does not depend on it.
    pub fn same(&self, other: &Self) -> Choice {
        let words = self.0.iter().zip(&other.0);
        words.fold(Choice::from(1), |same, (mine, theirs)| {
            same & mine.ct_eq(theirs)
        })
    }

    /// A number that is spread evenly over all digests.
    pub fn spread(&self) -> u64 {
        self.0[0]
    }

    fn from_bytes(bytes: &[u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut fingerprint = [0; 4];
        for (word, bytes) in fingerprint.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_parts_and_from_hex() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let known = Fingerprint::from_hex(abc).unwrap();
        assert!(bool::from(
            known.same(&Fingerprint::of(&[b"a", b"", b"bc"]))
        ));
        assert!(!bool::from(known.same(&Fingerprint::of(&[b"abd"]))));
        for place in 0..4 {
            let mut other = known;
            other.0[place] ^= 1 << 63;
            assert!(!bool::from(known.same(&other)));
        }
        assert!(Fingerprint::from_hex(&abc.to_uppercase()).is_ok());
        for hex in [
            "",
            "ab",
            &abc[..62],
            &format!("{abc}00"),
            &abc.replace('b', "x"),
        ] {
            assert!(Fingerprint::from_hex(hex).is_err(), "{hex}");
        }
    }
}
