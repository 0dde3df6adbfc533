use std::collections::BTreeSet;

use serde_json::Value;

use crate::admin::health::OPENAPI;
use crate::admin::routes;

#[test]
fn the_description_and_the_routes_agree() {
    let described: Value = serde_json::from_str(OPENAPI).expect("openapi.json is JSON");
    let described = described["paths"].as_object().expect("paths is an object");
    let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    let routed: BTreeSet<&str> = routes::paths().into_iter().collect();
    assert_eq!(described, routed);
}
