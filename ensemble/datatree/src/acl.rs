//! Who may do what (`ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`).
//!
//! Three schemes are known: `world` (its only id is `anyone`), `digest` (`user:base64(sha1(user:password))`) and `ip` (an address, with
//! an optional prefix length). `auth` stands for the requester's own identities when a list is written, and is never stored.
//! An identity of scheme `super` may do everything.

use ensemble_proto::client::AclEntry;
use ensemble_proto::quorum::AuthId;
use ensemble_proto::{Acl, AclList, ErrorCode};
use std::net::IpAddr;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The identities of the connection, the implicit one of scheme `ip` included.
    pub identities: &'a [AuthId],
    /// `zookeeper.skipACL`: everything is allowed. Lists that are written must be valid all the same.
    pub skip_acl: bool,
}

impl Access<'_> {
    /// The system's own: nothing is refused.
    pub const UNCHECKED: Access<'static> = Access { identities: &[], skip_acl: true };
}

/// Whether one of the permission bits `perms` is granted. An empty list grants everything.
pub fn check(list: &[Acl], perms: i32, access: Access<'_>) -> bool {
    access.skip_acl
        || list.is_empty()
        || access.identities.iter().any(|identity| identity.scheme == "super")
        || list.iter().filter(|acl| acl.perms & perms != 0).any(|acl| grants(acl, access.identities))
}

fn grants(acl: &Acl, identities: &[AuthId]) -> bool {
    let mut ids = identities.iter().filter(|identity| identity.scheme == acl.scheme).map(|identity| &identity.id);
    match acl.scheme.as_str() {
        "world" => acl.id == "anyone",
        "digest" => ids.any(|id| *id == acl.id),
        "ip" => Network::parse(&acl.id).is_some_and(|network| ids.any(|id| network.contains(id))),
        _ => false,
    }
}

/// The list to store for the one that a client wrote.
///
/// # Errors
/// `INVALID_ACL` for a null or empty list, an entry without scheme or id, a scheme that is not known, an id that the scheme does
/// not allow, and `auth` from a client that has no identity but its address.
///
/// Differs from ZooKeeper: an id that is null is refused in every scheme but `auth`; there it is an internal error.
pub fn normalise(entries: Option<&[AclEntry<'_>]>, identities: &[AuthId]) -> Result<AclList, ErrorCode> {
    let entries = entries.unwrap_or_default();
    let mut list = Vec::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        if !entries[..position].contains(entry) {
            normalise_entry(entry, identities, &mut list)?;
        }
    }
    if list.is_empty() { Err(ErrorCode::INVALID_ACL) } else { Ok(list.into()) }
}

fn normalise_entry(entry: &AclEntry<'_>, identities: &[AuthId], list: &mut Vec<Acl>) -> Result<(), ErrorCode> {
    let scheme = entry.scheme.as_deref().ok_or(ErrorCode::INVALID_ACL)?;
    if scheme == "auth" {
        let before = list.len();
        let proven = identities.iter().filter(|identity| is_authenticated(&identity.scheme));
        list.extend(proven.map(|identity| Acl {
            perms: entry.perms,
            scheme: identity.scheme.clone(),
            id: identity.id.clone(),
        }));
        return if list.len() > before { Ok(()) } else { Err(ErrorCode::INVALID_ACL) };
    }
    let id = entry.id.as_deref().ok_or(ErrorCode::INVALID_ACL)?;
    if !is_valid_id(scheme, id) {
        return Err(ErrorCode::INVALID_ACL);
    }
    list.push(Acl { perms: entry.perms, scheme: scheme.to_string(), id: id.to_string() });
    Ok(())
}

/// Whether an identity of this scheme proves who someone is, rather than where from.
fn is_authenticated(scheme: &str) -> bool {
    scheme == "digest"
}

fn is_valid_id(scheme: &str, id: &str) -> bool {
    match scheme {
        "world" => id == "anyone",
        "ip" => Network::parse(id).is_some(),
        "digest" => is_valid_digest_id(id),
        _ => false,
    }
}

/// Two pieces between colons, empty ones at the end not counted: what Java's `split(":")` makes of it.
fn is_valid_digest_id(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    !trimmed.is_empty() && trimmed.split(':').count() == 2
}

/// An id of scheme `ip`: an address and how many of its leading bits count.
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok())?;
        (bits <= width).then_some(Network { address, bits })
    }

    fn contains(&self, address: &str) -> bool {
        match (self.address, address.parse()) {
            (IpAddr::V4(own), Ok(IpAddr::V4(other))) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), Ok(IpAddr::V6(other))) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }
}

/// What a reader without ADMIN sees of a list: the hash of a `digest` id becomes `x`.
pub(crate) fn masked(list: &[Acl]) -> Vec<Acl> {
    list.iter()
        .map(|acl| match acl.id.split_once(':') {
            Some((user, _)) if acl.scheme == "digest" => Acl { id: format!("{user}:x"), ..acl.clone() },
            _ => acl.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(scheme: &str, id: &str) -> AuthId {
        AuthId { scheme: scheme.to_string(), id: id.to_string() }
    }

    fn entry<'a>(scheme: &'a str, id: &'a str) -> AclEntry<'a> {
        AclEntry { perms: 31, scheme: Some(scheme.into()), id: Some(id.into()) }
    }

    fn acl(scheme: &str, id: &str) -> Acl {
        Acl { perms: 31, scheme: scheme.to_string(), id: id.to_string() }
    }

    #[test]
    fn who_is_granted() {
        let granted = |scheme: &str, id: &str, identities: &[AuthId]| {
            check(&[acl(scheme, id)], Acl::READ, Access { identities, skip_acl: false })
        };
        assert!(granted("world", "anyone", &[]));
        assert!(granted("digest", "bob:h", &[identity("ip", "10.0.0.1"), identity("digest", "bob:h")]));
        assert!(!granted("digest", "bob:h", &[identity("digest", "bob:other")]));
        assert!(!granted("digest", "bob:h", &[identity("ip", "bob:h")]));
        assert!(granted("digest", "bob:h", &[identity("super", "")]));
        assert!(granted("ip", "10.0.0.1", &[identity("ip", "10.0.0.1")]));
        assert!(granted("ip", "10.1.2.3/16", &[identity("ip", "10.1.255.255")]));
        assert!(!granted("ip", "10.1.2.3/16", &[identity("ip", "10.2.0.0")]));
        assert!(granted("ip", "10.1.2.3/0", &[identity("ip", "192.168.0.1")]));
        assert!(!granted("ip", "10.1.2.3/0", &[identity("ip", "::1")]));
        assert!(granted("ip", "2001:db8::/32", &[identity("ip", "2001:db8:1::1")]));
        assert!(!granted("ip", "2001:db8::/32", &[identity("ip", "2001:db9::1")]));
        assert!(!granted("sasl", "bob", &[identity("sasl", "bob")]), "a scheme that is not known grants nothing");
    }

    #[test]
    fn only_the_named_bits_are_granted_and_an_empty_list_grants_all() {
        let access = Access { identities: &[], skip_acl: false };
        let list = [Acl::world(Acl::READ | Acl::ADMIN)];
        assert!(check(&list, Acl::READ, access));
        assert!(!check(&list, Acl::WRITE, access));
        assert!(check(&list, Acl::WRITE | Acl::ADMIN, access));
        assert!(check(&list, Acl::WRITE, Access::UNCHECKED));
        assert!(check(&[], Acl::WRITE, access));
    }

    #[test]
    fn valid_lists_are_kept_in_order_without_duplicates() {
        let entries =
            [entry("world", "anyone"), entry("digest", "a:b"), entry("world", "anyone"), entry("ip", "::1/128")];
        let expected: AclList = [acl("world", "anyone"), acl("digest", "a:b"), acl("ip", "::1/128")].into();
        assert_eq!(normalise(Some(&entries), &[]), Ok(expected));
        for id in [":b", "a:b:", "a:b::"] {
            assert!(normalise(Some(&[entry("digest", id)]), &[]).is_ok(), "{id}");
        }
    }

    #[test]
    fn auth_becomes_the_identities_that_prove_someone() {
        let identities =
            [identity("ip", "10.0.0.1"), identity("digest", "a:1"), identity("super", ""), identity("digest", "b:2")];
        let auth = AclEntry { perms: 1, scheme: Some("auth".into()), id: None };
        let expected: AclList =
            [Acl { perms: 1, ..acl("digest", "a:1") }, Acl { perms: 1, ..acl("digest", "b:2") }].into();
        assert_eq!(normalise(Some(std::slice::from_ref(&auth)), &identities), Ok(expected));
        assert_eq!(normalise(Some(&[auth]), &identities[..1]), Err(ErrorCode::INVALID_ACL));
    }

    #[test]
    fn invalid_lists() {
        let invalid = |entries: Option<&[AclEntry<'_>]>| {
            assert_eq!(normalise(entries, &[]), Err(ErrorCode::INVALID_ACL), "{entries:?}");
        };
        invalid(None);
        invalid(Some(&[]));
        for (scheme, id) in [
            ("world", "someone"),
            ("world", ""),
            ("digest", "a"),
            ("digest", "a:"),
            ("digest", ""),
            ("digest", ":"),
            ("digest", "a:b:c"),
            ("ip", "10.0.0"),
            ("ip", "10.0.0.1/33"),
            ("ip", "10.0.0.1/-1"),
            ("ip", "::1/129"),
            ("ip", "host"),
            ("super", "x"),
            ("sasl", "bob"),
            ("", ""),
        ] {
            invalid(Some(&[entry("world", "anyone"), entry(scheme, id)]));
        }
        invalid(Some(&[AclEntry { perms: 31, scheme: Some("digest".into()), id: None }]));
        invalid(Some(&[AclEntry { perms: 31, scheme: None, id: Some("a:b".into()) }]));
    }

    #[test]
    fn a_hash_is_masked_and_nothing_else() {
        let list = [acl("digest", "bob:secret"), acl("ip", "::1"), acl("world", "anyone")];
        assert_eq!(masked(&list), [acl("digest", "bob:x"), acl("ip", "::1"), acl("world", "anyone")]);
    }
}
