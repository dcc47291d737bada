//! Whether a watcher runs this process: a tool that restarts a program whenever a file is saved. It waits for the end
//! of the old process, as does the developer.

use std::fs;

/// Number of ancestors that are checked: a package manager and a shell may be in between.
const MAX_ANCESTORS: usize = 5;

/// Programs that always watch, by file name.
const WATCHERS: [&str; 4] = ["nodemon", "node-dev", "ts-node-dev", "tsnd"];
/// Runtimes and runners that watch with certain arguments.
const RUNNERS: [&str; 3] = ["node", "bun", "tsx"];

/// Whether a watcher runs this process.
pub fn watches() -> bool {
    let mut parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    for _ in 0..MAX_ANCESTORS {
        let Some(pid) = parent.filter(|pid| *pid > 1) else { return false };
        let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
        if is_watcher(&words(&command)) {
            return true;
        }
        parent = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| parent_of(&stat));
    }
    false
}

/// The arguments in /proc/PID/cmdline (proc_pid_cmdline(5)).
fn words(command: &[u8]) -> Vec<String> {
    let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The fourth field of /proc/PID/stat (proc_pid_stat(5)); the second, in parentheses, may contain any characters.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn file_name(word: &str) -> &str {
    let name = word.rsplit('/').next().unwrap_or(word);
    name.strip_suffix(".js").or(name.strip_suffix(".mjs")).or(name.strip_suffix(".cjs")).unwrap_or(name)
}

/// Only arguments before the program's script count; those after it belong to the program.
fn is_watcher(words: &[String]) -> bool {
    let Some(first) = words.first() else { return false };
    let is_option = |word: &&String| word.starts_with('-');
    let options = || words[1..].iter().take_while(is_option);
    let script = words[1..].iter().find(|word| !is_option(word));
    if [Some(first), script].into_iter().flatten().any(|word| WATCHERS.contains(&file_name(word))) {
        return true;
    }
    let watches = |option: &String| {
        matches!(option.as_str(), "--watch" | "--hot") || option.starts_with("--watch-path")
    };
    if RUNNERS.contains(&file_name(first)) && options().any(watches) {
        return true;
    }
    // `tsx watch server.ts`, whose own first process is `node .../tsx/dist/cli.mjs watch server.ts`.
    let at = words.iter().position(|word| file_name(word) == "tsx" || word.ends_with("/tsx/dist/cli.mjs"));
    at.is_some_and(|at| at < 2 && words.get(at + 1).is_some_and(|word| word == "watch"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_is_known_by_its_command_and_not_by_its_programs_arguments() {
        let cases = [
            ("node --watch server.js", true),
            ("/usr/bin/node --watch-path=src --inspect server.js", true),
            ("node /app/node_modules/.bin/nodemon server.js", true),
            ("node /app/node_modules/nodemon/bin/nodemon.js --exec node server.js", true),
            ("bun --watch server.ts", true),
            ("bun --hot server.ts", true),
            ("node /app/node_modules/.bin/ts-node-dev server.ts", true),
            ("node /app/node_modules/.bin/tsx watch server.ts", true),
            ("node /app/node_modules/tsx/dist/cli.mjs watch server.ts", true),
            ("node server.js", false),
            ("node server.js --watch", false),
            ("node build.js nodemon", false),
            ("node /app/node_modules/.bin/tsx server.ts watch", false),
            ("vitest --watch", false),
            ("-bash", false),
            ("", false),
        ];
        for (command, expected) in cases {
            let words = words(command.replace(' ', "\0").as_bytes());
            assert_eq!(is_watcher(&words), expected, "{command}");
        }
    }

    #[test]
    fn a_parent_is_found_whatever_a_process_calls_itself() {
        assert_eq!(parent_of("42 (node) S 7 42 42 0"), Some(7));
        assert_eq!(parent_of("42 (a) b (c) S 7 42"), Some(7));
        assert_eq!(parent_of("nonsense"), None);
    }
}
