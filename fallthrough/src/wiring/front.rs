//! Avatars' addresses in front of buckets: what [`fallthrough_avatar::Front`] says, as the gateway asks it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fallthrough_avatar::Then;
use fallthrough_diffusion::painter::emblem::{self, Emblem};
use fallthrough_diffusion::{Format, encode};
use fallthrough_gateway::{Front, FrontPlan, FrontThen};
use fallthrough_object::{BucketName, Key};
use fallthrough_wire::uri::Query;

use crate::settings::{AvatarFront, Settings};

/// Largest side of a placeholder, in pixels: it is drawn for each who waits.
const PLACEHOLDER_MAX_PX: u32 = 256;

/// The addresses of one bucket.
#[derive(Debug)]
struct Avatars {
    front: fallthrough_avatar::Front,
    patience: Option<Duration>,
}

/// The fronts that `settings` declare.
pub(crate) fn fronts(settings: &Settings) -> BTreeMap<BucketName, Arc<dyn Front>> {
    let front = |declared: &AvatarFront| -> Arc<dyn Front> {
        let front = fallthrough_avatar::Front::new(declared.addresses.clone());
        Arc::new(Avatars { front, patience: declared.patience })
    };
    settings.fronts.iter().map(|(bucket, declared)| (bucket.clone(), front(declared))).collect()
}

impl Front for Avatars {
    fn plan(&self, key: &str, query: &Query) -> Option<FrontPlan> {
        let plan = self.front.plan(key, query.iter())?;
        let then = match plan.then {
            Then::Object { key, side_px } => {
                FrontThen::Object { key: Key::parse(&key).ok()?, fits: side_px == plan.side_px }
            }
            Then::Absent => FrontThen::Absent,
            Then::Redirect(url) => FrontThen::Redirect(url),
        };
        Some(FrontPlan {
            own: plan.own.and_then(|own| Key::parse(&own).ok()),
            then,
            variant: format!("{}{}", plan.side_px, plan.format.extension()),
            side_px: plan.side_px,
            content_type: plan.format.content_type(),
            forever: plan.forever,
        })
    }

    fn make(&self, source: &[u8], plan: &FrontPlan) -> Result<Bytes, String> {
        encode::resquare(source, plan.side_px, format_of(plan)).map_err(|error| error.to_string())
    }

    fn placeholder(&self, plan: &FrontPlan) -> Option<Bytes> {
        let side = plan.side_px.clamp(8, PLACEHOLDER_MAX_PX);
        let pixels = emblem::draw(Emblem::Mystery, "", side)?;
        encode::encode(&pixels, side, side, format_of(plan)).ok()
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }
}

fn format_of(plan: &FrontPlan) -> Format {
    Format::ALL.into_iter().find(|format| format.content_type() == plan.content_type).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use fallthrough_avatar::FrontSettings;

    use super::*;

    fn avatars() -> Avatars {
        Avatars { front: fallthrough_avatar::Front::new(FrontSettings::default()), patience: None }
    }

    fn plan(path: &str, query: &str) -> Option<FrontPlan> {
        avatars().plan(path, &Query::parse(query).expect("a query"))
    }

    #[test]
    fn an_address_is_a_key_of_the_bucket_with_its_format_and_size() {
        let hash = "27205e5c51cb03f862138b22bcb5dc20";
        let told = plan(&format!("{}.webp", hash.to_uppercase()), "s=96").expect("an avatar");
        let key = Key::parse(&format!("{hash}/128.webp")).expect("a key");
        assert_eq!(told.then, FrontThen::Object { key, fits: false });
        assert_eq!((told.content_type, told.variant.as_str()), ("image/webp", "96webp"));
        assert!(matches!(plan(hash, "").expect("one").then, FrontThen::Object { fits: true, .. }));
        assert_eq!(plan("favicon.ico", ""), None);
    }

    #[test]
    fn what_is_made_has_the_size_and_the_format_of_the_address() {
        let hash = "27205e5c51cb03f862138b22bcb5dc20";
        for (suffix, format) in [(".png", Format::Png), (".webp", Format::Webp), ("", Format::Jpeg)] {
            let told = plan(&format!("{hash}{suffix}"), "s=33").expect("an avatar");
            let shown = avatars().placeholder(&told).expect("it can be drawn");
            assert_eq!(Format::sniff(&shown), Some(format));
            let made = avatars().make(&shown, &FrontPlan { side_px: 21, ..told }).expect("a picture");
            assert_eq!(Format::sniff(&made), Some(format));
            assert_eq!(encode::dimensions(&made).expect("a picture"), (21, 21));
        }
        let told = plan(hash, "").expect("an avatar");
        assert!(avatars().make(b"<html>", &told).is_err());
    }
}
