//! What stands in front of buckets: addresses that stand for other objects.

use std::collections::BTreeMap;
use std::time::Duration;

use fallthrough_avatar::{Fallback, FrontSettings, SIZES};
use fallthrough_object::BucketName;
use url::Url;

use crate::settings::BucketDeclaration;
use crate::settings::section::Section;

/// The addresses of avatars in front of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AvatarFront {
    /// What they stand for.
    pub(crate) addresses: FrontSettings,
    /// How long people wait before they are shown a placeholder.
    pub(crate) patience: Option<Duration>,
}

/// Reads the fronts of all buckets. `buckets`: as they are declared, for their editions.
pub(super) fn read_all(
    root: &Section<'_>,
    buckets: &BTreeMap<BucketName, BucketDeclaration>,
) -> BTreeMap<BucketName, AvatarFront> {
    let mut fronts = BTreeMap::new();
    for (name, section) in root.named("bucket") {
        // What is wrong with the name is said where buckets are read.
        let Ok(name) = BucketName::parse(&name) else { continue };
        if section.is_set("front") {
            let edition = buckets.get(&name).and_then(|bucket| bucket.shadow.first()?.edition.clone());
            if let Some(front) = read(&section.section("front"), edition) {
                fronts.insert(name, front);
            }
        }
    }
    fronts
}

fn read(section: &Section<'_>, edition: Option<String>) -> Option<AvatarFront> {
    section.required("kind")?;
    section.word("kind")?;
    let word = section.word("default")?;
    let fallback = Fallback::parse(&word).unwrap_or_default();
    let mut sizes = Vec::new();
    for text in section.texts("sizes") {
        match text.parse().ok().filter(|size| SIZES.contains(size)) {
            Some(size) => sizes.push(size),
            None => {
                let all = SIZES.map(|size| size.to_string()).join(", ");
                section.problem(
                    "sizes",
                    format!("{}: {text:?} is no size that pictures are kept in", section.path_of("sizes")),
                    format!("choose some of {all}, or take it out"),
                );
            }
        }
    }
    let mut redirect_hosts = Vec::new();
    for text in section.texts("redirect-hosts") {
        match host(&text) {
            Some(host) => redirect_hosts.push(host),
            None => section.problem(
                "redirect-hosts",
                format!("{}: {text:?} is not the name of a host", section.path_of("redirect-hosts")),
                "write a name such as \"img.example.org\", with a port if it is an unusual one, without a scheme or a path",
            ),
        }
    }
    let addresses = FrontSettings {
        fallback,
        sizes,
        redirect_hosts,
        own_pictures: section.switch("own-pictures")?,
        edition,
    };
    Some(AvatarFront { addresses, patience: section.duration("patience") })
}

/// A host as URLs have it: in lower case, with its port where there is one.
fn host(text: &str) -> Option<String> {
    let url = Url::parse(&format!("http://{text}/")).ok()?;
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    // Anything else in the text would have become another part of the URL.
    (host == text.to_ascii_lowercase()).then_some(host)
}
