//! Text for a terminal: columns, lines that are not too long, ages as kubectl prints them.

use k8s_openapi::jiff::Timestamp;

/// The longest line of prose, in characters. Tables may be wider.
const WIDTH: usize = 110;

/// Columns, each as wide as its widest cell, two spaces apart. No line ends with a space.
pub fn table(rows: &[Vec<String>], indent: &str) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(format!("{indent}{}", cells.join("  ")).trim_end());
        text.push('\n');
    }
    text
}

/// Prose, broken between words; every line after the first begins with `indent`, and so does the first.
pub fn wrap(prose: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut line = indent.to_owned();
    let mut empty = true;
    for word in prose.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = indent.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(&line);
    text.push('\n');
    text
}

/// How long ago something was: `45s`, `12m`, `3h`, `12d`. What lies ahead, by a clock that is wrong, is `0s`.
pub fn age(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_in_the_unit_that_says_most() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().expect("a timestamp");
        let check = |seconds: i64, want: &str| {
            let then = Timestamp::from_second(now.as_second() - seconds).expect("a timestamp");
            assert_eq!(age(now, then), want);
        };
        check(-5, "0s");
        check(119, "119s");
        check(120, "2m");
        check(7199, "119m");
        check(7200, "2h");
        check(172_800, "2d");
    }

    #[test]
    fn prose_is_broken_between_words_only() {
        let long = "word ".repeat(40);
        let text = wrap(&long, "  ");
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().all(|line| line.starts_with("  word") && line.chars().count() <= WIDTH), "{text}");
        let unbreakable = "x".repeat(WIDTH * 2);
        assert_eq!(wrap(&unbreakable, ""), format!("{unbreakable}\n"));
    }

    #[test]
    fn columns_align() {
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&rows, "  "), "  A     B\n  long\n");
    }
}
