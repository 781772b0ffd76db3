//! What a pure crate may not use.
//!
//! The source is parsed, so that comments, strings and code of tests do not count; paths in `use` and in code do, and so do the words inside macros.
//! A path is forbidden when it begins with one of [`FORBIDDEN`], or when it is one of [`FORBIDDEN_CRATES`]. Types that only describe (`Duration`,
//! `IpAddr`) are fine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, UseTree};

/// The crates that decide and never act, by folder.
pub const PURE: &[&str] =
    &["ensemble/proto", "ensemble/datatree", "ensemble/zab", "ensemble/peer", "operator/api", "operator/core"];

/// What a path may not begin with, and why.
pub const FORBIDDEN: &[(&str, &str)] = &[
    ("std::time::Instant", "a clock: time is an argument"),
    ("std::time::SystemTime", "a clock: time is an argument"),
    ("std::time::UNIX_EPOCH", "a clock: time is an argument"),
    ("std::fs", "I/O"),
    ("std::io::stdin", "I/O"),
    ("std::io::stdout", "I/O"),
    ("std::io::stderr", "I/O"),
    ("std::net::TcpListener", "I/O"),
    ("std::net::TcpStream", "I/O"),
    ("std::net::UdpSocket", "I/O"),
    ("std::net::ToSocketAddrs", "I/O: it resolves names"),
    ("std::os", "I/O"),
    ("std::env", "I/O: settings are arguments"),
    ("std::process", "I/O"),
    ("std::thread", "threads"),
    ("std::sync::mpsc", "threads"),
    ("std::sync::Mutex", "threads"),
    ("std::sync::RwLock", "threads"),
    ("std::sync::Condvar", "threads"),
    (
        "std::collections::HashMap",
        "an order that differs from run to run: use BTreeMap, or hashbrown with a given seed",
    ),
    (
        "std::collections::HashSet",
        "an order that differs from run to run: use BTreeSet, or hashbrown with a given seed",
    ),
    ("std::collections::hash_map", "an order that differs from run to run"),
    ("std::hash::RandomState", "entropy"),
    ("uuid::Uuid::new_v4", "entropy"),
    ("uuid::Uuid::now_v7", "a clock and entropy"),
];

/// Crates that exist to act.
pub const FORBIDDEN_CRATES: &[&str] =
    &["async_std", "fastrand", "futures", "getrandom", "hyper", "mio", "rand", "reqwest", "smol", "socket2", "tokio"];

/// Macros that print.
const FORBIDDEN_MACROS: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

/// All violations in the sources of a crate, each as `file:line: what and why`.
///
/// # Errors
/// When a file cannot be read or parsed.
pub fn violations(crate_folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for file in rust_files(&crate_folder.join("src"))? {
        let source = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let broken = violations_in(&source).with_context(|| file.display().to_string())?;
        found.extend(broken.into_iter().map(|(line, what)| format!("{}:{line}: {what}", file.display())));
    }
    Ok(found)
}

/// All violations in one source text, as line and sentence.
///
/// # Errors
/// When the text is not Rust.
pub fn violations_in(source: &str) -> Result<Vec<(usize, String)>> {
    let mut scan = Scan::default();
    let file = syn::parse_file(source)?;
    if !only_for_tests(&file.attrs) {
        scan.visit_file(&file);
    }
    Ok(scan.found)
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files.extend(rust_files(&path)?);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Walks a file and collects what is forbidden; items that exist only in test builds are passed over.
#[derive(Default)]
struct Scan {
    found: Vec<(usize, String)>,
}

impl Scan {
    fn path(&mut self, segments: &[String], span: Span) {
        let path = segments.join("::").replacen("core::", "std::", usize::from(segments[0] == "core"));
        let why = FORBIDDEN
            .iter()
            .find(|(start, _)| path == *start || path.starts_with(&format!("{start}::")))
            .map(|(_, why)| *why)
            .or_else(|| FORBIDDEN_CRATES.contains(&segments[0].as_str()).then_some("a crate that acts"));
        if let Some(why) = why {
            self.found.push((span.start().line, format!("{path}: {why}")));
        }
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.use_tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) if name.ident == "self" => self.path(before, name.ident.span()),
            UseTree::Name(name) => self.path(&with(&name.ident), name.ident.span()),
            UseTree::Rename(rename) => self.path(&with(&rename.ident), rename.ident.span()),
            UseTree::Glob(glob) => self.path(before, glob.star_token.spans[0]),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(item, before)),
        }
    }

    /// The words of a macro call: `a::b::c` in a row is a path.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut last = Span::call_site();
        let mut joined = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if !joined {
                        self.end_of_path(&mut path, last);
                    }
                    path.push(ident.to_string());
                    last = ident.span();
                    joined = false;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => joined = true,
                TokenTree::Group(group) => {
                    self.end_of_path(&mut path, last);
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => self.end_of_path(&mut path, last),
            }
        }
        self.end_of_path(&mut path, last);
    }

    fn end_of_path(&mut self, path: &mut Vec<String>, span: Span) {
        if path.len() > 1 {
            self.path(path, span);
        }
        path.clear();
    }
}

impl<'ast> Visit<'ast> for Scan {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !only_for_tests(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !only_for_tests(&function.attrs) {
            syn::visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [first, ..] = &path.segments.iter().collect::<Vec<_>>()[..] {
            self.path(&segments, first.ident.span());
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        if let Some(token) = &signature.asyncness {
            self.found.push((token.span.start().line, "async fn: a pure crate is synchronous".to_owned()));
        }
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.found.push((block.async_token.span.start().line, "async block: a pure crate is synchronous".to_owned()));
        syn::visit::visit_expr_async(self, block);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(name) = call.path.segments.last().map(|segment| segment.ident.to_string())
            && FORBIDDEN_MACROS.contains(&name.as_str())
        {
            self.found.push((call.bang_token.span.start().line, format!("{name}!: I/O")));
        }
        self.tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }
}

/// Whether `#[test]` or a `#[cfg(...)]` that needs `test` keeps an item out of every other build.
fn only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let words = match &attribute.meta {
            syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string(),
            syn::Meta::Path(path) if path.is_ident("test") => return true,
            _ => return false,
        };
        words == "test"
            || (words.starts_with("all") && words.split(|c: char| !c.is_alphanumeric()).any(|word| word == "test"))
    })
}

fn attributes(item: &syn::Item) -> &[Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
