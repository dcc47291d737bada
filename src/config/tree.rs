//! JSON objects addressed by dotted paths (`processManagement.maxRestarts`): the canonical form that the
//! typed configuration is read from.

use serde_json::{Map, Value};

/// The value at `path`; nothing and `null` are the same.
pub fn get<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, name| node.get(name)).filter(|value| !value.is_null())
}

/// Puts `value` at `path`, creating the objects on the path; other values in their place are replaced.
pub fn put(tree: &mut Value, path: &str, value: Value) {
    let mut node = tree;
    for name in path.split('.') {
        if !node.is_object() {
            *node = Value::Object(Map::new());
        }
        // Indexing an object by a name inserts `null` if the name is missing.
        node = &mut node[name];
    }
    *node = value;
}

/// Removes every `null`, and every object that is empty after that.
pub fn without_nulls(tree: Value) -> Value {
    match tree {
        Value::Object(object) => {
            let kept = object.into_iter().filter_map(|(name, value)| {
                let empty_before = value.as_object().is_some_and(Map::is_empty);
                let value = without_nulls(value);
                let emptied = !empty_before && value.as_object().is_some_and(Map::is_empty);
                (!value.is_null() && !emptied).then_some((name, value))
            });
            Value::Object(kept.collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_put_is_found_and_its_neighbours_stay() {
        let mut tree = json!({ "a": { "b": 1 }, "s": 5 });
        put(&mut tree, "a.c.d", json!(2));
        put(&mut tree, "s.x", json!(3));
        assert_eq!(tree, json!({ "a": { "b": 1, "c": { "d": 2 } }, "s": { "x": 3 } }));
        assert_eq!(get(&tree, "a.c.d"), Some(&json!(2)));
        assert_eq!(get(&tree, "a.x.d"), None);
        assert_eq!(get(&json!({ "a": null }), "a"), None);
    }

    #[test]
    fn nulls_go_and_given_empty_objects_stay() {
        let tree = json!({ "a": null, "b": { "c": null }, "d": {}, "e": [null] });
        assert_eq!(without_nulls(tree), json!({ "d": {}, "e": [null] }));
    }
}
