//! The text of `zoo.cfg` as others see it: without its secrets, and its hash.

use ensemble_proto::properties;
use sha2::{Digest, Sha256};

/// What stands for a secret.
const SECRET: &str = "(not shown)";

/// The value, unless the name says that it is a secret: a password, or the hash of one.
pub(super) fn shown(name: &str, value: &str) -> String {
    let name = name.to_ascii_lowercase();
    let is_secret = name.ends_with("password") || name.ends_with("superdigest");
    if is_secret { SECRET } else { value }.to_owned()
}

/// `zoo.cfg` with its secrets left out, also those that go on in the next line.
pub(super) fn without_secrets(text: &str) -> String {
    let properties = properties::parse(text);
    let secrets: Vec<_> = properties.iter().filter(|p| shown(&p.key, &p.value) != p.value).collect();
    let line =
        |(index, line): (usize, &str)| match secrets.iter().find(|p| (p.line..=p.last_line).contains(&(index + 1))) {
            None => format!("{line}\n"),
            Some(secret) if secret.line == index + 1 => format!("{}={SECRET}\n", secret.key),
            Some(_) => String::new(),
        };
    text.lines().enumerate().map(line).collect()
}

/// The `server.N` lines of a configuration.
pub(crate) fn server_lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| line.starts_with("server.")).map(str::to_owned).collect()
}

/// The hash of `zoo.cfg` that `/status` shows, as the operator computes it: whether a server runs with the text that it should. Not of
/// the lines of the servers, each of which is the ensemble's to change while it serves, nor of those about a recovery, which mean nothing to
/// a server that was started once with them.
pub(super) fn config_hash(text: &str) -> String {
    let mut hash = Sha256::new();
    for line in text.lines().filter(|line| !line.starts_with("server.") && !line.starts_with("ensemble.recovery.")) {
        hash.update(line);
        hash.update("\n");
    }
    hexadecimal(&hash.finalize())
}

/// Lower-case hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let text =
            "dataDir=/d\nssl.keyStore.password se\\\n  cret\n# c\nDigestAuthenticationProvider.superDigest:super:x\n";
        let shown = format!(
            "dataDir=/d\nssl.keyStore.password={SECRET}\n# c\nDigestAuthenticationProvider.superDigest={SECRET}\n"
        );
        assert_eq!(without_secrets(text), shown);
    }

    #[test]
    fn what_one_start_needs_is_not_in_the_hash() {
        let text = "dataDir=/d\nensemble.id=x\n";
        assert_eq!(config_hash(&format!("{text}ensemble.recovery.from=y\nserver.1=a:1:2\n")), config_hash(text));
        assert_ne!(config_hash(&format!("{text}ensemble.member=y\n")), config_hash(text));
    }
}
