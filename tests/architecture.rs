//! Tests of the architecture: which modules may use which, what pure modules may not name, where unsafe code and
//! Node-API may be, and that modules have no cyclic dependencies. The rules are the constants at the top; the rest
//! reads the sources.

#[path = "architecture/cycles.rs"]
mod cycles;
#[path = "architecture/reader.rs"]
mod reader;

use cycles::{Uses, cycle};
use reader::{NamedPath, Token, paths, tokens};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, the lowest first: a layer uses only the layers listed before it, and the modules of a layer do not use
/// each other. `error` and `component` come first, because the types of the second layer contain error codes; the
/// channels and the shared memory come before dispatch and process, which use them.
const LAYERS: [&[&str]; 15] = [
    &["error", "component"],
    &["model"],
    &["config", "event"],
    &["ipc::crypto", "ipc::message", "metrics::histogram"],
    &[
        "supervisor",
        "balance",
        "scaling",
        "memory",
        "limits",
        "error_groups",
        "health::ejection",
        "health::verdict",
        "ipc::frame",
        "ipc::control",
        "ipc::pending_requests",
        "ipc::message_rules",
        "ipc::router",
        "ipc::ticket_keys",
        "metrics::layout",
        "metrics::text",
        "metrics::history",
    ],
    &["metrics::aggregation", "metrics::instrument"],
    &["sys"],
    &["ipc::channel", "ipc::fd_message", "ipc::message_policy", "ipc::endpoint", "metrics::memory"],
    &["ipc::message_channel", "metrics::messages", "metrics::responses"],
    &["metrics::view"],
    &["dispatch", "health::probe", "process", "log"],
    &["observe"],
    &["admin", "cache", "fleet", "webhook"],
    &["primary", "worker"],
    &["bindings"],
];

/// The number of pure layers, from the first: their modules use no clock, I/O, randomness, threads or environment.
const PURE_LAYERS: usize = 6;

/// Pure modules in layers that are not pure.
const PURE_PARTS: [&str; 30] = [
    "cache::deadlines",
    "cache::eviction",
    "cache::flights",
    "cache::layout",
    "cache::pattern",
    "cache::request",
    "cache::tags",
    "dispatch::placement",
    "dispatch::services",
    "dispatch::listeners::mode",
    "dispatch::listeners::sharing",
    "dispatch::listeners::shares",
    "dispatch::listeners::steering",
    "dispatch::workers::heartbeat",
    "dispatch::workers::state",
    "primary::health::unresponsive",
    "primary::lifecycle",
    "primary::readiness",
    "primary::workers::pending_starts",
    "fleet::backlog",
    "fleet::gathering",
    "fleet::lease",
    "fleet::members",
    "fleet::parts",
    "fleet::pause",
    "fleet::request",
    "fleet::seal",
    "worker::connection_limits",
    "worker::http_wire",
    "worker::moves",
];

/// Prefixes of the paths that a pure module may not name.
const IMPURE: [&str; 16] = [
    "std::time::Instant",
    "std::time::SystemTime",
    "Instant::now",
    "SystemTime::now",
    "tokio",
    "rand",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::net::Tcp",
    "std::net::Udp",
    "std::os::unix::net",
    "libc",
    "rustix",
    "std::os::fd",
];

/// Besides `sys`, the only file with unsafe code: Node-API calls for which napi has no safe wrapper.
const RAW_BINDINGS: &str = "src/bindings/raw.rs";

/// The maximum distance, in lines, of a SAFETY comment above its `unsafe`.
const SAFETY_REACH: usize = 6;

struct Source {
    /// The path relative to the crate: `src/ipc/frame.rs`.
    file: String,
    text: String,
}

impl Source {
    /// The module's path: `["ipc", "frame"]`; empty for lib.rs.
    fn module(&self) -> Vec<String> {
        let inner = self.file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        inner.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
    }

    fn is_mod_of_a_split_folder(&self) -> bool {
        let prefix = format!("{}::", self.module().join("::"));
        self.file.ends_with("/mod.rs")
            && LAYERS.iter().flat_map(|line| line.iter()).any(|unit| unit.starts_with(&prefix))
    }

    /// The source without its tests, which by convention are at the end or in a separate file.
    fn without_tests(&self) -> &str {
        if self.file.ends_with("/tests.rs") || self.file.contains("/tests/") {
            return "";
        }
        self.text.split("#[cfg(test)]\nmod ").next().unwrap_or("")
    }
}

fn sources(folder: &str, extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join(folder), extension, &mut files);
    files.sort();
    files
        .into_iter()
        .map(|file| Source {
            text: fs::read_to_string(&file).expect("a file that was just listed"),
            file: file.strip_prefix(root).expect("a file below the root").to_string_lossy().into_owned(),
        })
        .collect()
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    // The folder may not exist.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry of a readable folder").path();
        if path.is_dir() {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
}

/// The listed module that contains a path below the crate, with the index of its layer.
fn unit(path: &[String]) -> Option<(&'static str, usize)> {
    LAYERS.iter().enumerate().find_map(|(line, units)| {
        let found = units.iter().find(|unit| {
            let parts: Vec<&str> = unit.split("::").collect();
            path.len() >= parts.len() && path.iter().zip(&parts).all(|(segment, part)| segment == part)
        })?;
        Some((*found, line))
    })
}

/// A `crate::` or `super::` path relative to the crate; None for other paths.
fn below_crate(module: &[String], path: &NamedPath) -> Option<Vec<String>> {
    let first = path.segments.first()?;
    if first == "crate" {
        return Some(path.segments[1..].to_vec());
    }
    let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
    if supers == 0 || supers > module.len() {
        return None;
    }
    let mut absolute = module[..module.len() - supers].to_vec();
    absolute.extend_from_slice(&path.segments[supers..]);
    Some(absolute)
}

/// Why a module may not name a path; None if it may.
fn dependency_fault(module: &[String], path: &NamedPath) -> Option<String> {
    let target = below_crate(module, path)?;
    let (from, from_line) = unit(module)?;
    let Some((to, to_line)) = unit(&target) else {
        let names_a_split_module =
            path.segments[0] == "crate" && target.first().is_some_and(|name| is_split(name));
        return names_a_split_module
            .then(|| format!("{} is no module of a layer; name the module of the file", path.text()));
    };
    match to_line {
        _ if from == to || to_line < from_line => None,
        _ if to_line == from_line => {
            Some(format!("{from} and {to} are in one layer and may not use each other"))
        }
        _ => Some(format!("{to} is in a higher layer than {from}, which may not use it")),
    }
}

/// The modules, each with the items that it imports from its submodules (item to submodule).
type Modules = BTreeMap<Vec<String>, BTreeMap<String, String>>;

fn modules(sources: &[Source]) -> Modules {
    let names: BTreeSet<Vec<String>> = sources.iter().map(Source::module).collect();
    let items = |source: &Source| {
        let module = source.module();
        let from_submodule = |path: &NamedPath| {
            let (first, item) = (path.segments.first()?, path.segments.last()?);
            let submodule = [&module[..], std::slice::from_ref(first)].concat();
            names.contains(&submodule).then(|| (item.clone(), first.clone()))
        };
        paths(source.without_tests()).iter().filter_map(from_submodule).collect()
    };
    sources.iter().map(|source| (source.module(), items(source))).collect()
}

/// The module that a path names, including submodules of `module`. A re-exported item belongs to the submodule that
/// defines it: `super::Item` names the file of that submodule.
fn module_named(module: &[String], path: &NamedPath, modules: &Modules) -> Option<Vec<String>> {
    let first = path.segments.first()?;
    let below = |segments: &[String]| [module, segments].concat();
    let names_a_submodule = || modules.contains_key(&below(std::slice::from_ref(first)));
    let absolute = if first == "self" {
        below(&path.segments[1..])
    } else {
        below_crate(module, path).or_else(|| names_a_submodule().then(|| below(&path.segments)))?
    };
    let depth = (0..=absolute.len()).rev().find(|depth| modules.contains_key(&absolute[..*depth]))?;
    let mut found = absolute[..depth].to_vec();
    let submodule = absolute.get(depth).and_then(|item| modules[&found].get(item));
    if found != module {
        found.extend(submodule.cloned());
    }
    Some(found)
}

/// For each folder, which of its modules use which; its `mod.rs` is listed as `mod`. Tests are not checked.
fn uses_within_folders() -> BTreeMap<Vec<String>, Uses> {
    let sources = sources("src", "rs");
    let modules = modules(&sources);
    let mut folders: BTreeMap<Vec<String>, Uses> = BTreeMap::new();
    for source in &sources {
        let module = source.module();
        for path in paths(source.without_tests()) {
            let Some(target) = module_named(&module, &path, &modules) else { continue };
            for depth in 1..=module.len().min(target.len()) {
                let folder = &module[..depth];
                let (from, to) = (module.get(depth), target.get(depth));
                if folder == &target[..depth] && from != to {
                    let name = |part: Option<&String>| part.map_or("mod", String::as_str).to_owned();
                    let uses = folders.entry(folder.to_vec()).or_default();
                    uses.entry(name(from)).or_default().insert(name(to));
                }
            }
        }
    }
    folders
}

fn is_split(module: &str) -> bool {
    LAYERS.iter().flat_map(|line| line.iter()).any(|unit| unit.starts_with(&format!("{module}::")))
}

fn is_impure(path: &NamedPath) -> bool {
    let text = path.text();
    IMPURE.iter().any(|banned| {
        text.strip_prefix(banned)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || banned.starts_with("std::net"))
    })
}

fn names_node_api(path: &NamedPath) -> bool {
    matches!(path.segments[0].as_str(), "napi" | "napi_derive" | "napi_sys")
}

#[track_caller]
fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// One line for each path that `fault` rejects, with its location.
fn path_faults(
    applies: impl Fn(&Source) -> bool,
    fault: impl Fn(&Source, &NamedPath) -> Option<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources("src", "rs").iter().filter(|source| applies(source)) {
        for path in paths(&source.text) {
            faults.extend(fault(source, &path).map(|why| format!("{}:{}: {why}", source.file, path.line)));
        }
    }
    faults.dedup();
    faults
}

#[test]
fn every_module_is_in_a_layer() {
    none(
        sources("src", "rs")
            .iter()
            .filter(|source| !source.module().is_empty() && !source.is_mod_of_a_split_folder())
            .filter(|source| unit(&source.module()).is_none())
            .map(|source| format!("{}: its module is in no layer of tests/architecture.rs", source.file))
            .collect(),
    );
}

/// The layers of docs/ARCHITECTURE.md, the lowest first, with the sorted names of their modules.
fn documented_layers() -> Vec<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(file).expect("a readable file");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        cells.next()?.parse::<usize>().ok()?;
        let mut names: Vec<String> = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        names.sort();
        Some(names)
    };
    let mut layers: Vec<Vec<String>> = text.lines().filter_map(row).collect();
    layers.reverse();
    layers
}

#[test]
fn the_documented_layers_are_those_of_the_code() {
    let modules: Vec<Vec<String>> = sources("src", "rs").iter().map(Source::module).collect();
    let exists = |unit: &&&str| {
        let parts: Vec<&str> = unit.split("::").collect();
        modules
            .iter()
            .any(|module| module.len() >= parts.len() && module.iter().zip(&parts).all(|(a, b)| a == b))
    };
    let of_the_code: Vec<Vec<String>> = LAYERS
        .iter()
        .map(|line| {
            let mut names: Vec<String> = line.iter().filter(exists).map(|unit| (*unit).to_owned()).collect();
            names.sort();
            names
        })
        .collect();
    assert_eq!(documented_layers(), of_the_code);
}

#[test]
fn dependencies_point_one_way() {
    none(path_faults(|_| true, |source, path| dependency_fault(&source.module(), path)));
}

#[test]
fn every_file_is_a_module_of_the_crate() {
    let sources = sources("src", "rs");
    let declares = |parent: &[String], name: &str| {
        let declared = |line: &str| {
            let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
            line.trim_start_matches("pub ") == format!("mod {name};")
        };
        sources
            .iter()
            .any(|source| source.module() == parent && source.text.lines().map(str::trim).any(declared))
    };
    let fault = |source: &Source| {
        let module = source.module();
        let (name, parent) = module.split_last()?;
        (!declares(parent, name)).then(|| format!("{}: there is no `mod {name};` for it", source.file))
    };
    none(sources.iter().filter_map(fault).collect());
}

#[test]
fn no_modules_of_a_folder_use_each_other_in_a_cycle() {
    let fault = |(folder, uses): (Vec<String>, Uses)| {
        Some(format!("src/{}: {}", folder.join("/"), cycle(&uses)?.join(" -> ")))
    };
    none(uses_within_folders().into_iter().filter_map(fault).collect());
}

#[test]
fn pure_modules_have_no_clock_io_randomness_or_environment() {
    let is_part = |source: &Source| {
        let module = format!("{}::", source.module().join("::"));
        PURE_PARTS.iter().any(|part| module.starts_with(&format!("{part}::")))
    };
    let is_pure = |source: &Source| {
        unit(&source.module()).is_some_and(|(_, line)| line < PURE_LAYERS) || is_part(source)
    };
    none(path_faults(is_pure, |_, path| {
        is_impure(path).then(|| format!("a pure module names {}", path.text()))
    }));
}

#[test]
fn only_the_bindings_name_node_api() {
    none(path_faults(
        |source| !source.file.starts_with("src/bindings"),
        |_, path| names_node_api(path).then(|| format!("{} outside src/bindings", path.text())),
    ));
}

fn may_be_unsafe(source: &Source) -> bool {
    source.file.starts_with("src/sys/") || source.file == RAW_BINDINGS
}

#[test]
fn only_sys_and_the_raw_bindings_have_unsafe() {
    let mut faults = Vec::new();
    for source in sources("src", "rs").iter().filter(|source| !may_be_unsafe(source)) {
        for token in tokens(source.without_tests()).iter().filter(|token| token.text == "unsafe") {
            faults.push(format!("{}:{}: unsafe outside src/sys and {RAW_BINDINGS}", source.file, token.line));
        }
    }
    none(faults);
}

/// Lines of `text` with an `unsafe` block, impl or attribute that has no SAFETY comment.
fn unexplained_unsafe(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let tokens = tokens(text);
    let text_at = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let opens = |at: usize| match text_at(at + 1) {
        "{" | "impl" | "(" => true,
        "extern" => text_at(at + 2) == "{",
        _ => false,
    };
    (0..tokens.len())
        .filter(|&at| tokens[at].text == "unsafe" && opens(at))
        .map(|at| tokens[at].line)
        .filter(|&line| {
            !lines[line.saturating_sub(SAFETY_REACH + 1)..line].iter().any(|near| near.contains("SAFETY:"))
        })
        .collect()
}

#[test]
fn every_unsafe_block_has_a_safety_comment() {
    let mut faults = Vec::new();
    for source in sources("src", "rs").iter().filter(|source| may_be_unsafe(source)) {
        let lines = unexplained_unsafe(source.without_tests());
        faults.extend(
            lines.iter().map(|line| format!("{}:{line}: unsafe without a SAFETY comment", source.file)),
        );
    }
    none(faults);
}

/// The tokens of a function's parameters, except those in nested parentheses.
fn parameters(tokens: &[Token], function: usize) -> impl Iterator<Item = usize> {
    let mut depth = 0;
    (function..tokens.len())
        .skip_while(|&at| tokens[at].text != "(")
        .map_while(move |at| {
            depth += i32::from(tokens[at].text == "(") - i32::from(tokens[at].text == ")");
            (depth > 0).then_some((at, depth))
        })
        .filter_map(|(at, depth)| (depth == 1).then_some(at))
}

/// Lines of `text` where a contract is missing: a safe `extern "C"` function type, a safe function that takes raw
/// pointers, an unsafe function without a Safety section.
fn missing_contracts(text: &str) -> Vec<(usize, &'static str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tokens = tokens(text);
    let text_at = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let is_raw = |at: usize| text_at(at) == "*" && matches!(text_at(at + 1), "mut" | "const");
    let aliases: Vec<&str> = (0..tokens.len())
        .filter(|&at| text_at(at) == "type" && text_at(at + 2) == "=" && is_raw(at + 3))
        .map(|at| text_at(at + 1))
        .collect();
    let has_contract = |line: usize| {
        let above = lines[..line - 1].iter().rev().map(|line| line.trim());
        above
            .take_while(|line| line.starts_with("//") || line.starts_with('#'))
            .any(|line| line == "/// # Safety")
    };
    let mut missing = Vec::new();
    for at in (0..tokens.len()).filter(|&at| text_at(at) == "fn") {
        let of_c = at > 0 && text_at(at - 1) == "extern";
        let before = at - usize::from(of_c);
        let is_unsafe = before > 0 && text_at(before - 1) == "unsafe";
        let is_type = text_at(at + 1) == "(";
        let takes_raw = parameters(&tokens, at).any(|at| is_raw(at) || aliases.contains(&text_at(at)));
        let line = tokens[at].line;
        match (is_type, is_unsafe) {
            (true, false) if of_c => missing.push((line, "an extern \"C\" function type that is not unsafe")),
            (false, false) if takes_raw => missing.push((line, "raw pointers in a safe function")),
            (false, true) if !has_contract(line) => {
                missing.push((line, "unsafe fn without a Safety section"))
            }
            _ => {}
        }
    }
    missing
}

#[test]
fn functions_with_raw_pointers_or_of_c_have_a_contract() {
    let mut faults = Vec::new();
    for source in sources("src", "rs").iter().filter(|source| may_be_unsafe(source)) {
        let missing = missing_contracts(source.without_tests());
        faults.extend(missing.iter().map(|(line, what)| format!("{}:{line}: {what}", source.file)));
    }
    none(faults);
}

/// The fault of the first path in a line of Rust, in `module`.
fn fault_of(module: &str, line: &str) -> Option<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    dependency_fault(&module, &paths(line)[0])
}

#[test]
fn dependencies_on_the_same_or_a_higher_layer_are_faults() {
    for (module, line) in [
        ("balance::choose", "use crate::sys::fds;"),
        ("balance", "use crate::supervisor::Slot;"),
        ("ipc::frame", "use super::channel::Channel;"),
        ("dispatch::accept_loop", "crate::process::spawn()"),
        ("worker", "use crate::primary;"),
        ("dispatch", "use crate::metrics::Sample;"),
    ] {
        assert!(fault_of(module, line).is_some(), "{module} may contain {line}");
    }
    for (module, line) in [
        ("dispatch::accept_loop", "use crate::dispatch::group;"),
        ("dispatch", "use crate::balance::choose;"),
        ("ipc::channel", "use super::frame::Frame;"),
        ("bindings", "crate::primary::run()"),
        ("balance::choose", "use super::hash::score;"),
    ] {
        assert_eq!(fault_of(module, line), None, "{module} may not contain {line}");
    }
}

#[test]
fn a_reexported_item_belongs_to_its_submodule() {
    let source = |file: &str, text: &str| Source { file: file.to_owned(), text: text.to_owned() };
    let modules = modules(&[
        source("src/a/mod.rs", "mod b; mod c; pub use b::{Item, deep::Other};"),
        source("src/a/b.rs", ""),
        source("src/a/c.rs", ""),
    ]);
    let named = |module: &str, line: &str| {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        module_named(&module, &paths(line)[0], &modules).map(|found| found.join("::"))
    };
    for (module, line, found) in [
        ("a::c", "use super::Item;", Some("a::b")),
        ("a::c", "use super::Other;", Some("a::b")),
        ("a::c", "use crate::a::Own;", Some("a")),
        ("a::c", "use super::b::Item;", Some("a::b")),
        ("a", "use b::Item;", Some("a::b")),
        ("a", "use self::c;", Some("a::c")),
        ("a::c", "use std::fmt;", None),
    ] {
        assert_eq!(named(module, line).as_deref(), found, "{module} contains {line}");
    }
}

#[test]
fn an_unsafe_block_without_a_safety_comment_is_found() {
    assert_eq!(unexplained_unsafe("fn f() {\n    unsafe { g() }\n}"), [2]);
    assert_eq!(unexplained_unsafe("unsafe extern \"C\" { fn g(); }"), [1]);
    assert_eq!(unexplained_unsafe("// SAFETY: g has no contract.\nunsafe { g() }"), [0; 0]);
    assert_eq!(unexplained_unsafe("type F = unsafe extern \"C\" fn();"), [0; 0]);
}

#[test]
fn a_function_without_a_contract_is_found() {
    let lines = |text: &str| missing_contracts(text).iter().map(|(line, _)| *line).collect::<Vec<_>>();
    for text in [
        "type F = extern \"C\" fn(i32);",
        "struct S { call: Option<extern \"C\" fn()> }",
        "fn f(at: *mut u8) {}",
        "type Handle = *mut c_void; extern \"C\" fn f(handle: Handle) {}",
        "pub unsafe fn f() {}",
        "/// What it does.\nunsafe extern \"C\" fn f() {}",
    ] {
        assert_eq!(lines(text), [text.lines().count()], "{text}");
    }
    for text in [
        "type F = unsafe extern \"C\" fn(*mut u8);",
        "extern \"C\" fn on_signal(signal: i32) {}",
        "fn f(call: impl FnOnce(*mut u8)) -> *const u8 {}",
        "/// # Safety\n/// It is one.\n#[inline]\npub unsafe fn f(at: *mut u8) {}",
    ] {
        assert_eq!(lines(text), [0; 0], "{text}");
    }
}
