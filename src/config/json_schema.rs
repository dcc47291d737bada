//! JSON Schemas, drafts 4 to 2020-12, for messages. A schema may refer to itself and to the drafts' own schemas;
//! nothing is ever loaded.

use std::error::Error;

use boon::{CompileError, Compiler, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;

/// The base URL of a schema without an `$id`: references are resolved against it.
const PLACE: &str = "drover:///schema";

struct Nothing;

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("{url} is not loaded: a schema can only refer to itself").into())
    }
}

pub struct JsonSchema {
    compiled: Schemas,
    root: SchemaIndex,
}

impl JsonSchema {
    /// # Errors
    /// Why it is not a valid schema, in words.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nothing));
        let mut compiled = Schemas::new();
        compiler.add_resource(PLACE, schema.clone()).map_err(in_words)?;
        let root = compiler.compile(PLACE, &mut compiled).map_err(in_words)?;
        Ok(Self { compiled, root })
    }

    /// The first `most` faults of `value`, in words; empty if it matches.
    pub fn faults(&self, value: &Value, most: usize) -> Vec<String> {
        let checked = self.compiled.validate(value, self.root);
        checked.map_or_else(|error| faults(&error).take(most).collect(), |()| Vec::new())
    }
}

/// The error on one line.
fn in_words(error: CompileError) -> String {
    let words = match &error {
        CompileError::ValidationError { src, .. } => faults(src).collect::<Vec<_>>().join("; "),
        CompileError::LoadUrlError { src, .. } => src.to_string(),
        error => error.to_string(),
    };
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The basic faults of an error, each with its place in the value.
fn faults<'a>(error: &'a ValidationError<'_, '_>) -> Box<dyn Iterator<Item = String> + 'a> {
    if error.causes.is_empty() {
        return Box::new(std::iter::once(format!("{} at '{}'", error.kind, error.instance_location)));
    }
    Box::new(error.causes.iter().flat_map(faults))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_fault_is_told_with_its_place() {
        let schema = json!({
            "$defs": { "id": { "type": "string", "pattern": "^[a-z]+$" } },
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": { "$ref": "#/$defs/id" },
                "tags": { "type": "array", "items": { "anyOf": [{ "type": "null" }, { "enum": ["a", "b"] }] } },
                "count": { "type": "integer", "multipleOf": 0.5, "minimum": 1 },
            },
            "additionalProperties": false,
        });
        let schema = JsonSchema::new(&schema).expect("a schema");
        let faults = |value: Value| schema.faults(&value, 3);
        assert_eq!(faults(json!({ "id": "abc", "tags": ["a", null], "count": 2 })), [""; 0]);
        for (value, places) in [
            (json!([]), vec!["at ''"]),
            (json!({}), vec!["at ''"]),
            (json!({ "id": "A" }), vec!["at '/id'"]),
            (json!({ "id": "a", "other": 1 }), vec!["at ''"]),
            (json!({ "id": "a", "tags": ["c"] }), vec!["at '/tags/0'", "at '/tags/0'"]),
            (json!({ "id": 5, "count": 0, "tags": 5, "x": 1 }), vec!["at '", "at '", "at '"]),
        ] {
            let found = faults(value.clone());
            assert_eq!(found.len(), places.len(), "{value}: {found:?}");
            for (fault, place) in found.iter().zip(places) {
                assert!(fault.contains(place), "{value}: {found:?}");
            }
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_and_nothing_is_loaded() {
        for (schema, says) in [
            (json!(5), ""),
            (json!({ "type": 5 }), "at '/type'"),
            (json!({ "pattern": "(" }), "regex"),
            (json!({ "$ref": "file:///etc/passwd" }), "not loaded"),
            (json!({ "$ref": "other" }), "not loaded"),
            (json!({ "$ref": "#/$defs/none" }), "none"),
        ] {
            let Err(why) = JsonSchema::new(&schema) else { panic!("{schema}") };
            assert!(why.contains(says) && !why.contains('\n'), "{schema}: {why}");
        }
        for schema in
            [json!(true), json!({}), json!({ "$schema": "http://json-schema.org/draft-07/schema#" })]
        {
            assert!(JsonSchema::new(&schema).is_ok(), "{schema}");
        }
    }
}
