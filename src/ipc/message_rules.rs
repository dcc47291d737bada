//! The rules of `security.ipc`: allowed senders, receivers and types, and the schemas of types. PURE. Applied in the
//! primary before delivery; responses are always allowed, because their requests were checked.

use std::collections::HashMap;

use serde_json::Value;

use super::message::{Format, Peer, json_of};
use crate::config::IpcPolicy;
use crate::config::IpcRule;
use crate::config::JsonSchema;

/// The reason that a message is not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No rule allows it.
    Forbidden,
    /// It does not match the schema of its type; with an explanation.
    Misshapen(String),
}

pub struct Policy {
    allow: Option<Vec<IpcRule>>,
    schemas: HashMap<String, JsonSchema>,
}

/// Whether the peer is one of the names in a rule.
fn is_meant(names: &[String], peer: Peer) -> bool {
    names.is_empty()
        || names.iter().any(|name| match (name.as_str(), peer) {
            ("*", _) | ("primary" | "master", Peer::Primary) | ("worker", Peer::Worker(_)) => true,
            (name, Peer::Worker(worker)) => name == worker.to_string(),
            (_, Peer::Primary) => false,
        })
}

impl Policy {
    /// None if all messages are allowed and there is nothing to check.
    pub fn of(config: &IpcPolicy) -> Option<Self> {
        // Invalid schemas were rejected with the configuration.
        let schemas = config
            .schemas
            .iter()
            .filter_map(|(kind, schema)| JsonSchema::new(schema).ok().map(|schema| (kind.clone(), schema)));
        let policy = Self { allow: config.allow.clone(), schemas: schemas.collect() };
        (policy.allow.is_some() || !policy.schemas.is_empty()).then_some(policy)
    }

    /// # Errors
    /// The reason for the refusal.
    pub fn check(
        &self,
        from: Peer,
        to: Peer,
        kind: &str,
        format: Format,
        body: &[u8],
    ) -> Result<(), Refusal> {
        if !self.is_allowed(from, to, kind) {
            return Err(Refusal::Forbidden);
        }
        let Some(schema) = self.schemas.get(kind) else { return Ok(()) };
        let Some(text) = json_of(format, body) else {
            return Err(Refusal::Misshapen("only JSON can be validated against a schema".into()));
        };
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| Refusal::Misshapen(format!("it is no JSON: {error}")))?;
        let faults = schema.faults(&value, 3);
        if faults.is_empty() { Ok(()) } else { Err(Refusal::Misshapen(faults.join("; "))) }
    }

    fn is_allowed(&self, from: Peer, to: Peer, kind: &str) -> bool {
        let Some(rules) = &self.allow else { return true };
        rules.iter().any(|rule| {
            let has_type =
                rule.types.is_empty() || rule.types.iter().any(|allowed| allowed == "*" || allowed == kind);
            has_type && is_meant(&rule.from, from) && is_meant(&rule.to, to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WorkerId;
    use serde_json::json as value;

    const PRIMARY: Peer = Peer::Primary;

    fn worker(slot: u16) -> Peer {
        Peer::Worker(WorkerId { slot, generation: 3 })
    }

    fn policy(config: Value) -> Policy {
        Policy::of(&serde_json::from_value(config).unwrap()).expect("there is something to check")
    }

    fn rule(from: &[&str], to: &[&str], types: &[&str]) -> Value {
        value!({ "from": from, "to": to, "types": types })
    }

    #[test]
    fn without_rules_and_schemas_there_is_nothing_to_check() {
        let config = value!({ "allow": null, "schemas": {} });
        assert!(Policy::of(&serde_json::from_value(config).unwrap()).is_none());
    }

    #[test]
    fn only_what_a_rule_names_may_pass() {
        let policy = policy(value!({
            "allow": [
                rule(&["primary"], &["worker"], &["config:update"]),
                rule(&["worker"], &["primary"], &[]),
                rule(&["0"], &["1", "2"], &["task"]),
            ],
            "schemas": {},
        }));
        let check = |from, to, kind: &str| policy.check(from, to, kind, Format::Json, b"{}").is_ok();
        for (from, to, kind, allowed) in [
            (PRIMARY, worker(5), "config:update", true),
            (PRIMARY, worker(5), "task", false),
            (worker(5), PRIMARY, "anything", true),
            (worker(0), worker(1), "task", true),
            (worker(0), worker(3), "task", false),
            (worker(1), worker(0), "task", false),
            (worker(0), worker(1), "config:update", false),
        ] {
            assert_eq!(check(from, to, kind), allowed, "{from:?} {to:?} {kind}");
        }
    }

    #[test]
    fn no_rule_at_all_forbids_everything() {
        let policy = policy(value!({ "allow": [], "schemas": {} }));
        assert_eq!(policy.check(PRIMARY, worker(0), "x", Format::Json, b"{}"), Err(Refusal::Forbidden));
    }

    #[test]
    fn a_message_of_a_type_with_a_schema_must_match_it() {
        let schema = value!({
            "type": "object",
            "properties": { "data": { "type": "object", "required": ["id"] } },
            "required": ["data"],
        });
        let policy = policy(value!({ "allow": null, "schemas": { "task": schema } }));
        let check =
            |kind: &str, format, body: &str| policy.check(PRIMARY, worker(0), kind, format, body.as_bytes());
        assert_eq!(check("task", Format::Json, r#"{"type":"task","data":{"id":1}}"#), Ok(()));
        assert_eq!(check("other", Format::Json, "anything"), Ok(()));
        for (format, body, says) in [
            (Format::Json, r#"{"type":"task"}"#, "data"),
            (Format::Json, r#"{"type":"task","data":{}}"#, "at '/data'"),
            (Format::Json, "{", "no JSON"),
            (Format::Clone, r#"{"type":"task","data":{"id":1}}"#, "only JSON"),
        ] {
            let Err(Refusal::Misshapen(why)) = check("task", format, body) else { panic!("{body}") };
            assert!(why.contains(says), "{why}");
        }
    }
}
