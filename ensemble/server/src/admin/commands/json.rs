//! JSON as Jackson's pretty printer writes it, in the order in which it was put together: what scripts that cut lines out of it expect.

use std::fmt;

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// Digits, as they are written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of these.
    pub(super) fn object<const N: usize>(entries: [(&str, Json); N]) -> Json {
        Json::Object(entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// A list of these.
    pub(super) fn list<T: Into<Json>>(values: impl IntoIterator<Item = T>) -> Json {
        Json::List(values.into_iter().map(Into::into).collect())
    }
}

macro_rules! number {
    ($($type:ty)*) => {
        $(impl From<$type> for Json {
            fn from(number: $type) -> Json {
                Json::Number(number.to_string())
            }
        })*
    };
}

number!(u8 u16 u32 u64 u128 usize i32 i64);

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, f, 0)
    }
}

/// Entries of an object stand on lines of their own, those of a list on one line.
fn write(value: &Json, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
    match value {
        Json::Null => f.write_str("null"),
        Json::Bool(value) => write!(f, "{value}"),
        Json::Number(digits) => f.write_str(digits),
        Json::Text(text) => quoted(text, f),
        Json::List(values) if values.is_empty() => f.write_str("[ ]"),
        Json::List(values) => {
            for (index, value) in values.iter().enumerate() {
                f.write_str(if index == 0 { "[ " } else { ", " })?;
                write(value, f, depth)?;
            }
            f.write_str(" ]")
        }
        Json::Object(entries) if entries.is_empty() => f.write_str("{ }"),
        Json::Object(entries) => {
            for (index, (name, value)) in entries.iter().enumerate() {
                f.write_str(if index == 0 { "{\n" } else { ",\n" })?;
                indent(f, depth + 1)?;
                quoted(name, f)?;
                f.write_str(" : ")?;
                write(value, f, depth + 1)?;
            }
            f.write_str("\n")?;
            indent(f, depth)?;
            f.write_str("}")
        }
    }
}

fn indent(f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_str("  "))
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            c if c < ' ' => write!(f, "\\u{:04X}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_as_jackson_writes_it() {
        let value = Json::object([
            ("empty", Json::Object(Vec::new())),
            ("none", Json::list([0_u64; 0])),
            ("numbers", Json::list([1_i64, -2])),
            ("objects", Json::List(vec![Json::object([("a", true.into())]), Json::object([("b", None::<u8>.into())])])),
            ("text", "a\"b\\c\n\u{1}é/".into()),
            ("inner", Json::object([("x", Json::object([("y", Json::Number("0.5857".into()))]))])),
        ]);
        let expected = r#"{
  "empty" : { },
  "none" : [ ],
  "numbers" : [ 1, -2 ],
  "objects" : [ {
    "a" : true
  }, {
    "b" : null
  } ],
  "text" : "a\"b\\c\n\u0001é/",
  "inner" : {
    "x" : {
      "y" : 0.5857
    }
  }
}"#;
        assert_eq!(value.to_string(), expected);
        assert!(serde_json::from_str::<serde_json::Value>(&value.to_string()).is_ok());
    }
}
