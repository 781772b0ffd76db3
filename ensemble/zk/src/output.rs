//! Stats, ACL lists and data as `zkCli.sh` prints them (`StatPrinter.java`, `GetAclCommand.java`), and as JSON.

use crate::error::CommandError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ensemble_proto::{Acl, Stat, date};
use serde_json::{Map, Value, json};
use std::io::Write;

/// The stat block.
///
/// # Errors
/// When it cannot be printed.
pub fn stat(stat: &Stat, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "cZxid = {:#x}", stat.czxid.0)?;
    writeln!(out, "ctime = {}", date::long(stat.ctime))?;
    writeln!(out, "mZxid = {:#x}", stat.mzxid.0)?;
    writeln!(out, "mtime = {}", date::long(stat.mtime))?;
    writeln!(out, "pZxid = {:#x}", stat.pzxid.0)?;
    writeln!(out, "cversion = {}", stat.cversion)?;
    writeln!(out, "dataVersion = {}", stat.version)?;
    writeln!(out, "aclVersion = {}", stat.aversion)?;
    writeln!(out, "ephemeralOwner = {:#x}", stat.ephemeral_owner.0)?;
    writeln!(out, "dataLength = {}", stat.data_length)?;
    writeln!(out, "numChildren = {}", stat.num_children)
}

/// The stat as an object; its names are the API's.
pub fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": format!("{:#x}", stat.czxid.0),
        "ctime": date::rfc3339(stat.ctime),
        "mzxid": format!("{:#x}", stat.mzxid.0),
        "mtime": date::rfc3339(stat.mtime),
        "pzxid": format!("{:#x}", stat.pzxid.0),
        "cversion": stat.cversion,
        "version": stat.version,
        "aversion": stat.aversion,
        "ephemeralOwner": format!("{:#x}", stat.ephemeral_owner.0),
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
    })
}

/// `data`, null or text; `dataBase64` for what is no UTF-8.
pub fn data_json(data: Option<&[u8]>, object: &mut Map<String, Value>) {
    match data.map(std::str::from_utf8) {
        None => object.insert("data".into(), Value::Null),
        Some(Ok(text)) => object.insert("data".into(), json!(text)),
        Some(Err(_)) => object.insert("dataBase64".into(), json!(STANDARD.encode(data.unwrap_or_default()))),
    };
}

const LETTERS: [(i32, char); 5] =
    [(Acl::CREATE, 'c'), (Acl::DELETE, 'd'), (Acl::READ, 'r'), (Acl::WRITE, 'w'), (Acl::ADMIN, 'a')];

/// Permission bits as letters.
pub fn perms(bits: i32) -> String {
    LETTERS.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| letter).collect()
}

/// An ACL list as a list of objects.
pub fn acl_json(acl: &[Acl]) -> Value {
    acl.iter().map(|acl| json!({ "scheme": acl.scheme, "id": acl.id, "perms": perms(acl.perms) })).collect()
}

/// Reads `scheme:id:perms,scheme:id:perms` (`AclParser.java`).
///
/// Differs from ZooKeeper, which leaves out what it does not understand and goes on with the rest: a list that is shorter than it was meant to be
/// may allow more.
///
/// # Errors
/// For an entry that is none.
pub fn parse_acl(text: &str) -> Result<Vec<Acl>, CommandError> {
    text.split(',').map(parse_entry).collect()
}

fn parse_entry(text: &str) -> Result<Acl, CommandError> {
    let wrong = || CommandError::Malformed(format!("{text} does not have the form scheme:id:perm"));
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (id, letters) = rest.rsplit_once(':').ok_or_else(wrong)?;
    Ok(Acl { perms: parse_perms(letters)?, scheme: scheme.to_owned(), id: id.to_owned() })
}

/// Reads permission letters.
///
/// # Errors
/// For a letter that is none.
pub fn parse_perms(letters: &str) -> Result<i32, CommandError> {
    letters.chars().try_fold(0, |bits, letter| {
        let known = LETTERS.into_iter().find(|(_, known)| *known == letter);
        let unknown = || CommandError::Malformed(format!("Unknown perm type: {letter}"));
        known.map(|(bit, _)| bits | bit).ok_or_else(unknown)
    })
}

/// A table of 16 bytes a row, in hexadecimal and as characters (netty's `ByteBufUtil.prettyHexDump`).
pub fn hex_dump(data: &[u8]) -> String {
    const RULE: &str = "+--------+-------------------------------------------------+----------------+";
    let mut lines = vec![
        "         +-------------------------------------------------+".to_owned(),
        "         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |".to_owned(),
        RULE.to_owned(),
    ];
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let shown = |byte: &u8| {
            if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }
        };
        let text: String = bytes.iter().map(shown).collect();
        lines.push(format!("|{:08x}|{hex:<48} |{text:<16}|", row * 16));
    }
    lines.push(RULE.to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_list_is_read_and_an_entry_that_is_none_refused() {
        let list = parse_acl("world:anyone:r,digest:bob:x+y=:cdrwa,ip:::1:r").unwrap();
        let shown: Vec<_> = list.iter().map(|acl| format!("{} {} {}", acl.scheme, acl.id, perms(acl.perms))).collect();
        assert_eq!(shown, ["world anyone r", "digest bob:x+y= cdrwa", "ip ::1 r"]);
        for (text, expected) in [
            ("world:anyone", "world:anyone does not have the form scheme:id:perm"),
            ("world:anyone:r,x", "x does not have the form scheme:id:perm"),
            ("world:anyone:rx", "Unknown perm type: x"),
        ] {
            assert_eq!(parse_acl(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn bytes_are_dumped_as_netty_does() {
        assert_eq!(
            hex_dump(b"hello world, 16+\x00"),
            "         +-------------------------------------------------+\n\
             \u{20}        |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n\
             +--------+-------------------------------------------------+----------------+\n\
             |00000000| 68 65 6c 6c 6f 20 77 6f 72 6c 64 2c 20 31 36 2b |hello world, 16+|\n\
             |00000010| 00                                              |.               |\n\
             +--------+-------------------------------------------------+----------------+"
        );
    }
}
