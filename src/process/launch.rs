//! How a worker's process is started: program, arguments, environment. Data in, data out.

use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use super::inspector;
use super::scheduling::Scheduling;

/// Variables with drover's secrets: a worker gets the secrets that it needs over its channel.
const SECRETS: [&str; 2] = ["IPC_ENCRYPTION_KEY", "CLUSTER_MONITORING_TOKEN"];
/// Marks a process as a worker; removed from its environment when it attaches.
pub const CHANNEL_VARIABLE: &str = "DROVER_CHANNEL";
const NODE_OPTIONS: &str = "NODE_OPTIONS";

/// The launch settings of every worker of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The runtime's executable.
    pub program: String,
    /// The runtime takes V8's options.
    pub has_v8: bool,
    /// Limits of the heap, before the runtime's other arguments, which win.
    pub heap: Vec<String>,
    /// The runtime's own arguments, before the script.
    pub exec_argv: Vec<String>,
    /// The module that attaches a worker before the script runs.
    pub preload: String,
    /// The program contains the script and drover: it takes neither, and attaches by itself.
    pub standalone: bool,
    pub script: String,
    pub args: Vec<String>,
    /// The primary's environment, as last passed.
    pub env: Arc<BTreeMap<String, String>>,
    /// Variables of the configuration, which take precedence; None: removed.
    pub own_env: BTreeMap<String, Option<String>>,
    /// Workers may use colours, because their output is shown on a terminal.
    pub colored: bool,
    /// Resolved by each worker at its start. None: the primary's current folder.
    pub cwd: Option<String>,
    pub scheduling: Scheduling,
}

impl Launch {
    /// Arguments of the worker in `slot`. drover's preload comes before the user's, so that processes started by those
    /// do not inherit the channels.
    pub fn arguments(&self, slot: u16) -> Vec<String> {
        if self.standalone {
            return self.args.clone();
        }
        let mut arguments = vec!["--require".to_owned(), self.preload.clone()];
        arguments.extend(self.heap.iter().cloned());
        arguments.extend(inspector::moved(&self.exec_argv, self.node_options(), slot).0);
        arguments.push(self.script.clone());
        arguments.extend(self.args.iter().cloned());
        arguments
    }

    /// Environment of the worker in `slot`.
    pub fn environment(&self, slot: u16) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::clone(&self.env);
        let is_set = |name: &str| environment.contains_key(name) || self.own_env.contains_key(name);
        if self.colored && !is_set("FORCE_COLOR") && !is_set("NO_COLOR") {
            environment.insert("FORCE_COLOR".into(), "1".into());
        }
        environment.insert("WORKER_ID".into(), slot.to_string());
        environment.insert("NODE_APP_INSTANCE".into(), slot.to_string());
        for (name, value) in &self.own_env {
            match value {
                Some(value) => environment.insert(name.clone(), value.clone()),
                None => environment.remove(name),
            };
        }
        for secret in SECRETS {
            environment.remove(secret);
        }
        if let Some(options) = environment.get_mut(NODE_OPTIONS) {
            *options = inspector::moved(&self.exec_argv, options, slot).1;
        }
        environment.insert("CLUSTER_WORKER".into(), "true".into());
        environment.insert(CHANNEL_VARIABLE.into(), std::process::id().to_string());
        environment
    }

    /// Whether the workers run under an inspector.
    pub fn is_inspected(&self) -> bool {
        inspector::is_opened(&self.exec_argv, self.node_options())
    }

    /// The workers' NODE_OPTIONS.
    pub fn node_options(&self) -> &str {
        let given = match self.own_env.get(NODE_OPTIONS) {
            Some(own) => own.as_ref(),
            None => self.env.get(NODE_OPTIONS),
        };
        given.map_or("", String::as_str)
    }

    /// The script's file name, for titles and messages.
    pub fn script_name(&self) -> &str {
        self.script.rsplit('/').next().unwrap_or(&self.script)
    }
}

/// The logical path of a folder: the shell's, which may contain symbolic links, if it names the same folder (like POSIX
/// `pwd -L`). `is_same`: whether two paths name the same folder.
pub fn logical(folder: &str, shell: Option<&str>, is_same: impl Fn(&Path, &Path) -> bool) -> String {
    let plain = |path: &Path| {
        path.is_absolute()
            && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
            && !path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/').any(|part| part == b".")
    };
    match shell {
        Some(shell) if plain(Path::new(shell)) && is_same(Path::new(shell), Path::new(folder)) => {
            shell.into()
        }
        _ => folder.into(),
    }
}

/// The path of a file below `folder`, rewritten to be below `logical`; other paths are unchanged.
pub fn through(file: &str, folder: &str, logical: &str) -> String {
    match Path::new(file).strip_prefix(folder) {
        Ok(rest) => Path::new(logical).join(rest).to_string_lossy().into_owned(),
        Err(_) => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch {
            program: "node".into(),
            has_v8: true,
            heap: Vec::new(),
            exec_argv: vec!["--max-old-space-size=64".into(), "--inspect".into()],
            preload: "/lib/preload.js".into(),
            standalone: false,
            script: "/app/server.js".into(),
            args: vec!["--fast".into()],
            env: Arc::new(BTreeMap::from([
                ("IPC_ENCRYPTION_KEY".into(), "secret".into()),
                ("NODE_ENV".into(), "production".into()),
                ("NODE_OPTIONS".into(), "--inspect-port=9400 --no-warnings".into()),
                ("LEFT_OUT".into(), "1".into()),
            ])),
            own_env: BTreeMap::new(),
            colored: false,
            cwd: None,
            scheduling: Scheduling::default(),
        }
    }

    #[test]
    fn a_worker_inherits_the_arguments_and_its_inspector_moves_on() {
        let arguments = launch().arguments(2);
        let expected = [
            "--require",
            "/lib/preload.js",
            "--max-old-space-size=64",
            "--inspect",
            "/app/server.js",
            "--fast",
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn a_limit_of_the_heap_comes_before_the_users_which_wins() {
        let arguments = Launch { heap: vec!["--max-old-space-size=200".into()], ..launch() }.arguments(0);
        assert_eq!(arguments[2..4], ["--max-old-space-size=200", "--max-old-space-size=64"]);
    }

    #[test]
    fn a_program_that_contains_its_script_gets_its_own_arguments_alone() {
        assert_eq!(Launch { standalone: true, ..launch() }.arguments(2), ["--fast"]);
    }

    #[test]
    fn no_secret_is_in_a_workers_environment() {
        let environment = launch().environment(1);
        assert!(!environment.values().any(|value| value.contains("secret")));
        assert_eq!(environment["NODE_ENV"], "production");
        assert_eq!(environment["WORKER_ID"], "1");
        assert_eq!(environment["CLUSTER_WORKER"], "true");
    }

    #[test]
    fn variables_of_the_configuration_win() {
        let own_env = [
            ("NODE_APP_INSTANCE", None),
            ("WORKER_ID", Some("")),
            ("LEFT_OUT", None),
            ("NODE_ENV", Some("staging")),
            ("CLUSTER_MONITORING_TOKEN", Some("secret")),
        ];
        let own_env = own_env.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).into();
        let environment = Launch { own_env, ..launch() }.environment(1);
        assert!(!environment.contains_key("NODE_APP_INSTANCE") && !environment.contains_key("LEFT_OUT"));
        assert_eq!((environment["WORKER_ID"].as_str(), environment["NODE_ENV"].as_str()), ("", "staging"));
        assert!(!environment.values().any(|value| value.contains("secret")));
        assert_eq!(environment["NODE_OPTIONS"], "--inspect-port=9402 --no-warnings");
    }

    #[test]
    fn colours_are_welcome_unless_somebody_has_said_what_is() {
        let value_of = |name: &str, value: Option<&str>| {
            let own_env = BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
            let environment = Launch { own_env, colored: true, ..launch() }.environment(0);
            environment.get("FORCE_COLOR").cloned()
        };
        assert_eq!(value_of("OTHER", Some("1")).as_deref(), Some("1"));
        assert_eq!(value_of("FORCE_COLOR", Some("0")).as_deref(), Some("0"));
        assert_eq!((value_of("NO_COLOR", Some("1")), value_of("FORCE_COLOR", None)), (None, None));
    }

    #[test]
    fn a_folder_is_known_by_the_shells_path_if_that_names_it() {
        let same = |_: &Path, _: &Path| true;
        let folder = "/srv/releases/1";
        assert_eq!(logical(folder, Some("/srv/current"), same), "/srv/current");
        assert_eq!(logical(folder, Some("/srv/current"), |_, _| false), folder);
        for shell in [
            None,
            Some(""),
            Some("current"),
            Some("/srv/./current"),
            Some("/srv/x/../current"),
            Some("/srv/."),
        ] {
            assert_eq!(logical(folder, shell, same), folder, "{shell:?}");
        }
        assert_eq!(through("/srv/releases/1/server.js", folder, "/srv/current"), "/srv/current/server.js");
        assert_eq!(
            through("/srv/releases/10/server.js", folder, "/srv/current"),
            "/srv/releases/10/server.js"
        );
        assert_eq!(through("/app/server.js", folder, "/srv/current"), "/app/server.js");
    }
}
