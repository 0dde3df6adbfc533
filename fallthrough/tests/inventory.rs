//! `fallthrough migrate inventory`: a served process is killed in the middle of one, and lists while its shadow is down.

mod served;

use std::time::Duration;

use fallthrough_sim::{FaultyOrigin, ListFault};
use served::Served;
use served::asking::await_within;
use served::client::Client;

const PATIENCE: Duration = Duration::from_secs(120);
const COUNT: usize = 4_500;

#[test]
fn an_inventory_goes_on_after_a_kill_and_lists_while_its_shadow_is_down() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let origin = runtime.block_on(FaultyOrigin::start_s3("old"));
    let script = origin.script();
    for n in 0..COUNT {
        script.object(&format!("k/{n:05}"), 1);
    }
    // Slow enough for the third page to be stopped while the second is on its way.
    script.list_fault(ListFault::Delay(Duration::from_secs(1)));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), "[network]\nallow-private-origins = true\n").unwrap();
    let serve = || Served::serve(folder.path(), &["--config", "c.toml"]);
    let mut here = serve();
    here.json(&["bucket", "create", "photos"]);
    let url = origin.url();
    let url = url.trim_end_matches('/');
    let shadow = ["--endpoint", url, "--name", "old", "--region", "us-east-1", "--no-probe"];
    let set = here.ctl(&[&["shadow", "set", "photos", "--inventory", "6h"][..], &shadow].concat());
    assert_eq!(set.code, 0, "{}{}", set.out, set.err);
    await_within(PATIENCE, "the second page", || script.list_calls() == 2).unwrap();
    script.list_fault(ListFault::NoAnswer);
    let one = |served: &Served| served.json(&["migrate", "inventory", "photos"])["inventories"][0].clone();
    await_within(PATIENCE, "two pages to be taken", || one(&here)["taking_objects"] == 2_000).unwrap();
    await_within(PATIENCE, "the third page to be asked for", || script.list_calls() == 3).unwrap();
    assert_eq!(one(&here)["state"], "none");
    assert_ne!(here.stop("-KILL"), 0);

    script.heal_all();
    here = serve();
    await_within(PATIENCE, "the rest to be taken", || one(&here)["state"] == "fresh").unwrap();
    let taken = one(&here);
    assert_eq!(taken["objects"].as_u64(), Some(COUNT as u64), "{taken}");
    assert_eq!((&taken["drift"], &taken["taking"]), (&serde_json::Value::Null, &false.into()), "{taken}");
    assert_eq!(script.list_calls(), 3 + 3, "no page that was taken is asked for again");

    script.list_fault(ListFault::Status(500));
    let client = Client::of(&here);
    for hundred in [0, 12, 44] {
        let names: Vec<String> = (0..100).map(|n| format!("k/{:05}", hundred * 100 + n)).collect();
        assert_eq!(client.list("/photos", &format!("k%2F{hundred:03}")).unwrap(), Ok(names));
    }
    assert_eq!(script.list_calls(), 6, "the shadow is not asked");

    script.heal_all();
    script.object("k/late", 1);
    script.remove("k/00007");
    script.remove("k/00008");
    here.json(&["migrate", "inventory", "photos", "--again"]);
    await_within(PATIENCE, "another one to be taken", || one(&here)["drift"]["added"] == 1).unwrap();
    let taken = one(&here);
    assert_eq!((&taken["drift"]["removed"], &taken["drift"]["changed"]), (&2.into(), &0.into()), "{taken}");
    let told = here.ctl(&["migrate", "inventory", "photos"]);
    assert!(told.out.contains("1 added, 2 removed, 0 changed"), "{}", told.out);
    assert_eq!(here.stop("-TERM"), 0);
}
