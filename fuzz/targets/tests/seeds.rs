//! The targets without libFuzzer: with every seed, with seeds changed a little, with random bytes.

use std::path::Path;

use fallthrough_fuzz_targets::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus-seeds").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// A seed with a few bytes changed, put in or taken out; or the beginning of it and the end of another.
fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any::<u8>()), 0..6);
    let two =
        (prop::sample::select(seeds.clone()), prop::sample::select(seeds), any::<prop::sample::Index>());
    (two, any::<bool>(), edits).prop_map(|((mut bytes, other, cut), splice, edits)| {
        if splice {
            let at = cut.index(bytes.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(at..).unwrap_or_default());
        }
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => bytes[at] = byte,
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    })
}

fn run(name: &str, target: Target) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    target(b"");
    seeds.iter().for_each(|seed| target(seed));
    let random = proptest::collection::vec(any::<u8>(), 0..200);
    let inputs = prop_oneof![4 => changed(seeds), 1 => random];
    // Nothing is kept from run to run: what libFuzzer or this finds becomes a seed by hand.
    let usual = ProptestConfig::default();
    let config = ProptestConfig { failure_persistence: None, cases: usual.cases.max(2048), ..usual };
    let ran = TestRunner::new(config).run(&inputs, |input| {
        target(&input);
        Ok(())
    });
    ran.unwrap_or_else(|broken| panic!("{name}: {broken}"));
}

/// A test for each target, so that each has a name of its own; which ones there are is compared below.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let found = TARGETS.iter().find(|(name, _)| *name == stringify!($name));
            let (name, target) = found.expect("it is a target");
            run(name, *target);
        })*

        #[test]
        fn every_target_is_tested() {
            let tested = [$(stringify!($name)),*];
            assert!(TARGETS.iter().map(|(name, _)| *name).eq(tested));
        }
    };
}

targets! {
    address answer blob chunked conditions configuration digests endpoint entry form framing list_page metadata names
    origin picture policy rate rights rows rule signature trace txt2img uri xml
}
