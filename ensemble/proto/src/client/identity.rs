//! Who a client says it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// The identity that an auth packet `user:password` of scheme `digest` gives: `user:base64(SHA1(user:password))`
/// (`DigestAuthenticationProvider.generateDigest`). The password may contain colons; without any colon the
/// whole payload is the user.
pub fn digest_id(payload: &str) -> String {
    let user = payload.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(Sha1::digest(payload.as_bytes())))
}
