//! `security`: restrictions of workers and of their messages.

use crate::config::json_schema::JsonSchema;
use crate::config::key::Key;
use crate::config::kind::{Kind, Refusal, Shape};
use crate::config::options::options;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The keys of the section.
pub const KEYS: &[&[Key]] = &[Security::KEYS, ProcessLimits::KEYS, Modules::KEYS, IpcPolicy::KEYS];

const RULES: Shape = Shape {
    allowed: "a list of { from, to, types }, each a string or a list of strings",
    read: read_rules,
    shown: true,
};

/// Converts each member to a list; an omitted member matches all.
fn read_rules(raw: &Value) -> Result<Value, Refusal> {
    let mut rules = Vec::new();
    for rule in raw.as_array().ok_or(None)? {
        let mut canonical = Map::from_iter(
            [("from", json!([])), ("to", json!([])), ("types", json!([]))].map(|(k, v)| (k.to_owned(), v)),
        );
        for (name, value) in rule.as_object().ok_or(None)? {
            let Some(place) = canonical.get_mut(name) else {
                return Err(Some(format!("{name:?} is not one of from, to, types")));
            };
            *place = match value {
                Value::String(_) => json!([value]),
                Value::Array(list) if list.iter().all(Value::is_string) => value.clone(),
                _ => return Err(None),
            };
        }
        rules.push(Value::Object(canonical));
    }
    Ok(Value::Array(rules))
}

const SCHEMAS: Shape =
    Shape { allowed: "an object from types of messages to JSON Schemas", read: read_schemas, shown: true };

fn read_schemas(raw: &Value) -> Result<Value, Refusal> {
    for (kind, schema) in raw.as_object().ok_or(None)? {
        if let Err(fault) = JsonSchema::new(schema) {
            return Err(Some(format!("the schema of {kind:?} is invalid: {fault}")));
        }
    }
    Ok(raw.clone())
}

options! {
    /// Restrictions of workers and of their messages.
    Security in "security." {
        isolate_workers: bool = false, "isolateWorkers": Kind::Bool,
            "isolate the workers from each other and from the user's other processes";
        sandbox: bool = false, "sandbox": Kind::Bool,
            "restrict the system calls and files of the workers";
        audit_log: Option<String> = null, "auditLog": Kind::Text,
            "a file with a record of each message between processes";
    }
    with {
        limits: ProcessLimits = "limits";
        modules: Modules = "modules";
        ipc: IpcPolicy = "ipc";
    }
}

options! {
    /// Limits of each worker with its own children.
    ProcessLimits in "security.limits." {
        processes: Option<u32> = null, "processes": Kind::COUNT,
            "maximum number of processes and threads of a worker with its children, where control groups can be made; a runtime itself has about a dozen threads";
    }
}

options! {
    /// The modules that workers may load.
    Modules in "security.modules." {
        /// None: all modules that `deny` does not list.
        allow: Option<Vec<String>> = null, "allow": Kind::Texts,
            "modules the workers may load; all others are refused";
        deny: Vec<String> = [], "deny": Kind::Texts,
            "modules the workers may not load";
    }
}

options! {
    /// The messages that are allowed.
    IpcPolicy in "security.ipc." {
        /// None: all messages are allowed.
        allow: Option<Vec<Rule>> = null, "allow": Kind::Shaped(&RULES),
            "the allowed messages by sender, receiver and type; all others are refused";
        schemas: Map<String, Value> = {}, "schemas": Kind::Shaped(&SCHEMAS),
            "a JSON Schema for each type of message";
    }
}

/// One allowed kind of messages; an empty list matches all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    pub from: Vec<String>,
    pub to: Vec<String>,
    pub types: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_is_none_is_refused() {
        assert!(read_schemas(&json!({ "task": { "type": "object" }, "any": true })).is_ok());
        for (schemas, says) in
            [(json!({ "task": { "type": 5 } }), "\"task\""), (json!({ "task": 5 }), "\"task\"")]
        {
            let Err(Some(why)) = read_schemas(&schemas) else { panic!("{schemas}") };
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn a_rule_names_each_side_once_or_in_a_list() {
        let raw = json!([{ "from": "0", "types": ["a", "b"] }]);
        assert_eq!(read_rules(&raw), Ok(json!([{ "from": ["0"], "to": [], "types": ["a", "b"] }])));
        for wrong in [json!([{ "form": "0" }]), json!([{ "from": 0 }]), json!(["0"]), json!({})] {
            assert!(read_rules(&wrong).is_err(), "{wrong}");
        }
    }
}
