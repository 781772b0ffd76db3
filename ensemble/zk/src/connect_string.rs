//! `host:port,host:port/chroot` (`ConnectStringParser.java`), and what a path may be (`PathUtils.java`).

use std::fmt;

/// The port where none is given.
const PORT: u16 = 2181;

/// Which servers, and the znode below which everything is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectString {
    /// Hosts, names or addresses, and ports; one at least.
    pub servers: Vec<(String, u16)>,
    /// Empty for none; without a `/` at its end.
    pub chroot: String,
}

impl ConnectString {
    /// Reads the text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<ConnectString, String> {
        let (list, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            check_path(chroot)?;
        }
        let servers = list.split(',').map(str::trim).filter(|server| !server.is_empty()).map(server);
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        match servers.is_empty() {
            true => Err(format!("{text:?} names no server: expected host:port[,host:port]*[/chroot]")),
            false => Ok(ConnectString { servers, chroot: chroot.to_owned() }),
        }
    }

    /// The path as the servers know it.
    ///
    /// # Errors
    /// When it is none.
    pub fn on_server(&self, path: &str) -> Result<String, String> {
        check_path(path)?;
        match (self.chroot.as_str(), path) {
            ("", path) => Ok(path.to_owned()),
            (chroot, "/") => Ok(chroot.to_owned()),
            (chroot, path) => Ok(format!("{chroot}{path}")),
        }
    }

    /// The path as the user knows it. One that is not below the chroot, as of the configuration, stays.
    pub fn from_server<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(&self.chroot) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

impl fmt::Display for ConnectString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (host, port)) in self.servers.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        f.write_str(&self.chroot)
    }
}

fn server(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("{text:?} is no host:port");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, port)| (host, port.strip_prefix(':'))).ok_or_else(bad)?,
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| bad()))?;
    if host.is_empty() { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

/// Checks a path as Java's client does before it asks.
///
/// # Errors
/// Java's words for what is wrong.
pub fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("Path length must be > 0".to_owned());
    }
    if !path.starts_with('/') {
        return Err("Path must start with / character".to_owned());
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err("Path must not end with / character".to_owned());
    }
    let mut start = 1;
    for name in path[1..].split('/') {
        let at = start + name.len();
        let reason = match name {
            "" if path.len() > 1 => Some("empty node name specified"),
            "." | ".." => Some("relative paths not allowed"),
            name if name.contains('\0') => Some("null character not allowed"),
            name if name.chars().any(is_forbidden) => Some("invalid character"),
            _ => None,
        };
        if let Some(reason) = reason {
            return Err(format!("Invalid path string \"{path}\" caused by {reason} @{at}"));
        }
        start = at + 1;
    }
    Ok(())
}

fn is_forbidden(character: char) -> bool {
    matches!(character, '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{f000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = ConnectString::parse(text).map_or_else(|error| error, |parsed| parsed.to_string());
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn servers_have_a_port_and_may_have_a_chroot() {
        check("localhost", "localhost:2181");
        check("a:1,b,10.0.0.1:3/app/x", "a:1,b:2181,10.0.0.1:3/app/x");
        check("[::1]:5,[fe80::1]", "[::1]:5,[fe80::1]:2181");
        check("::1", "[::1]:2181");
        check("a:1/", "a:1");
        check("a:x", "\"a:x\" is no host:port");
        check(":1", "\":1\" is no host:port");
        check("/app", "\"/app\" names no server: expected host:port[,host:port]*[/chroot]");
        check("a:1/app/", "Path must not end with / character");
    }

    #[test]
    fn a_chroot_is_put_before_paths_and_taken_off_again() {
        let with = ConnectString::parse("a/app").unwrap();
        for (own, servers) in [("/", "/app"), ("/x", "/app/x")] {
            assert_eq!((with.on_server(own).unwrap().as_str(), with.from_server(servers)), (servers, own));
        }
        assert_eq!(with.from_server("/apple"), "/apple");
        let without = ConnectString::parse("a").unwrap();
        assert_eq!((without.on_server("/x").unwrap().as_str(), without.from_server("/x")), ("/x", "/x"));
    }

    #[test]
    fn a_path_is_refused_in_javas_words() {
        for (path, expected) in [
            ("", "Path length must be > 0"),
            ("x", "Path must start with / character"),
            ("/x/", "Path must not end with / character"),
            ("/a//b", "Invalid path string \"/a//b\" caused by empty node name specified @3"),
            ("/a/../b", "Invalid path string \"/a/../b\" caused by relative paths not allowed @5"),
            ("/a\u{1}b", "Invalid path string \"/a\u{1}b\" caused by invalid character @4"),
        ] {
            assert_eq!(check_path(path), Err(expected.to_owned()));
        }
        assert_eq!((check_path("/"), check_path("/a.b/..c")), (Ok(()), Ok(())));
    }
}
