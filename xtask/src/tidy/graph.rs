//! Who may use whom: `fallthrough → gateway → bucket → {store, shadow} → {wire, object}`.
//!
//! Also the foreign crates that would break a promise of a tier: an engine with an HTTP server in it, an
//! origin that compiles a client.

use std::collections::BTreeMap;

use serde_json::Value;

/// One member of the workspace.
#[derive(Debug)]
struct Rule {
    /// Name of the package.
    package: &'static str,
    /// Packages of ours that it may use.
    may_use: &'static [&'static str],
    /// Whether its tests may use the test world.
    sim_in_tests: bool,
}

const fn rule(package: &'static str, may_use: &'static [&'static str], sim_in_tests: bool) -> Rule {
    Rule { package, may_use, sim_in_tests }
}

const OBJECT: &str = "fallthrough-object";
const WIRE: &str = "fallthrough-wire";
const STORE: &str = "fallthrough-store";
const SHADOW: &str = "fallthrough-shadow";
const BUCKET: &str = "fallthrough-bucket";
const GATEWAY: &str = "fallthrough-gateway";
const ORIGIN: &str = "fallthrough-origin";
const AVATAR: &str = "fallthrough-avatar";
const DIFFUSION: &str = "fallthrough-diffusion";
const CANDLE: &str = "fallthrough-candle";
const SIM: &str = "fallthrough-sim";
const SIMULATION: &str = "fallthrough-simulation";
const FUZZ: &str = "fallthrough-fuzz-targets";
const SUITE: &str = "fallthrough-suite";
const EXAMPLES: &str = "fallthrough-examples";
const SERVER: &str = "fallthrough-server";

/// The whole graph. A member that is not listed is a finding, so that a new crate is a decision.
const GRAPH: &[Rule] = &[
    rule(OBJECT, &[], false),
    rule(WIRE, &[OBJECT], false),
    rule(STORE, &[WIRE, OBJECT], false),
    rule(SHADOW, &[WIRE, OBJECT], true),
    rule(BUCKET, &[STORE, SHADOW, WIRE, OBJECT], true),
    rule(GATEWAY, &[BUCKET, WIRE, OBJECT], true),
    rule(ORIGIN, &[WIRE, OBJECT], true),
    rule(AVATAR, &[ORIGIN, DIFFUSION, OBJECT], true),
    rule(DIFFUSION, &[OBJECT], false),
    rule(CANDLE, &[DIFFUSION], false),
    rule(SIM, &[SHADOW, WIRE, OBJECT], false),
    rule(SIMULATION, &[GATEWAY, BUCKET, STORE, SHADOW, SIM, WIRE, OBJECT], false),
    rule(SERVER, &[GATEWAY, BUCKET, STORE, SHADOW, ORIGIN, AVATAR, CANDLE, DIFFUSION, WIRE, OBJECT], true),
    rule(FUZZ, &[GATEWAY, BUCKET, STORE, SHADOW, ORIGIN, AVATAR, DIFFUSION, WIRE, OBJECT], false),
    rule(SUITE, &[WIRE, OBJECT], false),
    rule(EXAMPLES, &[ORIGIN, SHADOW, WIRE, OBJECT], false),
    rule("xtask", &[WIRE, OBJECT], false),
];

/// A foreign crate, and the only members that may link it.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("s3s", &[GATEWAY], "its generated types stay within the gateway"),
    ("redb", &[STORE], "the metadata engine stays behind the store's traits"),
    ("axum", &[GATEWAY, DIFFUSION, SERVER], "the engine and the origins' SDK know no web framework"),
    ("hyper", &[GATEWAY, SHADOW, ORIGIN, SERVER], "the engine never sees HTTP"),
    ("reqwest", &[SHADOW, DIFFUSION, SERVER], "a small origin does not compile a client"),
    ("candle-core", &[CANDLE], "tensors stay behind the model tier's one trait"),
    ("clap", &[SERVER], "arguments are the binary's business"),
    ("figment", &[SERVER], "settings are read in one place and handed in"),
];

/// Whether `package` can be reached by edges of the graph.
fn lies_behind(rule: &Rule, package: &str) -> bool {
    let behind = |name: &&str| GRAPH.iter().find(|rule| rule.package == *name);
    rule.may_use.contains(&package)
        || rule.may_use.iter().filter_map(behind).any(|rule| lies_behind(rule, package))
}

/// What in the workspace's dependencies breaks a rule.
pub(super) fn findings(metadata: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let rules: BTreeMap<_, _> = GRAPH.iter().map(|rule| (rule.package, rule)).collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(rule) = rules.get(name) else {
            findings.push(format!("{name} is not in the crate graph: name in xtask what it may use"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let in_tests = dependency["kind"].as_str() == Some("dev");
            if rules.contains_key(used) {
                // Tests bring together what the program brings together: anything that lies further to the right.
                // The suite is run against the program, and against nothing less.
                let by_suite = rule.package == SERVER && used == SUITE;
                let allowed = rule.may_use.contains(&used)
                    || (in_tests
                        && (lies_behind(rule, used) || by_suite || (rule.sim_in_tests && used == SIM)));
                if !allowed {
                    findings.push(format!("{name} must not use {used}: the graph has no such edge"));
                }
            } else if dependency["path"].is_string() {
                findings.push(format!("{name} uses {used} by a path that is no member of this workspace"));
            }
            for (foreign, members, why) in ONLY_IN {
                if used == *foreign && !in_tests && !members.contains(&name) {
                    findings.push(format!("{name} must not use {foreign}: {why}"));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workspace(package: &str, dependency: Value) -> Vec<String> {
        findings(&json!({ "packages": [{ "name": package, "dependencies": [dependency] }] }))
    }

    #[test]
    fn edges_to_the_left_are_found() {
        let normal = |name: &str| json!({ "name": name, "kind": null, "path": "/x" });
        let test = |name: &str| json!({ "name": name, "kind": "dev", "path": "/x" });
        assert!(workspace(GATEWAY, normal(BUCKET)).is_empty());
        assert!(workspace(BUCKET, test(SIM)).is_empty());
        assert_eq!(workspace(STORE, normal(SHADOW)).len(), 1, "store and shadow do not know each other");
        assert_eq!(workspace(GATEWAY, normal(STORE)).len(), 1, "the gateway never sees the store");
        assert!(workspace(GATEWAY, test(STORE)).is_empty(), "its tests need a whole engine");
        assert_eq!(workspace(SHADOW, test(STORE)).len(), 1, "store and shadow do not meet, in tests neither");
        assert_eq!(workspace(BUCKET, normal(SIM)).len(), 1, "the test world is for tests");
        assert_eq!(workspace(STORE, test(SIM)).len(), 1, "the store is tested without the test world");
        assert!(workspace(SERVER, test(SUITE)).is_empty(), "the suite is run against the program");
        assert_eq!(workspace(SERVER, normal(SUITE)).len(), 1, "and is no part of it");
        assert_eq!(
            workspace(SUITE, normal(GATEWAY)).len(),
            1,
            "it knows of a server what stands on the wire"
        );
        assert_eq!(workspace(DIFFUSION, normal(WIRE)).len(), 1, "the model tier knows no S3");
        assert_eq!(workspace(DIFFUSION, normal(CANDLE)).len(), 1, "samplers and prompts need no tensors");
    }

    #[test]
    fn foreign_crates_stay_where_they_belong() {
        let foreign = |name: &str, kind: Value| json!({ "name": name, "kind": kind, "path": null });
        assert!(workspace(GATEWAY, foreign("s3s", Value::Null)).is_empty());
        assert_eq!(workspace(BUCKET, foreign("s3s", Value::Null)).len(), 1);
        assert_eq!(workspace(ORIGIN, foreign("reqwest", Value::Null)).len(), 1);
        assert!(workspace(ORIGIN, foreign("axum", json!("dev"))).is_empty());
        assert_eq!(workspace("fallthrough-new", foreign("bytes", Value::Null)).len(), 1);
    }
}
