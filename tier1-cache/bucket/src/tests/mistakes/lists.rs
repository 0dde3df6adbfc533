//! A mistake with lists: a page that ends somewhere, and a next one that begins somewhere else.

use super::super::planted::{assert_caught, missed};
use super::super::world::World;
use crate::core::mutants::Mutant;
use crate::{BucketMode, ListRequest};

/// Keys here, at the shadow, and deleted, in each other's gaps and in long runs, by pages of every size.
async fn pages() {
    let world = World::new(BucketMode::Migrate).await;
    let mut expected = Vec::new();
    for number in 0..60 {
        let name = format!("k/{:02}/{number:02}", number / 8);
        match number {
            // A run of the shadow's alone, longer than a page; a run of ours alone; a run of deleted ones.
            0..20 => drop(world.origin.object(&name, 1)),
            20..30 => world.put(&name, "ours").await.unwrap(),
            30..40 => {
                world.origin.object(&name, 1);
                world.delete(&name).await;
                continue;
            }
            _ if number % 3 == 0 => world.put(&name, "ours").await.unwrap(),
            _ if number % 3 == 1 => {
                world.origin.object(&name, 1);
                world.delete(&name).await;
                continue;
            }
            _ => drop(world.origin.object(&name, 1)),
        }
        expected.push(name);
    }
    let mut prefixes: Vec<String> = expected.iter().map(|name| name[..5].to_owned()).collect();
    prefixes.dedup();
    for max_keys in (1..=12).chain([29, 30, 31, 1000]) {
        let all = ListRequest { max_keys, ..ListRequest::default() };
        assert_eq!(world.names(all.clone()).await, expected, "pages of {max_keys}");
        let delimiter = Some("/".to_owned());
        let collapsed = ListRequest { delimiter, prefix: "k/".to_owned(), ..all };
        assert_eq!(world.names(collapsed).await, prefixes, "prefixes, pages of {max_keys}");
    }
}

/// 18. A page of a merged list passes over keys that the shadow has.
#[tokio::test(start_paused = true)]
async fn mistake_18_a_page_of_a_list_loses_keys_of_the_shadow() {
    pages().await;
}

#[test]
fn planted_bugs_are_caught() {
    assert_caught([missed(Mutant::PagePassesOverShadow, pages)]);
}
