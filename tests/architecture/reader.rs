//! Reads Rust source as far as the architecture tests need: the paths that a file names, with their lines. It is a
//! tokenizer, no parser: it skips comments, strings and character literals and returns words and punctuation.

/// A path that the source names, `use` trees expanded: `["crate", "sys", "fds"]`. `line` counts from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    pub segments: Vec<String>,
    pub line: usize,
}

impl NamedPath {
    pub fn text(&self) -> String {
        self.segments.join("::")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// The words and punctuation of `source`; `::` is one token; comments and literals are skipped.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = token_end(&chars, at);
        let text: String = chars[at..end].iter().collect();
        let is_literal =
            text.ends_with('"') || text.ends_with('#') && text.len() > 1 || text.starts_with('\'');
        if !text.starts_with("//") && !text.starts_with("/*") && !is_literal && !chars[at].is_whitespace() {
            tokens.push(Token { text: text.clone(), line });
        }
        line += text.matches('\n').count();
        at = end;
    }
    tokens
}

/// The end index of the token, comment or literal that starts at `at`.
fn token_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, "\n").unwrap_or(chars.len()),
        '/' if next == Some('*') => find(chars, at + 2, "*/").map_or(chars.len(), |end| end + 2),
        ':' if next == Some(':') => at + 2,
        '"' => string_end(chars, at),
        '\'' => character_end(chars, at),
        word if word.is_alphanumeric() || word == '_' => word_end(chars, at),
        _ => at + 1,
    }
}

/// The end index of a word, or of the string literal that its prefix (`r#`, `b`, `c`) begins.
fn word_end(chars: &[char], at: usize) -> usize {
    let end =
        (at..chars.len()).find(|&i| !(chars[i].is_alphanumeric() || chars[i] == '_')).unwrap_or(chars.len());
    let word: String = chars[at..end].iter().collect();
    let hashes = (end..chars.len()).take_while(|&i| chars[i] == '#').count();
    let opens_string = chars.get(end + hashes) == Some(&'"');
    match word.as_str() {
        "r" | "br" | "cr" if opens_string => {
            let close = format!("\"{}", "#".repeat(hashes));
            find(chars, end + hashes + 1, &close).map_or(chars.len(), |i| i + close.len())
        }
        "b" | "c" if opens_string && hashes == 0 => string_end(chars, end),
        _ => end,
    }
}

fn string_end(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end index of a character literal, or of the quote of a lifetime.
fn character_end(chars: &[char], quote: usize) -> usize {
    match (chars.get(quote + 1), chars.get(quote + 2)) {
        (Some('\\'), _) => find(chars, quote + 3, "'").map_or(chars.len(), |end| end + 1),
        (Some(_), Some('\'')) => quote + 3,
        _ => quote + 1,
    }
}

fn find(chars: &[char], from: usize, pattern: &str) -> Option<usize> {
    let pattern: Vec<char> = pattern.chars().collect();
    (from..chars.len()).find(|&i| chars[i..].starts_with(&pattern))
}

/// Every path of two segments or more, and every path of a `use`.
pub fn paths(source: &str) -> Vec<NamedPath> {
    let tokens = tokens(source);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = use_tree(&tokens, at + 1, &[], &mut paths);
        } else if is_word(&tokens[at].text) && text(&tokens, at + 1) == "::" {
            at = inline_path(&tokens, at, &mut paths);
        } else {
            at += 1;
        }
    }
    paths
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn inline_path(tokens: &[Token], start: usize, paths: &mut Vec<NamedPath>) -> usize {
    let mut segments = vec![tokens[start].text.clone()];
    let mut at = start + 1;
    while text(tokens, at) == "::" && is_word(text(tokens, at + 1)) {
        segments.push(tokens[at + 1].text.clone());
        at += 2;
    }
    paths.push(NamedPath { segments, line: tokens[start].line });
    at
}

/// Reads one tree of a `use` after `prefix`; returns the index of the `,`, `}` or `;` that ends it.
fn use_tree(tokens: &[Token], start: usize, prefix: &[String], paths: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    while !matches!(text(tokens, at), "," | "}" | ";" | "") {
        match text(tokens, at) {
            "{" => {
                at += 1;
                while !matches!(text(tokens, at), "}" | "") {
                    at = use_tree(tokens, at, &segments, paths);
                    at += usize::from(text(tokens, at) == ",");
                }
                return at + 1;
            }
            "as" => at += 1,
            "::" => {}
            segment => segments.push(segment.to_owned()),
        }
        at += 1;
    }
    if segments.len() > prefix.len() {
        let line = tokens[start].line;
        paths.push(NamedPath { segments, line });
    }
    at
}

mod tests {
    use super::paths;

    #[track_caller]
    fn names(source: &str, expected: &[&str]) {
        let found: Vec<String> =
            paths(source).iter().map(|path| format!("{}:{}", path.line, path.text())).collect();
        assert_eq!(found, expected, "in {source:?}");
    }

    #[test]
    fn a_grouped_use_names_each_of_its_paths() {
        names(
            "use crate::{sys::{fds, uv::Poll as P},\n error::*};",
            &["1:crate::sys::fds", "1:crate::sys::uv::Poll", "2:crate::error::*"],
        );
    }

    #[test]
    fn a_path_in_the_midst_of_code_is_seen_where_it_stands() {
        names(
            "fn f() {\n let x = crate::sys::fds::dup::<u8>(a::b);\n}",
            &["2:crate::sys::fds::dup", "2:a::b"],
        );
    }

    #[test]
    fn comments_strings_and_characters_name_nothing() {
        names(
            "// a::b\n/* c::d\n */ let s = \"e::f \\\" g::h\"; let r = r#\"i::j \" k\"#; let c = ['\"', '\\'', 'x']; l::m",
            &["3:l::m"],
        );
    }

    #[test]
    fn a_lifetime_opens_no_literal() {
        names("fn f<'a>(x: &'a str) -> b::C<'a>", &["1:b::C"]);
    }
}
