//! Everything that must be there before a packet is sent: engine, images, cluster, add-ons, workloads.

pub mod addons;
pub mod cluster;
pub mod engine;
pub mod gc;
pub mod images;
pub mod journal;
pub mod workloads;

/// The SHA-256 of `bytes`, in hexadecimal: what texts and configurations are recognised by.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    sha2::Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
