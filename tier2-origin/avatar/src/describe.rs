//! How an avatar came about, for people: the traits of a hash and the words they become.

use fallthrough_diffusion::{InvalidHash, Traits};
use serde::Serialize;

/// What a hash falls through with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Every trait in the order of the digits that choose them, the seed last.
    pub traits: Vec<Trait>,
    /// What the model is asked to show.
    pub prompt: String,
    /// What the model is asked to leave out.
    pub negative_prompt: String,
    /// Every value is valid and is sent as it is.
    pub seed: u32,
}

/// One trait in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trait {
    /// Such as `hair colour`.
    pub name: &'static str,
    /// Such as `dark brown`.
    pub value: String,
}

/// Describes the avatar of `hash`, 32 or 64 hex digits in any case, without a suffix.
///
/// # Errors
/// [`InvalidHash`] for anything else.
pub fn describe(hash: &str) -> Result<Description, InvalidHash> {
    let traits = Traits::from_hash(hash)?;
    Ok(Description {
        traits: traits.pairs().into_iter().map(|(name, value)| Trait { name, value }).collect(),
        prompt: traits.to_prompt(),
        negative_prompt: traits.negative_prompt(),
        seed: traits.seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_json_in_a_fixed_order() {
        let told = serde_json::to_value(describe("27205e5c51cb03f862138b22bcb5dc20").unwrap()).unwrap();
        assert_eq!(told["seed"], 0x2bcb_5dc2_u32);
        assert_eq!(told["traits"][0], serde_json::json!({"name": "presentation", "value": "1girl"}));
        assert_eq!(told["traits"].as_array().unwrap().len(), 16);
        assert_eq!(told["traits"][15]["name"], "seed");
        assert!(
            told["prompt"]
                .as_str()
                .unwrap()
                .starts_with("headshot, portrait, masterpiece, best quality, 1girl")
        );
        assert!(told["negative_prompt"].as_str().unwrap().contains("watermark"));
    }

    #[test]
    fn case_does_not_matter_and_suffixes_do_not_belong() {
        let hash = "27205e5c51cb03f862138b22bcb5dc20";
        assert_eq!(describe(hash), describe(&hash.to_uppercase()));
        assert_eq!(describe(&format!("{hash}.jpg")), Err(InvalidHash));
    }
}
