//! Traits to prompt words and back.
//!
//! The words are what a real diffusion model is asked with. The way back lets an engine without
//! weights, which gets nothing but a prompt and a seed, draw what the words say: words it does
//! not know are ignored, and traits nobody mentions are drawn from the seed.

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
        let clauses = clauses(prompt);
        let drawn = Self::from_seed(seed);
        let eyes = colored(&clauses, EyeColor::PHRASES, &["left eye"])
            .or_else(|| colored(&clauses, EyeColor::PHRASES, &["eyes", "eye"]));
        let other = colored(&clauses, EyeColor::PHRASES, &["right eye"]).filter(|other| Some(*other) != eyes);
        let nouns: Vec<&str> = Outfit::PHRASES
            .iter()
            .map(|(phrase, _)| *phrase)
            .chain(["clothes", "outfit", "clothing"])
            .collect();
        let style_word = named(&clauses, HairStyle::PHRASES);
        Self {
            presentation: named(&clauses, Presentation::PHRASES).unwrap_or(drawn.presentation),
            hair_color: colored(&clauses, HairColor::PHRASES, &["hair"]).unwrap_or(drawn.hair_color),
            scene: named(&clauses, Scene::PHRASES).unwrap_or(drawn.scene),
            clothes: colored(&clauses, ClothesColor::PHRASES, &nouns).unwrap_or(drawn.clothes),
            style: named(&clauses, Style::PHRASES).unwrap_or(drawn.style),
            technique: named(&clauses, Technique::PHRASES).unwrap_or(drawn.technique),
            hair_style: style_word.unwrap_or(drawn.hair_style),
            expression: named(&clauses, Expression::PHRASES).unwrap_or(drawn.expression),
            outfit: named(&clauses, Outfit::PHRASES).unwrap_or(drawn.outfit),
            eyes: eyes.unwrap_or(drawn.eyes),
            heterochromia: other,
            time_of_day: named(&clauses, TimeOfDay::PHRASES).unwrap_or(drawn.time_of_day),
            skin: named(&clauses, SkinTone::PHRASES).unwrap_or(drawn.skin),
            accessory: named(&clauses, Accessory::PHRASES),
            pose: named(&clauses, Pose::PHRASES).unwrap_or(drawn.pose),
            seed,
        }
    }
}

/// A run of lower-case words without a comma or a parting word inside.
type Clause = Vec<String>;

/// A prompt in clauses. Brackets and weights, as in `(red hair:1.2)`, part clauses too, and a
/// number that is left over means nothing.
fn clauses(prompt: &str) -> Vec<Clause> {
    let lower = prompt.to_lowercase();
    let mut clauses = Vec::new();
    for part in lower.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '\'' || c == ' ' || c == '_'))
    {
        let mut clause = Clause::new();
        for word in part.split([' ', '_']).filter(|word| !word.is_empty()) {
            if PARTING.contains(&word) {
                clauses.push(std::mem::take(&mut clause));
            } else if !FILLING.contains(&word) {
                clause.push(word.to_owned());
            }
        }
        clauses.push(clause);
    }
    clauses.retain(|clause| !clause.is_empty());
    clauses
}

/// Where `phrase` stands in `clause`: the index of its first word.
fn find(clause: &[String], phrase: &str) -> Option<usize> {
    let len = words(phrase).count();
    clause.windows(len).position(|window| window.iter().zip(words(phrase)).all(|(a, b)| a == b))
}

/// The value named by the longest phrase; of equally long ones, the first in the prompt. A phrase
/// inside a longer one of any trait does not count: a "space suit" is not set in space.
fn named<T: Copy>(clauses: &[Clause], phrases: &[(&str, T)]) -> Option<T> {
    let mut best: Option<(usize, T)> = None;
    for clause in clauses {
        for (phrase, value) in phrases {
            let longer = best.is_none_or(|(len, _)| phrase.len() > len);
            if longer && find(clause, phrase).is_some_and(|at| !is_part_of_more(clause, at, phrase)) {
                best = Some((phrase.len(), *value));
            }
        }
    }
    best.map(|(_, value)| value)
}

/// Whether `phrase`, found at word `at` of `clause`, is only a part of a longer phrase there.
fn is_part_of_more(clause: &[String], at: usize, phrase: &str) -> bool {
    let end = at + words(phrase).count();
    all_phrases().any(|other| {
        let len = words(other).count();
        len > end - at && find(clause, other).is_some_and(|start| start <= at && end <= start + len)
    })
}

/// Every phrase of every trait.
fn all_phrases() -> impl Iterator<Item = &'static str> {
    fn of<T>(phrases: &'static [(&'static str, T)]) -> impl Iterator<Item = &'static str> {
        phrases.iter().map(|(phrase, _)| *phrase)
    }
    of(Presentation::PHRASES)
        .chain(of(HairColor::PHRASES))
        .chain(of(Scene::PHRASES))
        .chain(of(ClothesColor::PHRASES))
        .chain(of(Style::PHRASES))
        .chain(of(Technique::PHRASES))
        .chain(of(HairStyle::PHRASES))
        .chain(of(Expression::PHRASES))
        .chain(of(Outfit::PHRASES))
        .chain(of(EyeColor::PHRASES))
        .chain(of(TimeOfDay::PHRASES))
        .chain(of(SkinTone::PHRASES))
        .chain(of(Accessory::PHRASES))
        .chain(of(Pose::PHRASES))
}

fn words(phrase: &str) -> impl Iterator<Item = &str> {
    phrase.split(' ').filter(|word| !FILLING.contains(word))
}

/// The colour said before one of `nouns` in the first clause that says one: "light blue, shiny
/// eyes" names none, "light blue shiny eyes" does. The colour nearest to the noun counts.
fn colored<T: Copy>(clauses: &[Clause], colors: &[(&str, T)], nouns: &[&str]) -> Option<T> {
    clauses.iter().find_map(|clause| {
        let noun = nouns.iter().filter_map(|noun| find(clause, noun)).min()?;
        let before = &clause[..noun];
        let ends = |phrase: &str| {
            let len = words(phrase).count();
            find(before, phrase).map(|start| (start + len, len))
        };
        colors
            .iter()
            .filter_map(|(phrase, color)| ends(phrase).map(|rank| (rank, *color)))
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, color)| color)
    })
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
