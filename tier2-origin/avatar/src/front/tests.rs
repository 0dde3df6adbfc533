use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::mutants::caught;

const MD5: &str = "27205e5c51cb03f862138b22bcb5dc20";

fn front() -> Front {
    Front::new(FrontSettings {
        redirect_hosts: vec!["img.example.org".to_owned(), "local.example.org:8080".to_owned()],
        edition: Some("v2".to_owned()),
        ..FrontSettings::default()
    })
}

fn plan_of(front: &Front, key: &str, query: &str) -> Option<Plan> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    front.plan(key, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What is read for an address, or what else is answered.
fn told(key: &str, query: &str) -> String {
    match plan_of(&front(), key, query) {
        None => "no avatar".to_owned(),
        Some(Plan { then: Then::Object { key, .. }, .. }) => key.replace(MD5, "M"),
        Some(Plan { then: Then::Absent, .. }) => "404".to_owned(),
        Some(Plan { then: Then::Redirect(url), .. }) => format!("302 {url}"),
    }
}

#[test]
fn an_address_stands_for_one_object() {
    let (upper, sha256) = (MD5.to_uppercase(), MD5.repeat(2));
    let rows = [
        (MD5, "", "M/80.jpg"),
        (&upper, "", "M/80.jpg"),
        (&sha256, "", "MM/80.jpg"),
        (&format!("{MD5}.jpeg"), "s=80", "M/80.jpg"),
        (&format!("{MD5}.png"), "", "M/80.png"),
        (&format!("{MD5}.webp"), "size=200", "M/256.webp"),
        (MD5, "s=1", "M/32.jpg"),
        (MD5, "s=33", "M/80.jpg"),
        (MD5, "s=2048", "M/1024.jpg"),
        (MD5, "s=99999999999999999999", "M/1024.jpg"),
        (MD5, "s=0", "M/80.jpg"),
        (MD5, "s=-5", "M/80.jpg"),
        (MD5, "s=+128", "M/80.jpg"),
        (MD5, "s=", "M/80.jpg"),
        (MD5, "s=1e3", "M/80.jpg"),
        // The short name and the first value count.
        (MD5, "size=512&s=128&s=32", "M/128.jpg"),
        (MD5, "d=gen", "M/80.jpg"),
        (MD5, "d=identicon&s=64", "M/80.identicon.jpg"),
        (MD5, "default=Retro", "M/80.retro.jpg"),
        (MD5, "d=mm", "any/80.mp.jpg"),
        (MD5, "d=mp", "any/80.mp.jpg"),
        (MD5, "d=blank&s=10", "any/32.blank.jpg"),
        (MD5, "d=monsterid", "M/80.monsterid.jpg"),
        (MD5, "d=404", "404"),
        (MD5, "d=404&f=y", "404"),
        (MD5, "d=nothing-known", "M/80.jpg"),
        (MD5, "r=x&rating=pg&utm_source=x&cachebuster=7", "M/80.jpg"),
        ("favicon.ico", "d=404", "no avatar"),
        (&MD5[1..], "", "no avatar"),
        (&format!("{MD5}/80.jpg"), "s=512", "no avatar"),
        (&format!("x{MD5}"), "", "no avatar"),
        (&format!("{MD5}.gif"), "", "no avatar"),
        ("", "", "no avatar"),
    ];
    for (key, query, want) in rows {
        assert_eq!(told(key, query), want, "{key}?{query}");
    }
}

fn only_listed_hosts() {
    let led = |url: &str| {
        told(MD5, &format!("d={}", url::form_urlencoded::byte_serialize(url.as_bytes()).collect::<String>()))
    };
    assert_eq!(led("https://img.example.org/a.png?x=1"), "302 https://img.example.org/a.png?x=1");
    assert_eq!(led("http://IMG.example.org/"), "302 http://img.example.org/");
    assert_eq!(led("http://local.example.org:8080/a"), "302 http://local.example.org:8080/a");
    for url in [
        "https://evil.example/a.png",
        "https://evil-img.example.org/",
        "https://img.example.org.evil.example/",
        "https://img.example.org@evil.example/",
        "https://user@img.example.org/",
        "https://user:word@img.example.org/",
        "https://img.example.org:8443/",
        "http://local.example.org/a",
        "//img.example.org/a.png",
        "/a.png",
        "javascript:alert(1)//img.example.org",
        "ftp://img.example.org/a.png",
        "data:image/png;base64,AAAA",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://169.254.169.254/latest/meta-data",
        "https://img.example.org\\@evil.example/",
        &format!("https://img.example.org/{}", "a".repeat(REDIRECT_BYTES_MAX)),
    ] {
        let answer = led(url);
        assert!(
            answer == "M/80.jpg" || answer.starts_with("302 https://img.example.org/@"),
            "{url} leads to {answer}"
        );
    }
    let closed = Front::new(FrontSettings::default());
    let plan = plan_of(&closed, MD5, "d=https://img.example.org/a.png").unwrap();
    assert!(matches!(plan.then, Then::Object { .. }), "no list, no redirect");
}

#[test]
fn an_address_leads_elsewhere_only_to_hosts_on_the_list() {
    only_listed_hosts();
    assert!(caught(Mutant::RedirectHostIsASuffix, only_listed_hosts));
}

fn few_objects() {
    let front = front();
    let mut keys = BTreeSet::new();
    for side in 0..3000 {
        for more in ["", "&d=gen", "&x=1", "&d=GEN&v=v2", "&f=y&r=g"] {
            let plan = plan_of(&front, MD5, &format!("s={side}{more}")).unwrap();
            let Then::Object { key, side_px } = plan.then else { panic!("an object") };
            assert!(AvatarKey::parse(&key).is_ok(), "{key} can be asked for");
            assert!(side_px >= plan.side_px || side_px == 1024);
            keys.insert(key);
        }
    }
    assert_eq!(keys.len(), SIZES.len());
}

#[test]
fn nobody_can_multiply_objects() {
    few_objects();
    assert!(caught(Mutant::SizesMultiply, few_objects));
}

#[test]
fn sizes_that_are_kept_can_be_few() {
    let front = Front::new(FrontSettings { sizes: vec![256, 81, 256], ..FrontSettings::default() });
    for side in [1, 80, 256, 257, 2048] {
        let plan = plan_of(&front, MD5, &format!("s={side}")).unwrap();
        assert_eq!(plan.side_px, side);
        assert_eq!(plan.then, Then::Object { key: format!("{MD5}/256.jpg"), side_px: 256 });
    }
}

#[test]
fn pictures_of_their_own_come_first_unless_the_default_is_forced() {
    let front = Front::new(FrontSettings { own_pictures: true, ..FrontSettings::default() });
    let own = |query: &str| plan_of(&front, &MD5.to_uppercase(), query).unwrap().own;
    assert_eq!(own("d=404"), Some(format!("own/{MD5}")));
    for query in ["f=y", "forcedefault=Y", "f=y&d=404"] {
        assert_eq!(own(query), None, "{query}");
    }
    for query in ["f=n", "f=", "forcedefault=1", "f=n&forcedefault=y"] {
        assert!(own(query).is_some(), "{query}");
    }
    assert_eq!(plan_of(&Front::new(FrontSettings::default()), MD5, "").unwrap().own, None);
}

#[test]
fn only_an_address_with_the_present_edition_is_for_ever() {
    let forever = |front: &Front, query: &str| plan_of(front, MD5, query).unwrap().forever;
    assert!(forever(&front(), "v=v2"));
    for query in ["", "v=v1", "v=", "edition=v2", "V=v2"] {
        assert!(!forever(&front(), query), "{query}");
    }
    assert!(!forever(&Front::new(FrontSettings::default()), "v="));
}

proptest! {
    #[test]
    fn any_address_is_answered_with_a_key_that_can_exist(key in "[0-9a-fA-F]{32}(\\.png)?|\\PC{0,70}", query in "\\PC{0,60}") {
        if let Some(plan) = plan_of(&front(), &key, &query)
            && let Then::Object { key, .. } = plan.then
        {
            prop_assert!(AvatarKey::parse(&key).is_ok(), "{}", key);
        }
    }
}
