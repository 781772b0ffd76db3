//! Java's properties syntax (`java.util.Properties.load`), in which `zoo.cfg` and configuration texts are written.
//!
//! `key=value`, `key:value` or `key value`; `#` and `!` begin a comment; a backslash at the end of a line joins it to
//! the next; `\t`, `\n`, `\r`, `\f` and `\uXXXX` are escapes, and any other escaped character is itself.

use std::iter::Peekable;
use std::str::Chars;

/// One `key=value` of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Property {
    /// The line it begins on, from 1.
    pub line: usize,
    /// The line it ends on.
    pub last_line: usize,
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped, without blanks around it (`QuorumPeerConfig` trims).
    pub value: String,
}

/// Every property of a file, in its order. Every text is a properties file: there is no error.
pub fn parse(text: &str) -> Vec<Property> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let mut logical = first.trim_start().to_owned();
        let mut last = index;
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            match lines.next() {
                Some((index, next)) => {
                    last = index;
                    logical.push_str(next.trim_start());
                }
                None => break,
            }
        }
        let (key, value) = split(&logical);
        properties.push(Property { line: index + 1, last_line: last + 1, key, value: value.trim().to_owned() });
    }
    properties
}

/// A value so written that it is read as it is, but for blanks around it: in ASCII, which Java expects of a file, whatever the text.
pub fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for unit in value.encode_utf16() {
        match u8::try_from(unit) {
            Ok(b'\\') => escaped.push_str("\\\\"),
            Ok(byte @ b' '..=b'~') => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

/// Whether the line ends in an odd number of backslashes.
fn is_continued(line: &str) -> bool {
    line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1
}

/// Cuts at the first unescaped separator and removes the escapes.
fn split(line: &str) -> (String, String) {
    let mut chars = line.chars().peekable();
    let mut key = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, &mut key),
            '=' | ':' => break,
            c if c.is_whitespace() => {
                skip_separator(&mut chars);
                break;
            }
            c => key.push(c),
        }
    }
    let mut value = String::new();
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    while let Some(c) = chars.next() {
        match c {
            '\\' => unescape(&mut chars, &mut value),
            c => value.push(c),
        }
    }
    (key, value)
}

/// After a blank that ended the key: more blanks, and at most one `=` or `:`.
fn skip_separator(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    let _ = chars.next_if(|c| matches!(c, '=' | ':'));
}

fn unescape(chars: &mut Peekable<Chars<'_>>, into: &mut String) {
    match chars.next() {
        Some('t') => into.push('\t'),
        Some('n') => into.push('\n'),
        Some('r') => into.push('\r'),
        Some('f') => into.push('\u{c}'),
        Some('u') => {
            let mut units = vec![code_unit(chars)];
            while (0xd800..0xdc00).contains(units.last().unwrap_or(&0)) && followed_by_code_unit(chars) {
                units.push(code_unit(chars));
            }
            into.push_str(&String::from_utf16_lossy(&units));
        }
        Some(other) => into.push(other),
        None => {}
    }
}

/// Four digits; fewer are none of Java's.
fn code_unit(chars: &mut Peekable<Chars<'_>>) -> u16 {
    let digits: String = (0..4).map_while(|_| chars.next_if(char::is_ascii_hexdigit)).collect();
    const REPLACEMENT: u16 = 0xfffd;
    if digits.len() == 4 { u16::from_str_radix(&digits, 16).unwrap_or(REPLACEMENT) } else { REPLACEMENT }
}

/// Takes a `\\u`, if that comes next.
fn followed_by_code_unit(chars: &mut Peekable<Chars<'_>>) -> bool {
    let mut ahead = chars.clone();
    let follows = ahead.next() == Some('\\') && ahead.next() == Some('u');
    if follows {
        *chars = ahead;
    }
    follows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let found = parse(text);
        let found: Vec<_> = found.iter().map(|p| (p.line, p.key.as_str(), p.value.as_str())).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn properties_read_as_java_reads_them() {
        check("a=1", &[(1, "a", "1")]);
        check("# c\n\n! c\n  a = 1  \n", &[(4, "a", "1")]);
        check("a:1\nb 2\nc\t=\t3", &[(1, "a", "1"), (2, "b", "2"), (3, "c", "3")]);
        check("a=1\\\n   2\nb=3", &[(1, "a", "12"), (3, "b", "3")]);
        check("a=1\\\\\nb=2", &[(1, "a", "1\\"), (2, "b", "2")]);
        check("a=x=y:z", &[(1, "a", "x=y:z")]);
        check("a\\=b=c\\u0041\\t.", &[(1, "a=b", "cA\t.")]);
        check("lonely", &[(1, "lonely", "")]);
        check("a=\\", &[(1, "a", "")]);
        check("server.1=h:1:2:participant;0.0.0.0:3", &[(1, "server.1", "h:1:2:participant;0.0.0.0:3")]);
    }

    #[test]
    fn an_escaped_value_is_read_as_it_was() {
        for value in ["/etc/zookeeper/zoo.cfg.dynamic.1f", "C:\\zk\\tü € 😀.cfg"] {
            let text = format!("a={}", escape(value));
            assert!(text.is_ascii(), "{text}");
            assert_eq!(parse(&text)[0].value, value);
        }
    }

    #[test]
    fn a_property_tells_all_its_lines() {
        let found: Vec<_> = parse("# c\na=1\\\n 2\\\n 3\n\nb=4").iter().map(|p| (p.line, p.last_line)).collect();
        assert_eq!(found, [(2, 4), (6, 6)]);
    }
}
