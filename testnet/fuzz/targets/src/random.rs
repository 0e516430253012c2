//! Inputs drawn from a seed, for whoever has no fuzzer at hand.

/// The input of a seed: the same whenever it is drawn. Some are all noise; in others most bytes are small, which are the
/// plain choices of the targets that draw from them.
#[must_use]
pub fn random_input(seed: u64) -> Vec<u8> {
    let mut state = seed;
    // SplitMix64.
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    };
    let (length, calm) = (next() % 400, next() % 4);
    let byte = |_| {
        let byte = next() as u8;
        match calm {
            0 => byte,
            1 => byte % 32,
            2 if byte < 250 => byte % 8,
            3 if byte < 200 => 0,
            _ => byte,
        }
    };
    (0..length).map(byte).collect()
}
