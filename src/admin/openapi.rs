//! The API's own description (OpenAPI 3.1): `openapi.json`, in which placeholders `$name` are filled in from the code.

use serde_json::{Value, json};

use super::logs;
use crate::component::Component;
use crate::metrics::history::SERIES;

/// The largest safe integer of JavaScript.
const MAX_INTEGER: u64 = (1 << 53) - 1;

pub fn document() -> Value {
    // The test below reads it.
    let mut document = serde_json::from_str(include_str!("openapi.json")).unwrap_or_default();
    fill(&mut document);
    document
}

fn fill(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(fill),
        Value::Object(members) => members.values_mut().for_each(fill),
        Value::String(text) => {
            if let Some(known) = text.strip_prefix('$').and_then(known) {
                *value = known;
            }
        }
        _ => {}
    }
}

fn known(name: &str) -> Option<Value> {
    Some(match name {
        "version" => json!(env!("CARGO_PKG_VERSION")),
        "series" => json!(SERIES),
        "levels" => json!(logs::LEVELS),
        "ownLevels" => json!(logs::OWN_LEVELS),
        "components" => Component::NAMES.into_iter().map(Value::from).chain([Value::Null]).collect(),
        "maxLines" => json!(logs::MAX_LINES),
        "maxInteger" => json!(MAX_INTEGER),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_whole_and_every_name_in_it_is_known() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let text = document.to_string();
        assert!(!text.contains(r#":"$"#), "{text}");
        let metric = &document["paths"]["/cluster/history"]["get"]["parameters"][0];
        assert_eq!(metric["schema"]["enum"], json!(SERIES));
    }
}
