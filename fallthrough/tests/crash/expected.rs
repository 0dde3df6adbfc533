//! What may stand under a key, by the journal of those who wrote it.

use fallthrough_sim::Content;

/// An edition and a size in bytes; `None`: no object.
pub(crate) type Version = Option<(u16, u64)>;

/// What may stand under a key: what was last acknowledged, or what was not answered, or not with success.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    pub(crate) acknowledged: Version,
    pub(crate) in_doubt: Vec<Version>,
}

impl Expected {
    /// The version that was found, if it is one that may stand there.
    pub(crate) fn matching(&self, key: &str, found: Option<&[u8]>) -> Option<Version> {
        let is_found = |version: &&Version| match (version, found) {
            (None, None) => true,
            (Some((edition, size)), Some(bytes)) => Content::generated(key, *edition, *size).bytes() == bytes,
            (None, Some(_)) | (Some(_), None) => false,
        };
        std::iter::once(&self.acknowledged).chain(&self.in_doubt).find(is_found).copied()
    }

    /// From now on, only this may stand there.
    pub(crate) fn settle(&mut self, version: Version) {
        *self = Self { acknowledged: version, in_doubt: Vec::new() };
    }
}

#[test]
fn the_check_can_fail() {
    let expected = Expected { acknowledged: Some((3, 100)), in_doubt: vec![None] };
    let right = Content::generated("k", 3, 100).bytes();
    assert_eq!(expected.matching("k", Some(&right)), Some(Some((3, 100))));
    assert_eq!(expected.matching("k", None), Some(None));
    assert_eq!(expected.matching("k", Some(&right[..99])), None, "torn");
    assert_eq!(expected.matching("k", Some(&Content::generated("k", 2, 100).bytes())), None, "lost");
    let sure = Expected { acknowledged: Some((3, 100)), in_doubt: vec![] };
    assert_eq!(sure.matching("k", None), None, "gone");
}
