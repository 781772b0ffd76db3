//! Entropy, where the pure core asks for a seed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A seed that nobody can guess: the standard library's hash keys come from the operating system.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(std::time::Instant::now())
}

/// A random UUID (version 4).
pub(crate) fn uuid() -> String {
    let bits = u128::from(seed()) << 64 | u128::from(seed());
    let bits = bits & !(0xf << 76) | 4 << 76;
    let bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_of_version_four_and_never_the_same() {
        let (a, b) = (uuid(), uuid());
        assert_ne!(a, b);
        assert_eq!((a.len(), &a[14..15]), (36, "4"), "{a}");
        assert!("89ab".contains(&a[19..20]), "{a}");
    }
}
