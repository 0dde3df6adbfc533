//! The traits of an avatar: one struct that the hash digits choose, that the prompt says in
//! words, and that the painter draws.
//!
//! Digits are counted from 0 at the left. Digits 0 to 14 choose one trait each, and the eight
//! digits before the last one are the seed, for MD5 (32 digits) and SHA-256 (64 digits) alike.
//! Every pattern of digits is defined, every seed from 0 to 2^32−1 is used as it is, and the case
//! of the digits does not matter. The words live in [`crate::prompt`].

/// Declares a trait's values with the words that name them: the first phrase goes into prompts,
/// all of them are understood.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($value:ident = $word:literal $(| $alias:literal)*,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("In words: ", $word, ".")] $value,)+
        }

        impl $name {
            /// Every value, in the order of the digits that choose them.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// Every phrase that names a value, in lower case.
            pub(crate) const PHRASES: &'static [(&'static str, Self)] =
                &[$(($word, Self::$value), $(($alias, Self::$value),)*)+];

            /// The words for this value.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }
        }
    };
}

choices! {
    /// How the person presents. Digit 0.
    Presentation {
        Girl = "1girl" | "girl" | "woman" | "female" | "lady",
        Boy = "1boy" | "boy" | "man" | "male" | "guy",
        Androgynous = "1other" | "androgynous" | "nonbinary" | "non-binary" | "person",
    }
}

choices! {
    /// The colour of the hair, said as "… hair". Digit 1.
    HairColor {
        Black = "black" | "raven",
        DarkBrown = "dark brown" | "brunette",
        Brown = "brown" | "chestnut",
        Auburn = "auburn" | "dark red",
        Red = "red" | "crimson",
        Orange = "orange" | "ginger" | "copper",
        Blonde = "blonde" | "blond" | "golden" | "yellow",
        Platinum = "platinum blonde" | "platinum",
        White = "white",
        Silver = "silver" | "grey" | "gray",
        Pink = "pink" | "rose",
        Purple = "purple" | "violet" | "lavender",
        Blue = "blue" | "dark blue",
        Aqua = "aqua" | "light blue" | "cyan",
        Teal = "teal" | "turquoise",
        Green = "green" | "mint",
    }
}

choices! {
    /// What is behind the person. Digit 2.
    Scene {
        City = "city skyline" | "city" | "cityscape" | "skyscrapers",
        Forest = "forest" | "woods" | "trees",
        Beach = "beach" | "ocean" | "sea" | "seaside",
        Mountains = "mountains" | "mountain" | "alps",
        Library = "library" | "bookshelves" | "bookshelf" | "books",
        Space = "outer space" | "space" | "galaxy" | "nebula",
        Flowers = "flower field" | "flowers" | "meadow" | "garden",
        Snow = "snowy landscape" | "snow" | "snowing" | "winter",
        CherryBlossoms = "cherry blossoms" | "sakura" | "spring",
        Underwater = "underwater" | "coral reef",
        Desert = "desert" | "dunes",
        Autumn = "autumn leaves" | "autumn" | "fall foliage",
        Rain = "rainy street" | "rain" | "raining",
        Cafe = "cozy cafe" | "cafe" | "coffee shop" | "indoors",
        Clouds = "above the clouds" | "clouds" | "sky",
        Lanterns = "lantern festival" | "lanterns" | "festival",
    }
}

choices! {
    /// The colour of the clothes, said before the outfit: "navy hoodie". Digit 3.
    ClothesColor {
        White = "white",
        Black = "black",
        Grey = "grey" | "gray",
        Red = "red",
        Burgundy = "burgundy" | "maroon" | "crimson",
        Orange = "orange",
        Yellow = "yellow" | "gold",
        Green = "green",
        Olive = "olive" | "dark green",
        Teal = "teal" | "turquoise",
        SkyBlue = "sky blue" | "light blue" | "aqua",
        Blue = "blue",
        Navy = "navy" | "dark blue",
        Purple = "purple" | "violet",
        Pink = "pink",
        Beige = "beige" | "cream" | "brown",
    }
}

choices! {
    /// The school of drawing: lines, shading and palette. Digit 4.
    Style {
        Anime = "anime style" | "anime",
        Flat = "flat illustration" | "flat design" | "vector art" | "minimalist",
        Comic = "comic book style" | "comic" | "comic book",
        Pastel = "pastel kawaii style" | "pastel" | "kawaii",
        Retro = "retro 1990s style" | "retro" | "vintage" | "1990s",
        Synthwave = "synthwave" | "neon" | "cyberpunk" | "vaporwave",
        Storybook = "storybook illustration" | "storybook" | "ghibli",
        Sticker = "sticker art" | "sticker",
    }
}

choices! {
    /// What it seems to be made with. Digit 5.
    Technique {
        Digital = "digital painting" | "digital art",
        Watercolor = "watercolor" | "watercolour" | "aquarelle",
        Halftone = "halftone" | "screentone",
        Pixel = "pixel art" | "8-bit",
        Hatching = "ink hatching" | "ink" | "hatching" | "crosshatching",
        Oil = "oil painting" | "oil on canvas" | "impasto",
        Pencil = "colored pencil" | "coloured pencil" | "crayon",
        Riso = "risograph print" | "risograph" | "screen print",
    }
}

choices! {
    /// The haircut. Digit 6.
    HairStyle {
        Bob = "bob cut" | "bob",
        LongStraight = "long straight hair" | "long hair" | "straight hair",
        Ponytail = "high ponytail" | "ponytail",
        TwinTails = "twin tails" | "twintails" | "pigtails",
        Messy = "short messy hair" | "messy hair" | "short hair" | "tousled hair",
        Afro = "afro" | "afro hair",
        Bun = "hair bun" | "bun" | "topknot",
        Braids = "twin braids" | "braids" | "braid" | "braided hair",
        Undercut = "undercut" | "fade haircut",
        Pixie = "pixie cut" | "pixie hair" | "very short hair",
        LongWavy = "long wavy hair" | "wavy hair",
        Hime = "hime cut" | "blunt bangs",
        SidePonytail = "side ponytail" | "side tail",
        SpaceBuns = "double buns" | "space buns" | "double bun",
        Spiky = "spiky hair" | "spiked hair",
        Curly = "curly hair" | "curls" | "ringlets",
    }
}

choices! {
    /// What the face says. Digit 7.
    Expression {
        Smile = "smile" | "smiling" | "happy",
        Laugh = "open mouth smile" | "laughing" | "open mouth",
        Grin = "grin" | "grinning" | "toothy smile",
        Smirk = "smirk" | "smirking",
        Calm = "calm expression" | "neutral expression" | "expressionless" | "neutral" | "calm",
        Shy = "shy" | "bashful" | "embarrassed",
        Surprised = "surprised" | "astonished" | "shocked",
        Wink = "one eye closed" | "wink" | "winking",
        Sleepy = "sleepy" | "tired" | "drowsy",
        Determined = "determined" | "serious" | "confident",
        Pout = "pout" | "pouting" | "annoyed",
        Worried = "worried" | "sad" | "anxious",
        Tongue = "tongue out" | "playful",
        CatMouth = "cat mouth" | "mischievous",
        Dreamy = "dreamy" | "looking up",
        Tender = "gentle smile" | "tender" | "serene",
    }
}

choices! {
    /// What the person wears. Digit 8.
    Outfit {
        Hoodie = "hoodie" | "hooded sweatshirt",
        Shirt = "collared shirt" | "dress shirt" | "shirt",
        Turtleneck = "turtleneck" | "turtleneck sweater",
        Jacket = "leather jacket" | "jacket" | "bomber jacket",
        Dress = "sundress" | "dress",
        Kimono = "kimono" | "yukata",
        Armor = "armor" | "armour" | "knight armor",
        TShirt = "t-shirt" | "tshirt" | "tee",
        Sailor = "sailor uniform" | "school uniform" | "serafuku",
        Suit = "suit" | "business suit" | "blazer",
        Sweater = "knit sweater" | "sweater" | "pullover",
        TankTop = "tank top" | "sleeveless top",
        LabCoat = "lab coat" | "white coat" | "coat",
        SpaceSuit = "space suit" | "spacesuit" | "astronaut suit",
        Overalls = "overalls" | "dungarees",
        Cloak = "cloak" | "cape" | "robe",
    }
}

choices! {
    /// The colour of an eye, said as "… eyes". Digit 9.
    EyeColor {
        Blue = "blue",
        SkyBlue = "sky blue" | "light blue",
        Aqua = "aqua" | "cyan" | "turquoise",
        Teal = "teal",
        Green = "green",
        Emerald = "emerald" | "dark green",
        Hazel = "hazel",
        Amber = "amber" | "orange",
        Gold = "golden" | "gold" | "yellow",
        Brown = "brown",
        DarkBrown = "dark brown" | "black",
        Red = "red" | "crimson",
        Pink = "pink",
        Magenta = "magenta",
        Violet = "violet" | "purple",
        Grey = "grey" | "gray" | "silver",
    }
}

choices! {
    /// The light. Digit 11.
    TimeOfDay {
        Dawn = "dawn" | "sunrise",
        Morning = "morning",
        Noon = "noon" | "midday" | "day" | "daytime" | "daylight",
        Afternoon = "late afternoon" | "afternoon" | "golden hour",
        Sunset = "sunset",
        Dusk = "dusk" | "evening" | "twilight",
        Night = "night" | "night time",
        Midnight = "starry midnight" | "midnight" | "starry night" | "starry sky",
    }
}

choices! {
    /// The tone of the skin. Digit 12.
    SkinTone {
        Porcelain = "porcelain skin" | "pale skin" | "very pale skin",
        Fair = "fair skin" | "light skin",
        Peach = "peach skin" | "rosy skin",
        Olive = "olive skin",
        Tan = "tan skin" | "tanned skin" | "sun-tanned skin",
        Bronze = "bronze skin" | "caramel skin",
        Brown = "brown skin",
        Dark = "dark skin" | "dark brown skin" | "black skin",
    }
}

choices! {
    /// Something worn besides the clothes, or a mark on the face. Digit 13; digits 0 to 3 choose none.
    Accessory {
        RoundGlasses = "round glasses" | "glasses",
        SquareGlasses = "square glasses" | "black-framed glasses" | "rectangular glasses",
        Hoops = "hoop earrings" | "earrings",
        Hairclips = "hairclips" | "hairclip" | "hair clip" | "hairpin",
        Bow = "hair ribbon" | "hair bow" | "ribbon",
        Headphones = "headphones" | "headset",
        Beret = "beret" | "hat",
        Flower = "hair flower" | "hair ornament",
        Choker = "choker" | "necklace",
        Scarf = "scarf",
        Freckles = "freckles",
        CatEars = "cat ears" | "animal ears",
    }
}

choices! {
    /// How the head is held. Digit 14.
    Pose {
        Straight = "looking at viewer" | "facing viewer",
        TiltLeft = "head tilt to the left" | "head tilt",
        TiltRight = "head tilt to the right",
        TurnLeft = "looking to the left" | "looking left" | "from side",
        TurnRight = "looking to the right" | "looking right",
        ChinUp = "chin up" | "from below",
        LeanLeft = "leaning to the left" | "leaning",
        LeanRight = "leaning to the right",
    }
}

/// Everything that is chosen about an avatar.
///
/// "Left" and "right" are the viewer's, as in a picture's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Traits {
    /// How the person presents.
    pub presentation: Presentation,
    /// The colour of the hair.
    pub hair_color: HairColor,
    /// What is behind the person.
    pub scene: Scene,
    /// The colour of the clothes.
    pub clothes: ClothesColor,
    /// The school of drawing.
    pub style: Style,
    /// What it seems to be made with.
    pub technique: Technique,
    /// The haircut.
    pub hair_style: HairStyle,
    /// What the face says.
    pub expression: Expression,
    /// What the person wears.
    pub outfit: Outfit,
    /// The colour of the eyes, or of the left one if they differ.
    pub eyes: EyeColor,
    /// The colour of the right eye where it differs from the left one.
    pub heterochromia: Option<EyeColor>,
    /// The light.
    pub time_of_day: TimeOfDay,
    /// The tone of the skin.
    pub skin: SkinTone,
    /// Something worn besides the clothes, if anything.
    pub accessory: Option<Accessory>,
    /// How the head is held.
    pub pose: Pose,
    /// Chooses everything that has no word: strands, stars, the exact tilt.
    pub seed: u32,
}

/// What was given for a hash is not 32 or 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: 32 (MD5) or 64 (SHA-256) hex digits are expected, and nothing else")]
pub struct InvalidHash;

impl Traits {
    /// The traits chosen by a hash of 32 or 64 hex digits, in any case.
    ///
    /// # Errors
    /// [`InvalidHash`] for any other length or any other character anywhere.
    pub fn from_hash(hash: &str) -> Result<Self, InvalidHash> {
        if !matches!(hash.len(), 32 | 64) {
            return Err(InvalidHash);
        }
        let mut digits = [0; 64];
        for (digit, character) in digits.iter_mut().zip(hash.chars()) {
            *digit = character.to_digit(16).ok_or(InvalidHash)? as u8;
        }
        let seed_at = hash.len() - 9;
        let seed = digits[seed_at..seed_at + 8].iter().fold(0, |seed, digit| seed << 4 | u32::from(*digit));
        Ok(Self::from_digits(&digits, seed))
    }

    /// The traits chosen by fifteen values, of which only the lowest four bits count.
    fn from_digits(digits: &[u8; 64], seed: u32) -> Self {
        let eyes = choose(EyeColor::ALL, digits[9]);
        Self {
            presentation: choose(Presentation::ALL, digits[0]),
            hair_color: choose(HairColor::ALL, digits[1]),
            scene: choose(Scene::ALL, digits[2]),
            clothes: choose(ClothesColor::ALL, digits[3]),
            style: choose(Style::ALL, digits[4]),
            technique: choose(Technique::ALL, digits[5]),
            hair_style: choose(HairStyle::ALL, digits[6]),
            expression: choose(Expression::ALL, digits[7]),
            outfit: choose(Outfit::ALL, digits[8]),
            eyes,
            heterochromia: other_eye(eyes, digits[10]),
            time_of_day: choose(TimeOfDay::ALL, digits[11]),
            skin: choose(SkinTone::ALL, digits[12]),
            accessory: accessory(digits[13]),
            pose: choose(Pose::ALL, digits[14]),
            seed,
        }
    }

    /// Traits for a seed alone: what is drawn where a prompt says nothing.
    #[must_use]
    pub fn from_seed(seed: u32) -> Self {
        let mut digits = [0; 64];
        let mut state = u64::from(seed);
        for digit in digits.iter_mut().take(15) {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            *digit = (mix(state) >> 60) as u8;
        }
        Self::from_digits(&digits, seed)
    }

    /// Name and value of every trait in words, in the order of the digits that choose them, the
    /// seed last.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let other_eye =
            self.heterochromia.map_or_else(|| "none".to_owned(), |eye| format!("{} right eye", eye.word()));
        vec![
            ("presentation", self.presentation.word().to_owned()),
            ("hair colour", self.hair_color.word().to_owned()),
            ("scene", self.scene.word().to_owned()),
            ("clothes colour", self.clothes.word().to_owned()),
            ("style", self.style.word().to_owned()),
            ("technique", self.technique.word().to_owned()),
            ("hair style", self.hair_style.word().to_owned()),
            ("expression", self.expression.word().to_owned()),
            ("outfit", self.outfit.word().to_owned()),
            ("eyes", self.eyes.word().to_owned()),
            ("heterochromia", other_eye),
            ("time of day", self.time_of_day.word().to_owned()),
            ("skin", self.skin.word().to_owned()),
            ("accessory", self.accessory.map_or("none", Accessory::word).to_owned()),
            ("pose", self.pose.word().to_owned()),
            ("seed", self.seed.to_string()),
        ]
    }
}

/// The value for a digit 0..16: the sixteen digits are spread evenly over the values.
fn choose<T: Copy>(all: &[T], digit: u8) -> T {
    all[usize::from(digit & 15) * all.len() / 16]
}

/// One hash in four has eyes of two colours: digits 12 to 15 choose how far round the table of
/// colours the other one is, which is never back at the first.
fn other_eye(eyes: EyeColor, digit: u8) -> Option<EyeColor> {
    let step = usize::from(digit & 15).checked_sub(12)? * 3 + 4;
    let at = EyeColor::ALL.iter().position(|eye| *eye == eyes)?;
    Some(EyeColor::ALL[(at + step) % EyeColor::ALL.len()])
}

/// Digits 0 to 3 choose nothing, the other twelve one accessory each.
fn accessory(digit: u8) -> Option<Accessory> {
    usize::from(digit & 15).checked_sub(4).map(|at| Accessory::ALL[at])
}

/// The finalizer of SplitMix64: every bit of the answer depends on every bit of `state`.
pub(crate) fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_choose_by_their_place() {
        let traits = Traits::from_hash("0123456789abcdef0123456fffffffe0").unwrap();
        assert_eq!(traits.presentation, Presentation::Girl);
        assert_eq!(traits.hair_color, HairColor::DarkBrown);
        assert_eq!(traits.scene, Scene::Beach);
        assert_eq!(traits.clothes, ClothesColor::Red);
        assert_eq!(traits.style, Style::Comic);
        assert_eq!(traits.technique, Technique::Halftone);
        assert_eq!(traits.hair_style, HairStyle::Bun);
        assert_eq!(traits.expression, Expression::Wink);
        assert_eq!(traits.outfit, Outfit::Sailor);
        assert_eq!(traits.eyes, EyeColor::Brown);
        assert_eq!(traits.heterochromia, None);
        assert_eq!(traits.time_of_day, TimeOfDay::Dusk);
        assert_eq!(traits.skin, SkinTone::Brown);
        assert_eq!(traits.accessory, Some(Accessory::Scarf));
        assert_eq!(traits.pose, Pose::LeanRight);
        assert_eq!(traits.seed, 0xffff_fffe);
    }

    #[test]
    fn a_sha256_uses_its_own_digits() {
        let long = format!("{}{}", "0".repeat(55), "80000001f");
        let traits = Traits::from_hash(&long).unwrap();
        assert_eq!(traits.seed, 0x8000_0001);
        assert_eq!(traits.hair_color, HairColor::Black);
    }

    #[test]
    fn seeds_above_half_the_range_are_used_as_they_are() {
        for (digits, seed) in [("7fffffff", 0x7fff_ffff), ("80000000", 0x8000_0000), ("FFFFFFFF", u32::MAX)] {
            let hash = format!("{}{digits}0", "a".repeat(23));
            assert_eq!(Traits::from_hash(&hash).unwrap().seed, seed);
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let cases = ["", "0", "27205e5c", &"a".repeat(31), &"a".repeat(33), &"a".repeat(63), &"g".repeat(32)];
        for case in
            cases.into_iter().chain(["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaé", "+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"])
        {
            assert_eq!(Traits::from_hash(case), Err(InvalidHash), "{case:?}");
        }
    }

    #[test]
    fn two_colours_are_never_the_same() {
        for eyes in EyeColor::ALL {
            for digit in 0..16 {
                assert_ne!(other_eye(*eyes, digit), Some(*eyes));
            }
        }
    }

    #[test]
    fn every_value_of_every_trait_has_a_digit() {
        fn covers<T: PartialEq + Copy>(all: &[T]) -> bool {
            let chosen: Vec<T> = (0..16).map(|digit| choose(all, digit)).collect();
            all.iter().all(|value| chosen.contains(value))
        }
        assert!(covers(Presentation::ALL));
        assert!(covers(HairColor::ALL));
        assert!(covers(Scene::ALL));
        assert!(covers(ClothesColor::ALL));
        assert!(covers(Style::ALL));
        assert!(covers(Technique::ALL));
        assert!(covers(HairStyle::ALL));
        assert!(covers(Expression::ALL));
        assert!(covers(Outfit::ALL));
        assert!(covers(EyeColor::ALL));
        assert!(covers(TimeOfDay::ALL));
        assert!(covers(SkinTone::ALL));
        assert!(covers(Pose::ALL));
        assert!(Accessory::ALL.iter().all(|value| (0..16).any(|digit| accessory(digit) == Some(*value))));
    }

    proptest! {
        #[test]
        fn every_digit_pattern_is_defined_in_any_case(hash in "[0-9a-f]{32}|[0-9a-f]{64}") {
            let lower = Traits::from_hash(&hash).unwrap();
            prop_assert_eq!(lower, Traits::from_hash(&hash.to_uppercase()).unwrap());
            prop_assert_eq!(lower.pairs().len(), 16);
        }
    }
}
