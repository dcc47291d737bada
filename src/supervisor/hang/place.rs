//! The place of a stack: its first frame in the user's code.

use std::borrow::Cow;

/// `routes/report.js:42`, from a stack as V8 writes it: the innermost frame that is neither the runtime's nor in `own`,
/// the folder of drover's JavaScript. Relative to `folder` if it is inside it.
pub fn place(stack: &str, folder: &str, own: &str) -> Option<String> {
    stack.lines().filter_map(location).find_map(|(file, line)| {
        let is_users = !file.starts_with("node:") && !is_within(&file, own);
        let shown =
            if is_within(&file, folder) { file[folder.len()..].trim_start_matches('/') } else { &*file };
        is_users.then(|| format!("{shown}:{line}"))
    })
}

fn is_within(file: &str, folder: &str) -> bool {
    let folder = folder.trim_end_matches('/');
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// File and line of one frame: `at f (file:line:column)`, `at file:line:column`, `at eval (eval at f
/// (file:line:column), <anonymous>:1:1)`. None for code that is in no file.
fn location(frame: &str) -> Option<(Cow<'_, str>, u32)> {
    let frame = frame.trim().strip_prefix("at ")?;
    let place = match frame.strip_suffix(')').and_then(|frame| frame.rsplit_once(" (")) {
        Some((_, place)) => place,
        None => frame.strip_prefix("async ").unwrap_or(frame),
    };
    // Code generated at run time has the place where it was generated.
    let place = place.split_once("), <anonymous>").map_or(place, |(maker, _)| maker);
    let (rest, column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    column.parse::<u32>().ok()?;
    let file = file.strip_prefix("file://").map_or(Cow::Borrowed(file), |path| Cow::Owned(decoded(path)));
    (!file.starts_with('<')).then_some((file, line.parse().ok()?))
}

/// The path of a URL without its percent-encoding (RFC 3986, section 2.1).
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_names_file_and_line() {
        for (frame, expected) in [
            ("    at report (/app/routes/report.js:42:7)", Some(("/app/routes/report.js", 42))),
            ("    at /app/server.js:3:1", Some(("/app/server.js", 3))),
            ("    at async /app/server.mjs:3:1", Some(("/app/server.mjs", 3))),
            ("    at async file:///app/server.mjs:3:1", Some(("/app/server.mjs", 3))),
            ("    at file:///app/with%20space%/%C3%A9.mjs:3:1", Some(("/app/with space%/é.mjs", 3))),
            ("    at new Report (file:///app/a.mjs:9:5)", Some(("/app/a.mjs", 9))),
            ("    at page (/app/(shop)/page.js:1:2)", Some(("/app/(shop)/page.js", 1))),
            ("    at Object.get [as size] (/app/with space.js:1:2)", Some(("/app/with space.js", 1))),
            ("    at eval (eval at run (/app/a.js:3:5), <anonymous>:1:1)", Some(("/app/a.js", 3))),
            ("    at RegExp.test (<anonymous>)", None),
            ("    at async Promise.all (index 0)", None),
            ("    at Array.sort (native)", None),
            ("    at wasm://wasm/a1b2:wasm-function[1]:0x1a", None),
            ("Error: at last", None),
            ("", None),
        ] {
            let found = location(frame);
            let found = found.as_ref().map(|(file, line)| (&**file, *line));
            assert_eq!(found, expected, "{frame}");
        }
    }

    #[test]
    fn the_first_frame_of_the_users_is_the_place() {
        let stack = "    at RegExp.test (<anonymous>)\n\
                     \x20   at node:internal/fs/utils:12:3\n\
                     \x20   at wrapped (/app/node_modules/drover/lib/door.js:5:5)\n\
                     \x20   at report (/app/routes/report.js:42:7)\n\
                     \x20   at outer (/app/server.js:1:1)\n";
        let own = "/app/node_modules/drover/lib";
        assert_eq!(place(stack, "/app", own).as_deref(), Some("routes/report.js:42"));
        assert_eq!(place(stack, "/app/", own).as_deref(), Some("routes/report.js:42"));
        assert_eq!(place(stack, "/ap", own).as_deref(), Some("/app/routes/report.js:42"));
        assert_eq!(place("    at node:net:1:1\n", "/app", own), None);
        assert_eq!(place("", "/app", own), None);
    }

    #[test]
    fn nothing_that_a_worker_sends_breaks_it() {
        for stack in [
            "at (",
            "at )",
            "at :",
            "at ::",
            "at a:1",
            "at  (:1:1)",
            "at é:1:1)",
            "\n\n",
            "at file://:1:1",
            "at file://%:1:1",
        ] {
            place(stack, "/é", "");
        }
    }
}
