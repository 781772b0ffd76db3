//! Paths: what is a valid one, and where it divides.

/// The root's path, as clients write it. Snapshots and digests write it as the empty string.
pub(crate) const ROOT: &str = "/";

/// Divides a path at its last slash into the parent's path and the name: `/a/b` into `/a` and `b`, `/a` into `/` and `a`.
/// `None` when there is no slash.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((if parent.is_empty() { ROOT } else { parent }, name))
}

/// Whether a znode may have this path (`PathUtils.validatePath`): absolute, no empty component, none that is `.` or `..`,
/// no slash at the end, no control, surrogate, private-use or special character, none above U+FFFF.
pub(crate) fn is_valid(path: &str) -> bool {
    match path.strip_prefix('/') {
        None => false,
        Some("") => true,
        Some(rest) => rest.split('/').all(is_valid_name),
    }
}

fn is_valid_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.chars().all(is_valid_char)
}

fn is_valid_char(char: char) -> bool {
    !matches!(u32::from(char), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

/// The znodes of every tree; none of them can be deleted.
pub(crate) fn is_system(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | CONFIG)
}

/// Where the ensemble's configuration can be read.
pub const CONFIG: &str = "/zookeeper/config";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_divides_at_its_last_slash() {
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/"), Some(("/a", "")));
        assert_eq!(split("a/b"), Some(("a", "b")));
        assert_eq!(split("a"), None);
    }

    #[test]
    fn valid_paths() {
        for path in
            ["/", "/a", "/a/b", "/.foo", "/..f", "/f..", "/a b", "/é中", "/\u{ffef}", "/\u{f900}", "/~", "/\u{a0}"]
        {
            assert!(is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn invalid_paths() {
        for path in [
            "", "a", "a/b", "/a/", "//", "//a", "/a//b", "/.", "/..", "/./a", "/../a", "/a/.", "/a/..", "/a/./b",
            "/a/../b",
        ] {
            assert!(!is_valid(path), "{path:?}");
        }
        for char in ['\0', '\u{1}', '\u{1f}', '\u{7f}', '\u{9f}', '\u{e000}', '\u{f8ff}', '\u{fff0}', '\u{ffff}', '😀']
        {
            assert!(!is_valid(&format!("/a{char}b")), "{char:?}");
        }
    }
}
