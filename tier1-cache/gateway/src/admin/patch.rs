//! Changing some fields and leaving the others (RFC 7396), and telling the difference.

use serde_json::Value;

use crate::admin::view::Difference;

/// Fields that say where a rule leads: naming one way forgets the others.
const WAYS: [(&str, &[&str]); 4] = [
    ("origin", &["endpoint", "name", "region", "addressing", "access_key", "secret_key", "url"]),
    ("endpoint", &["origin", "url", "addressing"]),
    // Another provider is elsewhere: what is not said anew follows from it.
    ("provider", &["origin", "url", "endpoint", "region", "addressing"]),
    ("url", &["origin", "endpoint", "name", "region", "addressing", "access_key", "secret_key"]),
];

/// Lays `patch` over `rule`: `null` removes a field, anything else replaces it.
pub(crate) fn merge(rule: &mut Value, patch: &Value) {
    let (Some(rule), Some(patch)) = (rule.as_object_mut(), patch.as_object()) else {
        *rule = patch.clone();
        return;
    };
    for (way, others) in WAYS {
        if patch.get(way).is_some_and(|value| !value.is_null()) {
            for other in others.iter().filter(|other| !patch.contains_key(**other)) {
                rule.remove(*other);
            }
        }
    }
    for (name, value) in patch {
        if value.is_null() {
            rule.remove(name);
        } else {
            rule.insert(name.clone(), value.clone());
        }
    }
}

/// Every leaf in which two JSON values differ, in order of its path.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(String::new(), before, after, &mut found);
    found
}

fn walk(path: String, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> =
                a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))).collect();
            names.sort();
            for name in names {
                walk(
                    below(name),
                    a.get(name).unwrap_or(&Value::Null),
                    b.get(name).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for index in 0..a.len().max(b.len()) {
                let at = |list: &[Value]| list.get(index).cloned().unwrap_or(Value::Null);
                walk(below(&index.to_string()), &at(a), &at(b), found);
            }
        }
        // A whole rule that came or went is told field by field.
        (Value::Null, Value::Object(_)) => walk(path, &Value::Object(serde_json::Map::new()), after, found),
        (Value::Object(_), Value::Null) => walk(path, before, &Value::Object(serde_json::Map::new()), found),
        (a, b) if a == b => {}
        (a, b) => found.push(Difference { field: path, before: a.clone(), after: b.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_leaves_what_it_does_not_name_and_null_removes() {
        let mut rule = json!({"endpoint": "https://a", "name": "n", "region": "r", "prefix": "p/"});
        merge(&mut rule, &json!({"region": "s", "prefix": null}));
        assert_eq!(rule, json!({"endpoint": "https://a", "name": "n", "region": "s"}));
    }

    #[test]
    fn another_way_forgets_the_fields_of_the_old_one() {
        let mut rule = json!({"endpoint": "https://a", "name": "n", "region": "r", "edition": "v1"});
        merge(&mut rule, &json!({"origin": "avatar"}));
        assert_eq!(rule, json!({"origin": "avatar", "edition": "v1"}));
    }

    #[test]
    fn another_provider_forgets_where_the_old_one_was() {
        let mut rule =
            json!({"endpoint": "https://a", "name": "n", "region": "r", "addressing": "virtual-host"});
        merge(&mut rule, &json!({"provider": "wasabi", "region": "eu-west-1"}));
        assert_eq!(rule, json!({"provider": "wasabi", "name": "n", "region": "eu-west-1"}));
    }

    #[test]
    fn differences_name_each_field_once() {
        let before = json!({"mode": "plain", "shadow": []});
        let after = json!({"mode": "migrate", "shadow": [{"url": "http://x", "prefix": "p"}]});
        let told: Vec<String> = differences(&before, &after)
            .iter()
            .map(|d| format!("{}: {} -> {}", d.field, d.before, d.after))
            .collect();
        assert_eq!(
            told,
            [
                "mode: \"plain\" -> \"migrate\"",
                "shadow.0.prefix: null -> \"p\"",
                "shadow.0.url: null -> \"http://x\"",
            ]
        );
        assert!(differences(&after, &after).is_empty());
    }
}
