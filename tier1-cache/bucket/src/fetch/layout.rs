//! Where the parts of an object begin that was uploaded in parts at a provider, learnt while it is filled.
//!
//! The ETag of such an object is made of the MD5s of its parts, and so proves a layout: the parts that it is cut into are
//! its parts if their MD5s make that ETag. What is tried is that all of them but the last are as long as the first, which
//! one HEAD of part 1 tells; most clients upload so. If the proof fails, nothing is kept, and the provider is asked for
//! each part that is read ([`crate::parts`]).
//!
//! The HEAD takes a place in front of the origin that is free, and none if there is none. It is waited for before the body
//! is read, [`LAYOUT_WAIT`] at most. In memory are two hash states.

use std::time::Duration;

use fallthrough_object::ETag;
use fallthrough_shadow::{Dialect, Method, Outcome};
use fallthrough_wire::digest::{DigestSet, Digests};

use super::Fetch;
use crate::ask::{Answered, ask};
use crate::core::mutants::{Mutant, planted};
use crate::members::Whom;

/// How long a fill waits for what it could do without.
const LAYOUT_WAIT: Duration = Duration::from_secs(2);

/// A layout that is tried: the MD5s of the parts that it cuts a body into, as far as that has come.
pub(super) struct Layout {
    part_bytes: u64,
    size_bytes: u64,
    parts: u64,
    of_part: Digests,
    /// Bytes of the part that is being read.
    came: u64,
    /// The MD5 of the MD5s of the parts that have ended, and how many those are.
    of_parts: Digests,
    ended: u64,
}

fn md5() -> Digests {
    Digests::new(DigestSet::none().and_md5())
}

impl Layout {
    /// Parts of `part_bytes` each but the last, if so many of them make up the object.
    fn of(part_bytes: u64, size_bytes: u64, parts: u64) -> Option<Self> {
        let fits = part_bytes > 0 && size_bytes > 0 && size_bytes.div_ceil(part_bytes) == parts;
        fits.then(|| Self {
            part_bytes,
            size_bytes,
            parts,
            of_part: md5(),
            came: 0,
            of_parts: md5(),
            ended: 0,
        })
    }

    /// Takes the next bytes of the object.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = usize::try_from(self.part_bytes - self.came).unwrap_or(usize::MAX);
            let (these, rest) = bytes.split_at(left.min(bytes.len()));
            self.of_part.update(these);
            self.came += these.len() as u64;
            bytes = rest;
            if self.came == self.part_bytes {
                self.end_part();
            }
        }
    }

    fn end_part(&mut self) {
        let ended = std::mem::replace(&mut self.of_part, md5()).finish();
        self.of_parts.update(ended.md5.as_ref().map_or(&[], |md5| &md5[..]));
        self.came = 0;
        self.ended += 1;
    }

    /// The sizes of the parts in order, in bytes, if the object with this ETag was uploaded in these.
    pub(super) fn proven(mut self, etag: &ETag) -> Option<Vec<u64>> {
        if self.came > 0 {
            self.end_part();
        }
        let last = self.size_bytes - self.part_bytes * (self.parts - 1);
        let made = ETag::from_md5(self.of_parts.finish().md5?);
        let made = format!("{}-{}", made.value(), self.ended);
        let is_it = etag.value().eq_ignore_ascii_case(&made) || planted(Mutant::LayoutUnproven);
        is_it.then(|| {
            let mut sizes = vec![self.part_bytes; usize::try_from(self.parts).unwrap_or(0)];
            if let Some(size) = sizes.last_mut() {
                *size = last;
            }
            sizes
        })
    }
}

impl Fetch<'_> {
    /// The layout to be tried of an object that is going to be kept; `None`: it has no parts, or nothing is known of them.
    /// Whatever goes wrong here is no reason not to fill.
    pub(super) async fn layout(&mut self) -> Option<Layout> {
        let partial = self.partial.as_ref()?;
        let (size_bytes, etag) = (partial.head.size_bytes?, partial.found.pin.clone()?);
        let (engine, behind) = (self.engine, &self.order.behind);
        if !partial.head.kept || !etag.is_of_parts() || !matches!(behind.dialect, Dialect::S3 { .. }) {
            return None;
        }
        let parts: u64 = etag.value().rsplit_once('-')?.1.parse().ok()?;
        if parts == 1 {
            return Layout::of(size_bytes, size_bytes, 1);
        }
        let _place = behind.gate.spare(&self.order.client)?;
        let mut request = self.plain_request();
        request.method = Method::Head;
        request.part = Some(1);
        request.if_match = Some(etag.clone());
        let asked = tokio::time::timeout(LAYOUT_WAIT, ask(engine, behind, request, Whom::Any)).await;
        let Ok(Ok(Answered { outcome: Outcome::Found(found), .. })) = asked else { return None };
        let first = found.range.filter(|range| range.start == 0)?;
        let same = found.size_bytes == Some(size_bytes) && found.etag.is_some_and(|now| now.strong_eq(&etag));
        if same { Layout::of(first.len(), size_bytes, parts) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use fallthrough_wire::digest::multipart_etag;

    use super::*;
    use crate::core::mutants::caught;

    fn etag_of(bytes: &[u8], sizes: &[usize]) -> ETag {
        let mut rest = bytes;
        let sums: Vec<[u8; 16]> = sizes
            .iter()
            .map(|size| {
                let (part, behind) = rest.split_at(*size);
                rest = behind;
                let mut digests = md5();
                digests.update(part);
                digests.finish().md5.unwrap()
            })
            .collect();
        multipart_etag(sums.iter())
    }

    #[test]
    fn a_layout_that_is_believed_unproven_is_found() {
        assert!(caught(Mutant::LayoutUnproven, a_layout_is_believed_if_the_etag_proves_it));
    }

    #[test]
    fn a_layout_is_believed_if_the_etag_proves_it() {
        let bytes: Vec<u8> = (0..100u8).collect();
        let rows: [(&[usize], Option<u64>); 8] = [
            (&[30, 30, 30, 10], Some(30)),
            (&[50, 50], Some(50)),
            (&[100], Some(100)),
            (&[99, 1], Some(99)),
            (&[60, 40], Some(60)),
            // As many as there would be of the first's size, and others.
            (&[30, 31, 29, 10], None),
            (&[30, 20, 40, 10], None),
            (&[40, 60], None),
        ];
        for (sizes, want) in rows {
            let etag = etag_of(&bytes, sizes);
            for piece in [1, 7, 30, 100] {
                let layout = Layout::of(sizes[0] as u64, 100, sizes.len() as u64);
                let found = layout.and_then(|mut layout| {
                    bytes.chunks(piece).for_each(|piece| layout.update(piece));
                    layout.proven(&etag)
                });
                let all: Vec<u64> = sizes.iter().map(|size| *size as u64).collect();
                assert_eq!(found, want.map(|_| all), "{sizes:?} in pieces of {piece}");
            }
        }
        assert!(Layout::of(0, 100, 1).is_none() && Layout::of(5, 0, 0).is_none());
    }
}
