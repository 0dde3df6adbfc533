//! Names: buckets, keys, avatars.

use fallthrough_avatar::{AvatarKey, describe};
use fallthrough_diffusion::{Format, Traits};
use fallthrough_object::{BucketName, Key};

/// Text. A name that is taken is the text itself, reads back from JSON, and keeps to the rules.
pub fn names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);

    let json = serde_json::to_string(&text).expect("text is JSON");
    match BucketName::parse(&text) {
        Ok(name) => {
            assert_eq!(name.as_str(), text);
            assert!((3..=63).contains(&name.as_str().len()) && !text.contains(['/', '%', '_', '\0']));
            assert_eq!(serde_json::from_str::<BucketName>(&json).ok(), Some(name));
        }
        Err(invalid) => {
            assert!(invalid.name.chars().count() <= 64);
            assert!(serde_json::from_str::<BucketName>(&json).is_err());
        }
    }
    match Key::parse(&text) {
        Ok(key) => {
            assert_eq!(key.as_str(), text);
            assert_eq!(serde_json::from_str::<Key>(&json).ok(), Some(key));
        }
        Err(invalid) => {
            assert_eq!(invalid.len_bytes, text.len());
            assert!(text.is_empty() || text.len() > Key::MAX_BYTES);
        }
    }

    if let Ok(key) = AvatarKey::parse(&text) {
        // What is read is written in one way, and read as the same.
        assert_eq!(AvatarKey::parse(&key.canonical()).as_ref(), Ok(&key));
        assert!(key.side_px.is_none() || key.canonical() == text);
        if let Some(traits) = key.subject.traits() {
            let hash = text.split(['.', '/']).next().unwrap_or_default();
            assert!(matches!(hash.len(), 32 | 64) && hash.bytes().all(|c| c.is_ascii_hexdigit()));
            let upper = AvatarKey::parse(&hash.to_uppercase()).expect("it is a hash");
            assert_eq!(upper.subject.traits(), Some(traits));
            assert_eq!(Traits::from_prompt(&traits.to_prompt(), traits.seed), traits);
            let told = describe(hash).expect("it is a hash");
            assert_eq!(told.seed, traits.seed);
        }
    }
    // Whatever somebody asks for in words: something is drawn, and it can be said in words again.
    let drawn = Traits::from_prompt(&text, 7);
    assert_eq!(Traits::from_prompt(&drawn.to_prompt(), 7), drawn);
    if let Some(format) = Format::from_extension(&text) {
        assert_eq!(Format::from_extension(format.extension()), Some(format));
    }
}
