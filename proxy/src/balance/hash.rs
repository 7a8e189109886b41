//! The hash of keys and of endpoints' names: XXH64 (xxHash's specification), as Envoy's
//! rings and tables use. It is the same on every machine and in every version, so that
//! proxies beside each other agree; a seed of the process would spoil that. Who chooses keys
//! can aim at an endpoint: that is what bounded load is for.

use twox_hash::XxHash64;

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;

/// Of bytes, with the seed zero.
pub fn hash(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// The hash that comes `step` steps behind this one, as good as any other.
pub fn after(hash: u64, step: u64) -> u64 {
    avalanche(hash.wrapping_add(step.wrapping_mul(PRIME_1)))
}

/// As XXH64 ends.
fn avalanche(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reference implementation (libxxhash 0.8.1) says.
    #[test]
    fn it_is_the_hash_that_others_know() {
        check(b"", 0xEF46_DB37_51D8_E999);
        check(b"a", 0xD24E_C4F1_A98C_6E5B);
        check(b"abc", 0x44BC_2CF5_AD77_0999);
        check(b"lockgate", 0xBEE7_0E8F_3713_03F4);
        check(b"10.0.0.1:8080", 0xCB97_2177_068E_B685);
        check(b"0123456789abcdef0123456789abcdef", 0x642A_9495_8E71_E6C5);
        check(
            b"Nobody inspects the spammish repetition",
            0xFBCE_A83C_8A37_8BF1,
        );
        let bytes: Vec<u8> = (0..100).collect();
        check(&bytes, 0x6AC1_E580_3216_6597);
    }

    fn check(bytes: &[u8], wanted: u64) {
        assert_eq!(hash(bytes), wanted, "{bytes:?}");
    }

    #[test]
    fn hashes_behind_one_are_spread() {
        let mut found: Vec<_> = (0..100_000).map(|step| after(7, step) >> 40).collect();
        found.sort_unstable();
        found.dedup();
        // Of 2^24 places, 298 are taken twice in the mean.
        assert!((99_600..99_800).contains(&found.len()), "{}", found.len());
    }
}
