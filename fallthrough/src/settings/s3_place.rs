//! Where a bucket at an S3 provider is, from the keys `provider`, `endpoint`, `region` and `addressing`.

use fallthrough_object::S3Place;

use crate::settings::section::{Section, parse_url};

/// Reads the keys of `section`; a problem and `None` if they do not say it.
pub(super) fn read(section: &Section<'_>, bucket: &str) -> Option<S3Place> {
    let word = |name| section.is_set(name).then(|| section.word(name));
    let (provider, addressing) = (word("provider"), word("addressing"));
    let endpoint = section.is_set("endpoint").then(|| section.url("endpoint"));
    // A key that is set and wrong was noted.
    let endpoint = match endpoint {
        Some(url) => Some(url?.as_str().trim_end_matches('/').to_owned()),
        None => None,
    };
    let provider = provider.map(|word| word?.parse().ok());
    let addressing = addressing.map(|word| word?.parse().ok());
    if matches!(provider, Some(None)) || matches!(addressing, Some(None)) {
        return None;
    }
    let region = section.text("region");
    let place =
        S3Place::of(provider.flatten(), bucket, endpoint.as_deref(), region.as_deref(), addressing.flatten());
    let place =
        place.map_err(|missing| section.problem("", format!("{}: {missing}", section.path), "add it"));
    let place = place.ok()?;
    // A provider's endpoint has the region in it.
    let url = parse_url(&place.endpoint);
    url.map_err(|wrong| section.problem("region", format!("{}.region: {wrong}", section.path), "mend it"))
        .ok()?;
    Some(place)
}
