//! The port of a worker's inspector: that of its primary plus slot + 1, in arguments and NODE_OPTIONS. PURE.

use std::ops::Range;

/// Node's default port.
const DEFAULT_PORT: u16 = 9229;
/// Beyond the last port Node continues with the first unprivileged one.
const MIN_PORT: u32 = 1024;
const MAX_PORT: u32 = 65_535;

/// Whether a process with these arguments and this NODE_OPTIONS opens an inspector.
pub fn is_opened(exec_argv: &[String], node_options: &str) -> bool {
    let variable = words(node_options);
    let texts = exec_argv.iter().map(String::as_str).chain(variable.iter().map(|word| word.text.as_str()));
    // `--inspect-port` only sets the port, if an inspector is opened.
    texts.filter_map(split).any(|(option, _)| option != Named::Port)
}

/// The arguments and NODE_OPTIONS of the worker in `slot`. Everything that is not an inspector option is unchanged,
/// byte for byte.
pub fn moved(exec_argv: &[String], node_options: &str, slot: u16) -> (Vec<String>, String) {
    let variable = words(node_options);
    let in_variable: Vec<&str> = variable.iter().map(|word| word.text.as_str()).collect();
    let in_arguments: Vec<&str> = exec_argv.iter().map(String::as_str).collect();
    // An option without a port uses the port of another option.
    let is_named = names_port(&in_variable) || names_port(&in_arguments);
    let arguments = shift(&in_arguments, slot, is_named)
        .into_iter()
        .zip(exec_argv)
        .map(|(changed, given)| changed.unwrap_or_else(|| given.clone()))
        .collect();
    let mut options = String::with_capacity(node_options.len() + 8);
    let mut end = 0;
    for (word, changed) in variable.iter().zip(shift(&in_variable, slot, is_named)) {
        let Some(changed) = changed else { continue };
        options.push_str(&node_options[end..word.span.start]);
        options.push_str(&changed);
        end = word.span.end;
    }
    options.push_str(&node_options[end..]);
    (arguments, options)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Opens,
    Port,
}

/// An inspector option with its value. Node accepts `_` for `-` in names.
fn split(option: &str) -> Option<(Named, Option<&str>)> {
    let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    let named = match name.replace('_', "-").as_str() {
        "--inspect" | "--inspect-brk" | "--inspect-wait" | "--inspect-brk-node" => Named::Opens,
        "--inspect-port" | "--debug-port" => Named::Port,
        _ => return None,
    };
    Some((named, value))
}

fn names_port(options: &[&str]) -> bool {
    options.iter().any(|option| matches!(split(option), Some((Named::Port, _) | (_, Some(_)))))
}

/// The replacement of each option; None: unchanged.
fn shift(options: &[&str], slot: u16, is_named: bool) -> Vec<Option<String>> {
    let mut is_value = false;
    let mut shifted = Vec::with_capacity(options.len());
    for option in options {
        if std::mem::take(&mut is_value) {
            shifted.push(address(option, slot));
            continue;
        }
        let name = option.split('=').next().unwrap_or(option);
        shifted.push(match split(option) {
            Some((_, Some(value))) => address(value, slot).map(|value| format!("{name}={value}")),
            Some((Named::Opens, None)) if !is_named => Some(format!("{name}={}", port(DEFAULT_PORT, slot))),
            Some((Named::Port, None)) => {
                is_value = true;
                None
            }
            Some((Named::Opens, None)) | None => None,
        });
    }
    shifted
}

/// `port`, `host` or `host:port`; an IPv6 host is in brackets. None: invalid, which Node reports itself.
fn address(given: &str, slot: u16) -> Option<String> {
    let end_of_host = given.rfind(']').map_or(0, |end| end + 1);
    let (host, number) = match given[end_of_host..].rfind(':') {
        Some(colon) => given.split_at(end_of_host + colon),
        None if end_of_host == 0 && given.parse::<u16>().is_ok() => ("", given),
        None => (given, ""),
    };
    let number = number.trim_start_matches(':');
    let number = if number.is_empty() { DEFAULT_PORT } else { number.parse().ok()? };
    let separator = if host.is_empty() { "" } else { ":" };
    Some(format!("{host}{separator}{}", port(number, slot)))
}

/// Port 0 (any free port) is unchanged.
fn port(given: u16, slot: u16) -> u32 {
    let moved = u32::from(given) + u32::from(slot) + 1;
    match given {
        0 => 0,
        _ if moved > MAX_PORT => moved - MAX_PORT + MIN_PORT - 1,
        _ => moved,
    }
}

/// A word of NODE_OPTIONS without its quotes, and its position.
pub(super) struct Word {
    pub text: String,
    span: Range<usize>,
}

/// Like Node's parser of the variable: words are separated by spaces, `"` quotes, and within quotes `\` escapes the
/// next character.
pub(super) fn words(options: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut is_new = true;
    let mut is_quoted = false;
    let mut characters = options.char_indices();
    while let Some((start, mut character)) = characters.next() {
        let mut end = start + character.len_utf8();
        if character == ' ' && !is_quoted {
            is_new = true;
            continue;
        }
        let is_quote = character == '"';
        if is_quote {
            is_quoted = !is_quoted;
        }
        if character == '\\' && is_quoted {
            let Some((at, escaped)) = characters.next() else { break };
            character = escaped;
            end = at + escaped.len_utf8();
        }
        if std::mem::take(&mut is_new) {
            words.push(Word { text: String::new(), span: start..end });
        }
        if let Some(word) = words.last_mut() {
            word.span.end = end;
            if !is_quote {
                word.text.push(character);
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn an_inspector_is_known_wherever_it_was_asked_for() {
        assert!(is_opened(&texts(&["--inspect"]), "") && is_opened(&texts(&["--inspect-brk=0"]), ""));
        assert!(is_opened(&[], "--enable-source-maps --inspect-wait=127.0.0.1:9300"));
        assert!(is_opened(&[], r#""--inspect" "#) && is_opened(&texts(&["--inspect_brk"]), ""));
        assert!(!is_opened(
            &texts(&["--inspect-port=9300"]),
            "--enable-source-maps --inspect-publish-uid=http"
        ));
    }

    #[test]
    fn each_worker_has_a_port_of_its_own() {
        for (given, expected) in [
            (&["--inspect"][..], &["--inspect=9232"][..]),
            (&["--inspect=0"], &["--inspect=0"]),
            (&["--inspect=127.0.0.1:0"], &["--inspect=127.0.0.1:0"]),
            (&["--inspect=127.0.0.1:9300"], &["--inspect=127.0.0.1:9303"]),
            (&["--inspect-brk=9400"], &["--inspect-brk=9403"]),
            (&["--inspect=localhost"], &["--inspect=localhost:9232"]),
            (&["--inspect=[::1]"], &["--inspect=[::1]:9232"]),
            (&["--inspect=[::1]:9300"], &["--inspect=[::1]:9303"]),
            (&["--inspect_port=9300"], &["--inspect_port=9303"]),
            (&["--inspect=host:http"], &["--inspect=host:http"]),
            (&["--inspect=65535"], &["--inspect=1026"]),
            (&["--inspect-port", "9300", "--inspect"], &["--inspect-port", "9303", "--inspect"]),
            (&["--inspect", "--debug-port=9300"], &["--inspect", "--debug-port=9303"]),
            (&["--inspect-publish-uid=http", "--import=x"], &["--inspect-publish-uid=http", "--import=x"]),
        ] {
            assert_eq!(moved(&texts(given), "", 2).0, expected, "{given:?}");
        }
    }

    #[test]
    fn the_variable_keeps_everything_else_byte_for_byte() {
        for (given, expected) in [
            ("", ""),
            ("--inspect", "--inspect=9230"),
            ("  --inspect=127.0.0.1:9300  --no-warnings ", "  --inspect=127.0.0.1:9301  --no-warnings "),
            (r#"--require "./a \"b\" \\ c.js" --inspect"#, r#"--require "./a \"b\" \\ c.js" --inspect=9230"#),
            (r#"--title="a --inspect b" "--inspect=9300""#, r#"--title="a --inspect b" --inspect=9301"#),
            ("--inspect-port 9300 --inspect", "--inspect-port 9301 --inspect"),
            (r#"--title=é --inspect"#, r#"--title=é --inspect=9230"#),
            (r#"--inspect "unclosed"#, r#"--inspect=9230 "unclosed"#),
            (r#"--inspect "unclosed \"#, r#"--inspect=9230 "unclosed \"#),
        ] {
            assert_eq!(moved(&[], given, 0).1, expected, "{given:?}");
        }
    }

    #[test]
    fn a_port_in_the_variable_holds_for_an_option_in_the_arguments_too() {
        let (arguments, options) = moved(&texts(&["--inspect"]), "--inspect-port=9300", 0);
        assert_eq!((arguments, options.as_str()), (texts(&["--inspect"]), "--inspect-port=9301"));
        let (arguments, options) = moved(&texts(&["--inspect=9400"]), "--inspect", 1);
        assert_eq!((arguments, options.as_str()), (texts(&["--inspect=9402"]), "--inspect"));
    }
}
