//! What a worker's process is: program, arguments, environment. PURE in spirit: data in, data out.

use std::collections::BTreeMap;

/// Variables that hold secrets of drover's: a worker learns what it needs of them over its channel.
const SECRETS: [&str; 2] = ["IPC_ENCRYPTION_KEY", "CLUSTER_MONITORING_TOKEN"];
/// Tells a worker where its channel is; taken out of its environment when it attaches.
pub const CHANNEL_VARIABLE: &str = "DROVER_CHANNEL";

/// The same for every worker of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The runtime's executable.
    pub program: String,
    /// The runtime's own arguments, before the script.
    pub exec_argv: Vec<String>,
    /// The module that attaches a worker before the script runs.
    pub preload: String,
    pub script: String,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: Option<String>,
}

impl Launch {
    /// Arguments of the worker in `slot`. drover's preload comes before the user's: what those start must not
    /// inherit the channels.
    pub fn arguments(&self, slot: u16) -> Vec<String> {
        let mut arguments = vec!["--require".to_owned(), self.preload.clone()];
        arguments.extend(self.exec_argv.iter().map(|argument| inspect_port(argument, slot)));
        arguments.push(self.script.clone());
        arguments.extend(self.args.iter().cloned());
        arguments
    }

    /// Environment of the worker in `slot`.
    pub fn environment(&self, slot: u16) -> BTreeMap<String, String> {
        let mut environment = self.env.clone();
        for secret in SECRETS {
            environment.remove(secret);
        }
        environment.insert("CLUSTER_WORKER".into(), "true".into());
        environment.insert("WORKER_ID".into(), slot.to_string());
        environment.insert("NODE_APP_INSTANCE".into(), slot.to_string());
        environment.insert(CHANNEL_VARIABLE.into(), std::process::id().to_string());
        environment
    }

    /// Do the workers run under an inspector?
    pub fn is_inspected(&self) -> bool {
        let options = self.env.get("NODE_OPTIONS").map_or("", String::as_str).split_whitespace();
        self.exec_argv.iter().map(String::as_str).chain(options).any(opens_inspector)
    }

    /// The script's file name, for titles and messages.
    pub fn script_name(&self) -> &str {
        self.script.rsplit('/').next().unwrap_or(&self.script)
    }
}

/// `--inspect-port` and its like only say how, if it ever comes to that.
fn opens_inspector(option: &str) -> bool {
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    matches!(name, "--inspect" | "--inspect-brk" | "--inspect-wait")
}

/// Node's default when `--inspect` names no port.
const INSPECT_PORT: u16 = 9229;

/// Moves the port of an `--inspect` argument on by slot + 1, as node:cluster does, so that the workers'
/// inspectors do not fight for one port. Port 0 stays.
fn inspect_port(argument: &str, slot: u16) -> String {
    let (name, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    };
    if !matches!(name, "--inspect" | "--inspect-brk" | "--inspect-port" | "--inspect-wait") {
        return argument.to_owned();
    }
    let moved = |port: u16| if port == 0 { 0 } else { port.saturating_add(slot).saturating_add(1) };
    match value {
        None => format!("{name}={}", moved(INSPECT_PORT)),
        Some(value) => match value.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => format!("{name}={host}:{}", moved(port)),
                Err(_) => argument.to_owned(),
            },
            None => match value.parse() {
                Ok(port) => format!("{name}={}", moved(port)),
                Err(_) => format!("{name}={value}:{}", moved(INSPECT_PORT)),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch {
            program: "node".into(),
            exec_argv: vec!["--max-old-space-size=64".into(), "--inspect".into()],
            preload: "/lib/preload.js".into(),
            script: "/app/server.js".into(),
            args: vec!["--fast".into()],
            env: BTreeMap::from([
                ("IPC_ENCRYPTION_KEY".into(), "secret".into()),
                ("NODE_ENV".into(), "production".into()),
            ]),
            cwd: None,
        }
    }

    #[test]
    fn an_inspector_is_known_wherever_it_was_asked_for() {
        let with = |arguments: &[&str], options: Option<&str>| {
            let exec_argv = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let env =
                options.map(|options| ("NODE_OPTIONS".to_owned(), options.to_owned())).into_iter().collect();
            Launch { exec_argv, env, ..launch() }.is_inspected()
        };
        assert!(with(&["--inspect"], None) && with(&["--inspect-brk=0"], None));
        assert!(with(&[], Some("--enable-source-maps --inspect-wait=127.0.0.1:9300")));
        assert!(!with(&["--inspect-port=9300"], Some("--enable-source-maps")) && !with(&[], None));
    }

    #[test]
    fn a_worker_inherits_the_arguments_and_its_inspector_moves_on() {
        let arguments = launch().arguments(2);
        let expected = [
            "--require",
            "/lib/preload.js",
            "--max-old-space-size=64",
            "--inspect=9232",
            "/app/server.js",
            "--fast",
        ];
        assert_eq!(arguments, expected);
        let cases = [
            ("--inspect=0", "--inspect=0"),
            ("--inspect=127.0.0.1:9300", "--inspect=127.0.0.1:9301"),
            ("--inspect-brk=9400", "--inspect-brk=9401"),
            ("--inspect=localhost", "--inspect=localhost:9230"),
            ("--import=x", "--import=x"),
        ];
        for (given, expected) in cases {
            assert_eq!(inspect_port(given, 0), expected);
        }
    }

    #[test]
    fn no_secret_is_in_a_workers_environment() {
        let environment = launch().environment(1);
        assert!(!environment.values().any(|value| value.contains("secret")));
        assert_eq!(environment["NODE_ENV"], "production");
        assert_eq!(environment["WORKER_ID"], "1");
        assert_eq!(environment["CLUSTER_WORKER"], "true");
    }
}
