//! Chance: a fast generator of the worker, seeded by the system. Not for keys.
//! In tests its seed is that of `testing::Harness::set_seed`.

use crate::host;

/// Any number.
pub fn u64() -> u64 {
    host::random()
}

/// At least 0 and less than 1.
pub fn f64() -> f64 {
    unit(u64())
}

/// True in this many percent of the cases. Never at 0 and always at 100, which
/// cost no call to the proxy.
pub fn percent(percent: f64) -> bool {
    percent >= 100.0 || (percent > 0.0 && f64() * 100.0 < percent)
}

/// A number of at least 0 and less than 1 from 64 random bits, of which it
/// keeps as many as the type can hold.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Mix bytes and a seed into 64 bits that look random: the same ones give the
/// same number, in every instance and every version. For draws that a test can
/// repeat, or that a cookie makes sticky.
pub fn keyed(seed: u64, key: &[u8]) -> u64 {
    // FNV-1a takes the bytes in, the finisher of SplitMix64 spreads them.
    let folded = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ mixed(seed), |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    mixed(folded)
}

/// The finisher of SplitMix64.
pub(crate) fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_stays_below_one() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u64::MAX) < 1.0);
    }

    #[test]
    fn keyed_repeats_and_spreads() {
        assert_eq!(keyed(1, b"a"), keyed(1, b"a"));
        assert_ne!(keyed(1, b"a"), keyed(2, b"a"));
        let below = (0..100_000u32)
            .filter(|n| unit(keyed(7, &n.to_le_bytes())) < 0.1)
            .count();
        assert!((9_500..=10_500).contains(&below), "{below}");
    }
}
