//! Rules about each source file: module docs, sizes, unsafe, unwrap, and what the pure crates may
//! not touch. Read as syntax (syn), so strings and comments are never mistaken for code.

use crate::Finding;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Lines a file may have; one whose first line is `//! table:` holds data and may be longer.
const MAX_FILE_LINES: usize = 800;
/// Lines a function may have.
const MAX_FUNCTION_LINES: usize = 70;
/// Characters a line may have.
const MAX_LINE_CHARS: usize = 100;
const PURE: &[&str] = &["crates/model/", "crates/wire/"];
/// First two segments of paths that pure code may not name.
const BANNED_IN_PURE: &[(&str, &str)] = &[
    ("std", "fs"),
    ("std", "net"),
    ("std", "process"),
    ("std", "thread"),
    ("std", "os"),
    ("std", "io"),
    ("SystemTime", "now"),
    ("Instant", "now"),
];
/// Plain address types are values, not IO.
const ALLOWED_STD_NET: &[&str] =
    &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"];

pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let mut files = Vec::new();
    for top in ["crates", "xtask", "tests"] {
        rust_files(&root.join(top), &mut files)?;
    }
    let mut findings = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        findings.extend(check_file(&name, &text));
    }
    Ok(findings)
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) -> Result<(), String> {
    if !dir.is_dir() {
        return Ok(());
    }
    let entries = std::fs::read_dir(dir).map_err(|e| format!("list {}: {e}", dir.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("list {}: {e}", dir.display()))?.path();
        if path.is_dir() {
            rust_files(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
    Ok(())
}

fn check_file(name: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_table = text.starts_with("//! table:");
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES && !is_table {
        findings.push(Finding::new(name, format!("{lines} lines; at most {MAX_FILE_LINES}")));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let long = line.chars().count() > MAX_LINE_CHARS;
        if long && !is_table && !line.contains("http://") && !line.contains("https://") {
            let place = format!("{name}:{number}");
            findings.push(Finding::new(place, format!("longer than {MAX_LINE_CHARS} characters")));
        }
    }
    if !text.starts_with("//!") && !text.starts_with("#!") {
        findings.push(Finding::new(name, "does not begin with `//!` saying what it is for"));
    }
    match syn::parse_file(text) {
        Ok(file) => {
            let mut rules = Rules { name, text, test_depth: 0, findings: Vec::new() };
            rules.test_depth = usize::from(is_test_file(name));
            rules.visit_file(&file);
            findings.append(&mut rules.findings);
        }
        Err(error) => findings.push(Finding::new(name, format!("does not parse: {error}"))),
    }
    findings
}

fn is_test_file(name: &str) -> bool {
    name.starts_with("tests/") || name.contains("/tests/") || name.ends_with("/tests.rs")
}

struct Rules<'a> {
    name: &'a str,
    text: &'a str,
    test_depth: usize,
    findings: Vec<Finding>,
}

impl Rules<'_> {
    fn report(&mut self, span: proc_macro2::Span, message: impl Into<String>) {
        let place = format!("{}:{}", self.name, span.start().line);
        self.findings.push(Finding::new(place, message));
    }

    fn function(&mut self, block: &syn::Block, ident: &syn::Ident) {
        let lines = block.span().end().line - block.span().start().line + 1;
        if lines > MAX_FUNCTION_LINES && self.test_depth == 0 {
            let message = format!("fn {ident} has {lines} lines; at most {MAX_FUNCTION_LINES}");
            self.report(ident.span(), message);
        }
    }

    fn unsafe_code(&mut self, span: proc_macro2::Span) {
        if !self.name.starts_with("crates/sys/") {
            self.report(span, "unsafe outside crates/sys");
            return;
        }
        let line = span.start().line;
        let before: Vec<&str> = self.text.lines().take(line).collect();
        let near = before.iter().rev().take(8);
        if !near.into_iter().any(|l| l.contains("SAFETY:") || l.contains("# Safety")) {
            self.report(span, "unsafe without a SAFETY comment");
        }
    }

    fn path_segments(&mut self, segments: &[String], span: proc_macro2::Span) {
        if !PURE.iter().any(|pure| self.name.starts_with(pure)) || self.test_depth > 0 {
            return;
        }
        for pair in segments.windows(2) {
            let banned = BANNED_IN_PURE.iter().any(|(a, b)| pair[0] == *a && pair[1] == *b);
            let value = pair[1] == "net"
                && segments.last().is_some_and(|l| ALLOWED_STD_NET.contains(&l.as_str()));
            if banned && !value {
                self.report(span, format!("{}::{} in a pure crate", pair[0], pair[1]));
            }
        }
    }

    fn use_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.use_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.use_tree(item, prefix));
            }
            syn::UseTree::Name(name) => self.used(prefix, &name.ident),
            syn::UseTree::Rename(rename) => self.used(prefix, &rename.ident),
            syn::UseTree::Glob(_) => self.path_segments(&prefix.clone(), tree.span()),
        }
    }

    fn used(&mut self, prefix: &[String], ident: &syn::Ident) {
        let mut whole = prefix.to_vec();
        whole.push(ident.to_string());
        self.path_segments(&whole, ident.span());
    }
}

impl<'ast> Visit<'ast> for Rules<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let test = is_test(&item.attrs);
        self.test_depth += usize::from(test);
        self.function(&item.block, &item.sig.ident);
        if let syn::Safety::Unsafe(token) = item.sig.safety {
            self.unsafe_code(token.span);
        }
        visit::visit_item_fn(self, item);
        self.test_depth -= usize::from(test);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.block, &item.sig.ident);
        if let syn::Safety::Unsafe(token) = item.sig.safety {
            self.unsafe_code(token.span);
        }
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let test = is_test(&item.attrs);
        self.test_depth += usize::from(test);
        visit::visit_item_mod(self, item);
        self.test_depth -= usize::from(test);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_code(block.unsafe_token.span);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let Some(token) = item.unsafety {
            self.unsafe_code(token.span);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "unwrap" && call.args.is_empty() && self.test_depth == 0 {
            self.report(call.method.span(), "unwrap outside tests");
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.path_segments(&segments, path.span());
        visit::visit_path(self, path);
    }
}

/// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`.
fn is_test(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            list.tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|w| w == "test")
        }
        meta => meta.path().segments.last().is_some_and(|s| s.ident == "test"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(name: &str, body: &str) -> Vec<String> {
        let text = format!("//! A module.\n{body}");
        check_file(name, &text).into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn each_rule_finds_what_it_is_for() {
        for (name, body, want) in [
            ("crates/net/src/a.rs", "fn f() { unsafe { g() } }", "unsafe outside crates/sys"),
            ("crates/sys/src/a.rs", "fn f() { unsafe { g() } }", "unsafe without a SAFETY comment"),
            ("crates/net/src/a.rs", "fn f() { x.unwrap(); }", "unwrap outside tests"),
            ("crates/model/src/a.rs", "use std::fs::File;", "std::fs in a pure crate"),
            ("crates/model/src/a.rs", "use std::{io::Read, fmt};", "std::io in a pure crate"),
            (
                "crates/wire/src/a.rs",
                "fn f() { SystemTime::now(); }",
                "SystemTime::now in a pure crate",
            ),
            ("crates/net/src/a.rs", "fn f(", "does not parse"),
        ] {
            let found = messages(name, body);
            assert!(found.iter().any(|m| m.contains(want)), "{body}: {found:?}");
        }
    }

    #[test]
    fn what_is_right_passes() {
        for (name, body) in [
            (
                "crates/sys/src/a.rs",
                "fn f() {\n// SAFETY: no argument can be wrong.\nunsafe { g() } }",
            ),
            ("crates/net/src/a.rs", "#[cfg(test)] mod t { fn f() { x.unwrap(); } }"),
            ("crates/net/src/a.rs", "#[test] fn f() { x.unwrap(); }"),
            ("crates/model/src/a.rs", "use std::net::{IpAddr, Ipv4Addr}; use std::collections::X;"),
            ("crates/net/src/a.rs", "fn f() -> &'static str { \"unsafe { }.unwrap()\" }"),
        ] {
            assert_eq!(messages(name, body), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn long_things_are_found() {
        let long_fn = format!("fn f() {{\n{}}}", "    g();\n".repeat(80));
        assert!(messages("crates/net/src/a.rs", &long_fn)[0].contains("fn f has 82 lines"));
        let long_file = "fn g() {}\n".repeat(900);
        assert!(messages("crates/net/src/a.rs", &long_file)[0].contains("at most 800"));
        let long_line = format!("// {}", "x".repeat(100));
        assert!(messages("crates/net/src/a.rs", &long_line)[0].contains("100 characters"));
        assert!(check_file("crates/net/src/a.rs", "fn f() {}")[0].message.contains("//!"));
    }
}
