//! Traits to prompt words and back.
//!
//! The words are what a real diffusion model is asked with. The way back lets an engine without
//! weights, which gets nothing but a prompt and a seed, draw what the words say: words it does
//! not know are ignored, and traits nobody mentions are drawn from the seed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use crate::traits::{
    Accessory, ClothesColor, Expression, EyeColor, HairColor, HairStyle, Outfit, Pose, Presentation, Scene,
    SkinTone, Style, Technique, TimeOfDay, Traits,
};

/// What every prompt begins with.
const QUALITY: &str = "headshot, portrait, masterpiece, best quality";

/// What no avatar should show.
const NEGATIVE: &str = "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, \
                        cropped, worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, \
                        username, blurry, nsfw, multiple people";

/// Words that part a clause in two, so that "red hair and blue eyes" is read as two.
const PARTING: &[&str] = &["and", "with", "wearing", "having", "in", "on"];

/// Words that mean nothing here, in prompts and in our own phrases, and could part a colour from
/// its noun.
const FILLING: &[&str] = &["a", "an", "the", "her", "his", "their", "of"];

impl Traits {
    /// The prompt: quality words, then every trait but the seed.
    #[must_use]
    pub fn to_prompt(&self) -> String {
        let eyes = match self.heterochromia {
            None => format!("{} eyes", self.eyes.word()),
            Some(other) => {
                format!("heterochromia, {} left eye, {} right eye", self.eyes.word(), other.word())
            }
        };
        let mut words = vec![
            QUALITY.to_owned(),
            self.presentation.word().to_owned(),
            format!("{} hair", self.hair_color.word()),
            self.hair_style.word().to_owned(),
            eyes,
            self.expression.word().to_owned(),
            self.skin.word().to_owned(),
            format!("{} {}", self.clothes.word(), self.outfit.word()),
        ];
        words.extend(self.accessory.map(|accessory| accessory.word().to_owned()));
        words.extend([
            self.pose.word().to_owned(),
            self.scene.word().to_owned(),
            self.time_of_day.word().to_owned(),
            self.style.word().to_owned(),
            self.technique.word().to_owned(),
        ]);
        words.join(", ")
    }

    /// The negative prompt; the same for all avatars.
    #[must_use]
    pub fn negative_prompt(&self) -> String {
        NEGATIVE.to_owned()
    }

    /// Reads traits from the words of any prompt.
    ///
    /// Case, weights and brackets do not matter; of several phrases for one trait the longest
    /// counts, then the first. Traits that no word names come from [`Traits::from_seed`], except
    /// that eyes of two colours and accessories are there only if named. The inverse of
    /// [`Traits::to_prompt`] for the same seed.
    #[must_use]
    pub fn from_prompt(prompt: &str, seed: u32) -> Self {
        let read = Reading::of(prompt);
        let drawn = Self::from_seed(seed);
        let eye = |word: &Word| match word {
            Word::EyeColor(color) => Some(*color),
            _ => None,
        };
        let left = read.colored(eye, |word| *word == Word::LeftEye);
        let eyes = left.or_else(|| read.colored(eye, |word| *word == Word::Eyes));
        let right = read.colored(eye, |word| *word == Word::RightEye);
        let hair = |word: &Word| match word {
            Word::HairColor(color) => Some(*color),
            _ => None,
        };
        let cloth = |word: &Word| match word {
            Word::ClothesColor(color) => Some(*color),
            _ => None,
        };
        let is_clothes = |word: &Word| matches!(word, Word::Clothes | Word::Outfit(_));
        macro_rules! named {
            ($kind:ident) => {
                read.named(|word| match word {
                    Word::$kind(value) => Some(*value),
                    _ => None,
                })
            };
        }
        Self {
            presentation: named!(Presentation).unwrap_or(drawn.presentation),
            hair_color: read.colored(hair, |word| *word == Word::Hair).unwrap_or(drawn.hair_color),
            scene: named!(Scene).unwrap_or(drawn.scene),
            clothes: read.colored(cloth, is_clothes).unwrap_or(drawn.clothes),
            style: named!(Style).unwrap_or(drawn.style),
            technique: named!(Technique).unwrap_or(drawn.technique),
            hair_style: named!(HairStyle).unwrap_or(drawn.hair_style),
            expression: named!(Expression).unwrap_or(drawn.expression),
            outfit: named!(Outfit).unwrap_or(drawn.outfit),
            eyes: eyes.unwrap_or(drawn.eyes),
            heterochromia: right.filter(|right| Some(*right) != eyes),
            time_of_day: named!(TimeOfDay).unwrap_or(drawn.time_of_day),
            skin: named!(SkinTone).unwrap_or(drawn.skin),
            accessory: named!(Accessory),
            pose: named!(Pose).unwrap_or(drawn.pose),
            seed,
        }
    }
}

/// What a phrase can mean; many colours mean several things until their noun comes.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    Presentation(Presentation),
    HairColor(HairColor),
    Scene(Scene),
    ClothesColor(ClothesColor),
    Style(Style),
    Technique(Technique),
    HairStyle(HairStyle),
    Expression(Expression),
    Outfit(Outfit),
    EyeColor(EyeColor),
    TimeOfDay(TimeOfDay),
    SkinTone(SkinTone),
    Accessory(Accessory),
    Pose(Pose),
    /// The noun of a hair colour.
    Hair,
    /// The noun of an eye colour.
    Eyes,
    LeftEye,
    RightEye,
    /// The noun of a clothes colour where no outfit is named.
    Clothes,
}

/// Most words in a phrase.
const PHRASE_WORDS_MAX: usize = 4;

/// Every phrase, without its filling words, and what it can mean.
static LEXICON: LazyLock<HashMap<String, Vec<Word>>> = LazyLock::new(|| {
    let mut lexicon: HashMap<String, Vec<Word>> = HashMap::new();
    let mut add = |phrase: &str, word: Word| {
        let words: Vec<&str> = phrase.split(' ').filter(|word| !FILLING.contains(word)).collect();
        debug_assert!(words.len() <= PHRASE_WORDS_MAX, "{phrase}");
        lexicon.entry(words.join(" ")).or_default().push(word);
    };
    macro_rules! all {
        ($($kind:ident),+) => {
            $(for (phrase, value) in $kind::PHRASES {
                add(phrase, Word::$kind(*value));
            })+
        };
    }
    all!(Presentation, HairColor, Scene, ClothesColor, Style, Technique, HairStyle, Expression, Outfit);
    all!(EyeColor, TimeOfDay, SkinTone, Accessory, Pose);
    for (phrase, word) in [
        ("hair", Word::Hair),
        ("eyes", Word::Eyes),
        ("eye", Word::Eyes),
        ("left eye", Word::LeftEye),
        ("right eye", Word::RightEye),
        ("clothes", Word::Clothes),
        ("clothing", Word::Clothes),
        ("outfit", Word::Clothes),
    ] {
        add(phrase, word);
    }
    lexicon
});

/// A phrase found in a prompt.
struct Found {
    clause: usize,
    /// Half-open range of words in the clause.
    words: Range<usize>,
    len_bytes: usize,
    means: &'static [Word],
}

/// Every phrase found in a prompt, in its order.
struct Reading(Vec<Found>);

impl Reading {
    fn of(prompt: &str) -> Self {
        let lexicon: &'static HashMap<String, Vec<Word>> = &LEXICON;
        let mut found = Vec::new();
        for (clause, words) in clauses(prompt).iter().enumerate() {
            for start in 0..words.len() {
                for end in start + 1..=words.len().min(start + PHRASE_WORDS_MAX) {
                    let phrase = words[start..end].join(" ");
                    if let Some(means) = lexicon.get(&phrase) {
                        found.push(Found { clause, words: start..end, len_bytes: phrase.len(), means });
                    }
                }
            }
        }
        Self(found)
    }

    /// The value named by the longest phrase; of equally long ones, the first in the prompt. A
    /// phrase inside a longer one does not count: a "space suit" is not set in space.
    fn named<T>(&self, value: impl Fn(&Word) -> Option<T>) -> Option<T> {
        let mut best: Option<(usize, T)> = None;
        for found in self.0.iter().filter(|found| !self.is_part_of_more(found)) {
            let longer = best.as_ref().is_none_or(|(len, _)| found.len_bytes > *len);
            if let Some(value) = found.means.iter().find_map(&value).filter(|_| longer) {
                best = Some((found.len_bytes, value));
            }
        }
        best.map(|(_, value)| value)
    }

    /// The colour said before a noun in the first clause that says one, the nearest to the noun
    /// and of those the longest: "light blue shiny eyes" names one, "light blue, shiny eyes" none.
    fn colored<T>(&self, color: impl Fn(&Word) -> Option<T>, is_noun: impl Fn(&Word) -> bool) -> Option<T> {
        let nouns = self.0.iter().filter(|found| found.means.iter().any(&is_noun));
        nouns
            .filter_map(|noun| {
                let before = self
                    .0
                    .iter()
                    .filter(|found| found.clause == noun.clause && found.words.end <= noun.words.start);
                before
                    .filter_map(|found| {
                        Some((found.words.end, found.words.len(), found.means.iter().find_map(&color)?))
                    })
                    .max_by_key(|(end, len, _)| (*end, *len))
                    .map(|(_, _, color)| color)
            })
            .next()
    }

    fn is_part_of_more(&self, part: &Found) -> bool {
        self.0.iter().any(|more| {
            more.clause == part.clause
                && more.words.len() > part.words.len()
                && more.words.start <= part.words.start
                && part.words.end <= more.words.end
        })
    }
}

/// A prompt in clauses: runs of lower-case words without a comma or a parting word inside.
/// Brackets and weights, as in `(red hair:1.2)`, part clauses too, and a number that is left over
/// means nothing.
fn clauses(prompt: &str) -> Vec<Vec<String>> {
    let lower = prompt.to_lowercase();
    let mut clauses = Vec::new();
    for part in lower.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '\'' | ' ' | '_'))) {
        let mut clause = Vec::new();
        for word in part.split([' ', '_']).filter(|word| !word.is_empty()) {
            if PARTING.contains(&word) {
                clauses.push(std::mem::take(&mut clause));
            } else if !FILLING.contains(&word) {
                clause.push(word.to_owned());
            }
        }
        clauses.push(clause);
    }
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_words_of_one_avatar() {
        let traits = Traits::from_hash("0123456789abcdef0123456fffffffe0").unwrap();
        assert_eq!(
            traits.to_prompt(),
            "headshot, portrait, masterpiece, best quality, 1girl, dark brown hair, hair bun, brown eyes, \
             one eye closed, brown skin, red sailor uniform, scarf, leaning to the right, beach, dusk, \
             comic book style, halftone"
        );
        let two = Traits { heterochromia: Some(EyeColor::Green), ..traits };
        assert!(two.to_prompt().contains("heterochromia, brown left eye, green right eye, "));
    }

    #[test]
    fn a_part_of_a_longer_phrase_does_not_count() {
        let said = Traits::from_prompt("sky blue space suit, sky blue eyes, beach", 3);
        assert_eq!((said.scene, said.outfit), (Scene::Beach, Outfit::SpaceSuit));
        assert_eq!((said.clothes, said.eyes), (ClothesColor::SkyBlue, EyeColor::SkyBlue));
    }

    #[test]
    fn free_text_is_understood() {
        let said = Traits::from_prompt(
            "A (smiling:1.3) woman with long wavy RED hair and light blue eyes, wearing a dark green hoodie, \
             [freckles], in the woods at night, watercolour <lora:x:1>",
            7,
        );
        assert_eq!(said.presentation, Presentation::Girl);
        assert_eq!(said.expression, Expression::Smile);
        assert_eq!(said.hair_color, HairColor::Red);
        assert_eq!(said.eyes, EyeColor::SkyBlue);
        assert_eq!(said.clothes, ClothesColor::Olive);
        assert_eq!(said.outfit, Outfit::Hoodie);
        assert_eq!(said.accessory, Some(Accessory::Freckles));
        assert_eq!(said.scene, Scene::Forest);
        assert_eq!(said.time_of_day, TimeOfDay::Night);
        assert_eq!(said.technique, Technique::Watercolor);
        let drawn = Traits::from_seed(7);
        assert_eq!((said.style, said.skin, said.pose), (drawn.style, drawn.skin, drawn.pose));
    }

    #[test]
    fn silence_is_filled_from_the_seed() {
        let said = Traits::from_prompt("xyzzy, ((())), :::1.0", 99);
        assert_eq!(said, Traits { heterochromia: None, accessory: None, ..Traits::from_seed(99) });
        assert_ne!(Traits::from_prompt("", 1), Traits::from_prompt("", 2));
    }

    #[test]
    fn no_phrase_names_two_values_of_a_trait() {
        fn check<T: PartialEq>(phrases: &[(&str, T)]) {
            for (at, (phrase, value)) in phrases.iter().enumerate() {
                assert!(!phrases[..at].iter().any(|(other, of)| other == phrase && of != value), "{phrase}");
                assert_eq!(phrase.to_lowercase(), *phrase);
            }
        }
        check(Presentation::PHRASES);
        check(HairColor::PHRASES);
        check(Scene::PHRASES);
        check(ClothesColor::PHRASES);
        check(Style::PHRASES);
        check(Technique::PHRASES);
        check(HairStyle::PHRASES);
        check(Expression::PHRASES);
        check(Outfit::PHRASES);
        check(EyeColor::PHRASES);
        check(TimeOfDay::PHRASES);
        check(SkinTone::PHRASES);
        check(Accessory::PHRASES);
        check(Pose::PHRASES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn words_lead_back_to_the_traits(hash in "[0-9a-f]{32}") {
            let traits = Traits::from_hash(&hash).unwrap();
            prop_assert_eq!(Traits::from_prompt(&traits.to_prompt(), traits.seed), traits);
        }

        #[test]
        fn any_text_is_read_without_panicking(prompt in ".{0,200}", seed: u32) {
            prop_assert_eq!(Traits::from_prompt(&prompt, seed).seed, seed);
        }
    }
}
