//! The script of `exec`: resolved as in Node.js, before the first worker is started. A file that cannot run as a worker
//! is refused here with advice, instead of failing in every start. The file system is an argument, so that tests need
//! no files.

use std::path::{Path, PathBuf};

use super::inspector::words;
use crate::error::{Code, Error, Result};

/// The extensions that Node.js tries, in order.
const EXTENSIONS: [&str; 3] = ["js", "json", "node"];
/// TypeScript extensions that Node.js runs by type stripping.
const STRIPPED: [&str; 3] = ["ts", "mts", "cts"];
/// Extensions that need more than that.
const TRANSFORMED: [&str; 2] = ["tsx", "jsx"];

/// What is at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// With its first bytes.
    File(Vec<u8>),
    Folder,
    Nothing,
    /// Unknown: in a package manager's archive, or in a folder that this user may not read.
    Unknown,
}

/// What runs the script.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Program {
    /// Of this major and minor version.
    Node(u32, u32),
    Bun,
    /// An interpreter of the program's choice.
    #[default]
    Other,
}

/// The runtime that runs the script.
#[derive(Clone, Debug, Default)]
pub struct Runtime<'a> {
    pub program: Program,
    pub arguments: &'a [String],
    pub node_options: &'a str,
    /// The script's own arguments.
    pub script_arguments: &'a [String],
    /// A worker is ready without a server: then running child processes may be its purpose.
    pub is_ready_at_boot: bool,
}

/// The script and option with which a worker is started.
#[derive(Debug, PartialEq)]
pub struct Script {
    pub path: String,
    /// The option that Node.js needs to run it.
    pub option: Option<&'static str>,
}

/// # Errors
/// `NO_SCRIPT`: there is nothing that a worker could run.
pub fn find(
    exec: &str,
    folder: &str,
    runtime: &Runtime<'_>,
    look: impl Fn(&str) -> Found,
    package: impl Fn(&str) -> Option<String>,
) -> Result<Script> {
    let path = match exec.strip_prefix("file:") {
        Some(url) => from_url(url).ok_or_else(|| refusal(exec, "exec is no file URL of this machine"))?,
        None => exec.to_owned(),
    };
    // Removes `.` components; `..` depends on links and is kept.
    let whole: PathBuf = Path::new(folder).join(&path).components().collect();
    let whole = whole.to_string_lossy().into_owned();
    let Some((file, begins)) = resolve(&whole, &look) else {
        let hint = missing(&path, folder, &whole, runtime, &look);
        return hint.map_or_else(|| Ok(Script { path, option: None }), |hint| Err(refusal(&whole, &hint)));
    };
    if is_foreign(&begins) {
        let hint =
            format!("exec names {file}, which is no JavaScript: name the program of Node.js that it starts");
        return Err(refusal(&file, &hint));
    }
    if let Some(advice) = runner(&file, runtime, package) {
        return Err(refusal(&file, &format!("exec names {file}, {advice}")));
    }
    let option = typescript(&file, runtime)?;
    Ok(Script { path, option })
}

fn refusal(path: &str, text: &str) -> Error {
    Error::new(Code::NoScript, text).and("option", "exec".into()).and("path", path.into())
}

/// The file that Node.js would run; None: there is none, or it is unknown.
fn resolve(whole: &str, look: &impl Fn(&str) -> Found) -> Option<(String, Vec<u8>)> {
    let file = |path: String| match look(&path) {
        Found::File(begins) => Some((path, begins)),
        Found::Folder | Found::Nothing | Found::Unknown => None,
    };
    let extended = |stem: &str| EXTENSIONS.iter().find_map(|extension| file(format!("{stem}.{extension}")));
    file(whole.to_owned()).or_else(|| extended(whole)).or_else(|| {
        let folder = whole.trim_end_matches('/');
        let index = || extended(&format!("{folder}/index"));
        // An invalid `main` is reported by Node.js itself.
        let package = || file(format!("{folder}/package.json")).map(|(path, _)| (path, Vec::new()));
        (look(folder) == Found::Folder).then(|| package().or_else(index)).flatten()
    })
}

/// Why there is nothing to run; None: a hook may find it.
fn missing(
    path: &str,
    folder: &str,
    whole: &str,
    runtime: &Runtime<'_>,
    look: &impl Fn(&str) -> Found,
) -> Option<String> {
    let is_file = |extension: &&&str| matches!(look(&format!("{whole}.{extension}")), Found::File(_));
    let named = STRIPPED.iter().chain(&TRANSFORMED).chain(&["mjs", "cjs"]).find(is_file);
    match look(whole) {
        Found::Unknown => return None,
        Found::Folder => return Some(format!("exec names the folder {whole}, which has no index.js")),
        Found::Nothing | Found::File(_) => {}
    }
    if let Some(extension) = named {
        // A hook may support the extension.
        return (!is_hooked(runtime)).then(|| {
            format!("exec names {whole}, which is not there, but {whole}.{extension} is: name that")
        });
    }
    let mut text = format!("exec names {whole}, which is not there");
    if Path::new(path).is_relative() {
        text.push_str(&format!(": {path} is looked for in the workers' folder, {folder} (cwd)"));
        let package = path.split('/').next().unwrap_or(path);
        let in_packages = |name: &str| look(&format!("{folder}/node_modules/{name}"));
        if !path.starts_with('.') && in_packages(package) == Found::Folder {
            text.push_str(&format!("; the path of a package's file is require.resolve('{path}')"));
        }
    }
    Some(text)
}

/// Whether it is a shell script or a native program. Node.js scripts may begin with `#!` too.
fn is_foreign(begins: &[u8]) -> bool {
    if begins.starts_with(b"\x7fELF") {
        return true;
    }
    let Some(line) = begins.strip_prefix(b"#!") else { return false };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or(line);
    let line = String::from_utf8_lossy(line);
    let words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let shells = ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "python", "python3", "perl", "ruby"];
    words.filter(|word| *word != "env").take(1).any(|word| shells.contains(&word))
}

/// Advice for a command-line tool whose child process would serve instead of the worker.
fn runner(file: &str, runtime: &Runtime<'_>, package: impl Fn(&str) -> Option<String>) -> Option<String> {
    if runtime.program == Program::Other || runtime.is_ready_at_boot {
        return None;
    }
    let name = package(file)?;
    let program = runtime.script_arguments.iter().find(|word| !word.starts_with('-'));
    let program = program.map_or_else(|| "the program".to_owned(), |word| format!("'{word}'"));
    let has = |option: &str| runtime.script_arguments.iter().any(|word| word == option);
    let advice = match name.as_str() {
        // Bun runs TypeScript itself.
        "tsx" | "esno" | "ts-node" if runtime.program == Program::Bun => format!(
            "the command line of {name}, which is for Node.js: the worker would serve nothing. Let exec be {program}, \
             which Bun runs itself"
        ),
        "tsx" | "esno" => format!(
            "the command line of {name}, which runs {program} in a child: the worker would serve nothing. Let exec be \
             {program}, with execArgv: ['--import', 'tsx']"
        ),
        "ts-node" if has("--esm") || file.ends_with("bin-esm.js") => format!(
            "the command line of ts-node, which runs ES modules in a child: the worker would serve nothing. Let exec \
             be {program}, with execArgv: ['--loader', 'ts-node/esm']"
        ),
        "nodemon" | "node-dev" | "ts-node-dev" | "tsc-watch" | "supervisor" => format!(
            "the command line of {name}, which runs {program} in a child: the worker would serve nothing. Let exec be \
             {program}, and run the program that makes the cluster under {name}"
        ),
        // Without a command it is the same.
        "next" if has("dev") || !runtime.script_arguments.iter().any(|word| !word.starts_with('-')) => {
            "the command line of next, which runs its development server in a child: the worker would serve nothing. Let \
             args be ['start'], after next build"
                .to_owned()
        }
        "npm" | "pnpm" | "yarn" | "corepack" | "concurrently" | "npm-run-all" | "npm-run-all2"
        | "forever" | "pm2" => format!(
            "the command line of {name}, which runs a program in a child: the worker would serve nothing. Let exec be \
             the program itself (package.json says which under \"scripts\")"
        ),
        "cross-env" | "dotenv-cli" | "env-cmd" => format!(
            "the command line of {name}, which runs a program in a child: the worker would serve nothing. Let exec be \
             the program itself, and env its variables"
        ),
        _ => return None,
    };
    Some(advice)
}

/// The option with which Node.js runs a TypeScript script.
fn typescript(file: &str, runtime: &Runtime<'_>) -> Result<Option<&'static str>> {
    let Program::Node(major, minor) = runtime.program else { return Ok(None) };
    let extension = Path::new(file).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_stripped = STRIPPED.contains(&extension);
    if is_hooked(runtime) || !(is_stripped || TRANSFORMED.contains(&extension)) {
        return Ok(None);
    }
    let options = options(runtime);
    let has = |names: &[&str]| options.iter().any(|option| names.contains(&option.as_str()));
    let is_off = has(&["--no-experimental-strip-types", "--no-strip-types"]);
    if is_stripped && !is_off {
        match (major, minor) {
            (22, 18..) | (23, 6..) | (24.., _) => return Ok(None),
            (22, 6..) | (23, _) => {
                let is_on = has(&["--experimental-strip-types", "--experimental-transform-types"]);
                return Ok((!is_on).then_some("--experimental-strip-types"));
            }
            _ => {}
        }
    }
    let newer = if is_stripped && !is_off { ", or use Node.js 22.18 or later" } else { "" };
    let text = format!(
        "exec names {file}, which Node.js {major}.{minor} cannot run: give the workers a runner for it, as in \
         execArgv: ['--import', 'tsx'] (npm install tsx){newer}"
    );
    Err(refusal(file, &text))
}

/// The runtime's options, from arguments and NODE_OPTIONS, with `_` accepted for `-` as in Node.
fn options(runtime: &Runtime<'_>) -> Vec<String> {
    let variable = words(runtime.node_options);
    let given =
        runtime.arguments.iter().map(String::as_str).chain(variable.iter().map(|word| word.text.as_str()));
    given
        .map(|word| {
            let name = word.split('=').next().unwrap_or(word);
            if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() }
        })
        .collect()
}

/// Whether modules are preloaded, which may change what Node.js finds and supports.
fn is_hooked(runtime: &Runtime<'_>) -> bool {
    const HOOKS: [&str; 5] = ["-r", "--require", "--import", "--loader", "--experimental-loader"];
    !matches!(runtime.program, Program::Node(..))
        || options(runtime).iter().any(|option| HOOKS.contains(&option.as_str()))
}

/// The path of a file URL behind its `file:`.
fn from_url(rest: &str) -> Option<String> {
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/')?);
            matches!(host, "" | "localhost").then_some(path)?
        }
        None => rest,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let mut bytes = Vec::with_capacity(path.len());
    let mut given = path.bytes();
    while let Some(byte) = given.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [given.next()?, given.next()?];
        let byte = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
        // These decoded characters would change the path.
        if matches!(byte, b'/' | 0) {
            return None;
        }
        bytes.push(byte);
    }
    let path = String::from_utf8(bytes).ok()?;
    path.starts_with('/').then_some(path)
}

/// What is at a path of this machine.
pub fn look(path: &str) -> Found {
    use std::io::{ErrorKind, Read};
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Found::Folder,
        Ok(_) => {
            let mut begins = vec![0; 128];
            let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut begins));
            begins.truncate(read.unwrap_or(0));
            Found::File(begins)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Found::Nothing,
        Err(_) => Found::Unknown,
    }
}

/// The package that a file belongs to, by the last `node_modules` of its real path.
pub fn package(file: &str) -> Option<String> {
    let real = std::fs::canonicalize(file).ok()?;
    package_in(&real.to_string_lossy())
}

fn package_in(path: &str) -> Option<String> {
    let (_, inside) = path.rsplit_once("/node_modules/")?;
    let parts = if inside.starts_with('@') { 2 } else { 1 };
    Some(inside.split('/').take(parts).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE_20: Runtime<'static> = Runtime {
        program: Program::Node(20, 20),
        arguments: &[],
        node_options: "",
        script_arguments: &[],
        is_ready_at_boot: false,
    };

    fn files(path: &str) -> Found {
        let text = match path {
            "/app/server.js"
            | "/app/plain"
            | "/app/bare.js"
            | "/app/pkg/package.json"
            | "/app/dir/index.js"
            | "/app/a b.js"
            | "/app/app.ts"
            | "/app/app.mts"
            | "/app/page.tsx"
            | "/app/esm.mjs" => "x",
            "/app/cli" => "#!/usr/bin/env node\nx",
            "/app/shim" => "#!/bin/sh\nbasedir=x",
            "/app/env-shim" => "#!/usr/bin/env bash\nx",
            "/app/program" => "\x7fELF",
            "/app" | "/app/pkg" | "/app/dir" | "/app/empty" | "/app/node_modules/next" => {
                return Found::Folder;
            }
            "/app/archive.zip/server.js" => return Found::Unknown,
            _ => return Found::Nothing,
        };
        Found::File(text.into())
    }

    fn found(
        exec: &str,
        runtime: &Runtime<'_>,
    ) -> std::result::Result<(String, Option<&'static str>), String> {
        find(exec, "/app", runtime, files, |_| None)
            .map(|script| (script.path, script.option))
            .map_err(|error| error.message)
    }

    #[test]
    fn a_script_is_found_where_node_finds_it() {
        for (exec, path) in [
            ("server.js", "server.js"),
            ("./server.js", "./server.js"),
            ("/app/server.js", "/app/server.js"),
            ("plain", "plain"),
            ("bare", "bare"),
            ("pkg", "pkg"),
            ("dir/", "dir/"),
            ("cli", "cli"),
            ("file:///app/server.js", "/app/server.js"),
            ("file:///app/a%20b.js?v=1#top", "/app/a b.js"),
            ("file://localhost/app/server.js", "/app/server.js"),
            ("file:/app/server.js", "/app/server.js"),
            // A package manager may resolve paths inside an archive.
            ("archive.zip/server.js", "archive.zip/server.js"),
        ] {
            assert_eq!(found(exec, &NODE_20), Ok((path.to_owned(), None)), "{exec}");
        }
    }

    #[test]
    fn what_is_not_there_is_refused_with_the_place_that_was_looked_at() {
        for (exec, text) in [
            (
                "missing.js",
                "exec names /app/missing.js, which is not there: missing.js is looked for in the workers' folder, /app (cwd)",
            ),
            ("/app/missing.js", "exec names /app/missing.js, which is not there"),
            ("file:///app/missing.js", "exec names /app/missing.js, which is not there"),
            ("file://elsewhere/app/server.js", "exec is no file URL of this machine"),
            ("file:///app%2Fserver.js", "exec is no file URL of this machine"),
            ("file:///app/%zz", "exec is no file URL of this machine"),
            ("empty", "exec names the folder /app/empty, which has no index.js"),
            ("app", "exec names /app/app, which is not there, but /app/app.ts is: name that"),
            ("esm", "exec names /app/esm, which is not there, but /app/esm.mjs is: name that"),
            (
                "shim",
                "exec names /app/shim, which is no JavaScript: name the program of Node.js that it starts",
            ),
            (
                "env-shim",
                "exec names /app/env-shim, which is no JavaScript: name the program of Node.js that it starts",
            ),
            (
                "program",
                "exec names /app/program, which is no JavaScript: name the program of Node.js that it starts",
            ),
        ] {
            assert_eq!(found(exec, &NODE_20), Err(text.to_owned()), "{exec}");
        }
        let error = found("next/dist/bin/next", &NODE_20).unwrap_err();
        assert!(
            error.ends_with("the path of a package's file is require.resolve('next/dist/bin/next')"),
            "{error}"
        );
        let error = find("missing.js", "/app", &NODE_20, files, |_| None).unwrap_err();
        assert_eq!((error.code, &error.details["path"]), (Code::NoScript, &"/app/missing.js".into()));
    }

    #[test]
    fn typescript_runs_where_node_leaves_the_types_out() {
        let node = |(major, minor)| Runtime { program: Program::Node(major, minor), ..NODE_20 };
        let flag = Some("--experimental-strip-types");
        for (version, option) in [
            ((22, 6), flag),
            ((22, 17), flag),
            ((22, 18), None),
            ((23, 5), flag),
            ((23, 6), None),
            ((24, 0), None),
            ((26, 1), None),
        ] {
            for exec in ["app.ts", "app.mts"] {
                assert_eq!(found(exec, &node(version)), Ok((exec.to_owned(), option)), "{version:?}");
            }
        }
        for version in [(20, 20), (22, 5)] {
            let error = found("app.ts", &node(version)).unwrap_err();
            assert!(error.contains("execArgv: ['--import', 'tsx']") && error.contains("22.18"), "{error}");
        }
        let error = found("page.tsx", &node((26, 0))).unwrap_err();
        assert!(error.contains("execArgv: ['--import', 'tsx']") && !error.contains("22.18"), "{error}");
    }

    #[test]
    fn options_of_the_runtime_say_more_about_typescript() {
        let with = |(major, minor), argument: &str| {
            let arguments = [argument.to_owned()];
            let program = Program::Node(major, minor);
            found("app.ts", &Runtime { program, arguments: &arguments, ..NODE_20 })
        };
        let as_it_is = Ok(("app.ts".to_owned(), None));
        for hook in
            ["--import", "--import=tsx", "--require=ts-node/register", "-r", "--experimental_loader=x"]
        {
            assert_eq!(with((20, 20), hook), as_it_is, "{hook}");
        }
        assert_eq!(with((22, 10), "--experimental-strip-types"), as_it_is);
        assert!(with((24, 0), "--no-experimental-strip-types").is_err());
        let variable = Runtime { node_options: "--max-old-space-size=64 --import 'tsx'", ..NODE_20 };
        assert_eq!(found("app.ts", &variable), as_it_is);
        assert_eq!(found("app", &variable), Ok(("app".to_owned(), None)), "a hook may know the extension");
        for program in [Program::Bun, Program::Other] {
            assert_eq!(found("app.ts", &Runtime { program, ..NODE_20 }), as_it_is, "{program:?}");
        }
    }

    #[test]
    fn command_lines_that_serve_in_a_child_are_told_how_to_do_it() {
        let with = |package: &str, arguments: &[&str], is_ready_at_boot| {
            let arguments: Vec<String> = arguments.iter().map(|&word| word.into()).collect();
            let runtime = Runtime { script_arguments: &arguments, is_ready_at_boot, ..NODE_20 };
            find("cli", "/app", &runtime, files, |_| Some(package.to_owned()))
                .map(|_| ())
                .map_err(|error| error.message)
        };
        for (package, arguments, says) in [
            ("tsx", &["app.ts"][..], "Let exec be 'app.ts', with execArgv: ['--import', 'tsx']"),
            ("ts-node", &["--esm", "app.ts"], "with execArgv: ['--loader', 'ts-node/esm']"),
            ("nodemon", &["app.js"], "run the program that makes the cluster under nodemon"),
            ("npm", &["start"], "package.json"),
            ("next", &["dev"], "Let args be ['start']"),
            ("next", &[], "Let args be ['start']"),
            ("cross-env", &["A=1"], "env its variables"),
        ] {
            let error = with(package, arguments, false).unwrap_err();
            assert!(error.contains(says) && error.contains("the worker would serve nothing"), "{error}");
            assert_eq!(with(package, arguments, true), Ok(()), "{package}: ready at boot");
        }
        for package in ["next", "ts-node", "server"] {
            assert_eq!(with(package, &["start"], false), Ok(()), "{package} serves itself");
        }
    }

    #[test]
    fn command_lines_that_run_typescript_are_not_needed_under_bun() {
        let arguments = ["app.ts".to_owned()];
        let with = |program, package: &str| {
            let runtime = Runtime { program, script_arguments: &arguments, ..NODE_20 };
            find("cli", "/app", &runtime, files, |_| Some(package.to_owned()))
                .map(|_| ())
                .map_err(|error| error.message)
        };
        for package in ["tsx", "ts-node"] {
            let error = with(Program::Bun, package).unwrap_err();
            assert!(error.ends_with("Let exec be 'app.ts', which Bun runs itself"), "{error}");
        }
        assert!(with(Program::Bun, "nodemon").is_err());
        assert_eq!(with(Program::Other, "nodemon"), Ok(()), "unknown");
    }

    #[test]
    fn a_files_package_is_told_by_its_path() {
        for (path, package) in [
            ("/app/node_modules/tsx/dist/cli.mjs", Some("tsx")),
            ("/app/node_modules/.pnpm/tsx@4/node_modules/tsx/dist/cli.mjs", Some("tsx")),
            ("/app/node_modules/@scope/name/cli.js", Some("@scope/name")),
            ("/app/tsx/cli.mjs", None),
        ] {
            assert_eq!(package_in(path).as_deref(), package);
        }
    }
}
