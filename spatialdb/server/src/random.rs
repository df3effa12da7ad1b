//! Secrets and names that nobody can guess.

/// 128 bits of the operating system's randomness, hexadecimal.
///
/// # Panics
/// If the operating system has no randomness: nothing could be safe then.
pub(crate) fn key() -> String {
    hex(&bytes::<16>())
}

/// That many bytes of the operating system's randomness.
///
/// # Panics
/// If the operating system has none.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
