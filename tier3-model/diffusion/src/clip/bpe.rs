//! CLIP's tokenizer: byte pairs, merged by rank, from the `vocab.json` and `merges.txt` beside a model's weights.
//!
//! Text is read as tokenizers 0.15 read it for CLIP: white space is one space, letters are small, and words are cut as
//! in OpenAI's tokenizer. Composed and decomposed letters are not brought together (Unicode's NFC): keyboards write
//! composed ones.

use std::collections::HashMap;

use fallthrough_object::{Mutant, planted};
use regex::Regex;

/// Marks the last symbol of a word.
const WORD_END: &str = "</w>";
/// The token before a prompt.
const BEGIN: &str = "<|startoftext|>";
/// The token after it.
const END: &str = "<|endoftext|>";
/// OpenAI's cut into words, of small letters.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// Vocabulary files that do not belong to CLIP, or not together.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// `vocab.json` is no object of numbers.
    #[error("vocab.json is not a vocabulary: {0}")]
    Vocabulary(serde_json::Error),
    /// A line of `merges.txt` is no pair.
    #[error("merges.txt, line {line}: {text:?} is not a pair of symbols")]
    Merge {
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A symbol that text can come to has no number.
    #[error("vocab.json has no {0:?}: it is not CLIP's, or does not belong to merges.txt")]
    Missing(String),
}

/// Makes tokens of text.
#[derive(Debug)]
pub struct Tokenizer {
    /// The token of each byte within a word.
    inner: [u32; 256],
    /// And of each byte that ends a word.
    last: [u32; 256],
    /// Pairs of tokens: how early they are merged, and into which.
    merges: HashMap<(u32, u32), (usize, u32)>,
    words: Regex,
    begin: u32,
    end: u32,
    pad: u32,
    highest: u32,
}

impl Tokenizer {
    /// A tokenizer from the contents of `vocab.json` and `merges.txt`; `pad` is the token that fills chunks, the one
    /// that ends a prompt if none is given.
    ///
    /// # Errors
    /// [`VocabularyError`]: the files are damaged, or do not belong together. Afterwards no text can fail.
    pub fn new(vocabulary: &str, merges: &str, pad: Option<&str>) -> Result<Self, VocabularyError> {
        let vocabulary: HashMap<String, u32> =
            serde_json::from_str(vocabulary).map_err(VocabularyError::Vocabulary)?;
        let number = |symbol: &str| {
            vocabulary.get(symbol).copied().ok_or_else(|| VocabularyError::Missing(symbol.to_owned()))
        };
        let (mut inner, mut last) = ([0; 256], [0; 256]);
        for ((inner, last), letter) in inner.iter_mut().zip(&mut last).zip(letters_of_bytes()) {
            *inner = number(&letter.to_string())?;
            *last = number(&format!("{letter}{WORD_END}"))?;
        }
        let mut ranked = HashMap::new();
        for (index, line) in merges.lines().enumerate() {
            if line.trim().is_empty() || (index == 0 && line.starts_with("#version")) {
                continue;
            }
            let (left, right) = line
                .split_once(' ')
                .ok_or_else(|| VocabularyError::Merge { line: index + 1, text: line.to_owned() })?;
            let pair = (number(left)?, number(right)?);
            // What is listed twice is merged as early as it first says.
            ranked.entry(pair).or_insert((index, number(&format!("{left}{right}"))?));
        }
        let (begin, end) = (number(BEGIN)?, number(END)?);
        let pad = pad.map_or(Ok(end), number)?;
        let words = Regex::new(WORDS).expect("a fixed pattern");
        let highest = vocabulary.values().copied().max().unwrap_or_default();
        Ok(Self { inner, last, merges: ranked, words, begin, end, pad, highest })
    }

    /// The token before a prompt.
    #[must_use]
    pub fn begin(&self) -> u32 {
        self.begin
    }

    /// The token after a prompt.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The token that fills a chunk.
    #[must_use]
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The highest number of a token.
    #[must_use]
    pub fn highest(&self) -> u32 {
        self.highest
    }

    /// The tokens of `text`, without those before and after.
    #[must_use]
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        // Letter by letter, as tokenizers does: a sigma stays a sigma at the end of a word.
        let small: String = text.chars().flat_map(char::to_lowercase).collect();
        self.words.find_iter(&small).flat_map(|word| self.merged(word.as_str())).collect()
    }

    /// A word's tokens after all merges, the earliest of the ranks first.
    fn merged(&self, word: &str) -> Vec<u32> {
        let mut tokens: Vec<u32> = word.bytes().map(|byte| self.inner[usize::from(byte)]).collect();
        if let (Some(token), Some(byte)) = (tokens.last_mut(), word.bytes().last()) {
            *token = self.last[usize::from(byte)];
        }
        loop {
            let merge = |pair: &[u32]| self.merges.get(&(pair[0], pair[1])).copied();
            let mut known = tokens.windows(2).filter_map(merge);
            let next = if planted(Mutant::MergedFromTheLeft) { known.next() } else { known.min() };
            let Some(next) = next else { return tokens };
            let mut joined = Vec::with_capacity(tokens.len());
            let mut at = 0;
            while at < tokens.len() {
                let pair = tokens.get(at..at + 2).filter(|pair| merge(pair) == Some(next));
                joined.push(if pair.is_some() { next.1 } else { tokens[at] });
                at += if pair.is_some() { 2 } else { 1 };
            }
            tokens = joined;
        }
    }
}

/// A visible letter for each byte, as GPT-2 chose them: itself if it can be seen, else the next from U+0100 on.
fn letters_of_bytes() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut unseen = 0;
    for (byte, letter) in (0u8..=255).zip(&mut letters) {
        *letter = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                unseen += 1;
                char::from_u32(0xFF + unseen).unwrap_or_default()
            }
        };
    }
    letters
}

/// A vocabulary as CLIP's is built, with a few merges: for tests here and in the chunks beside.
#[cfg(test)]
pub(super) fn small() -> (String, String) {
    let merges =
        ["c a", "ca t</w>", "a t</w>", "i n", "in g</w>", "t h", "th e</w>", "o w", "l ow", "' s</w>"];
    let letters = letters_of_bytes();
    let mut symbols: Vec<String> = letters.iter().map(char::to_string).collect();
    symbols.extend(letters.iter().map(|letter| format!("{letter}{WORD_END}")));
    symbols.extend(merges.iter().map(|pair| pair.replace(' ', "")));
    symbols.extend([BEGIN.to_owned(), END.to_owned()]);
    let numbered: serde_json::Map<_, _> = symbols.into_iter().zip((0u32..).map(Into::into)).collect();
    (serde_json::Value::Object(numbered).to_string(), format!("#version: 0.2\n{}\n", merges.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens of `text` by their symbols.
    fn words(tokenizer: &Tokenizer, vocabulary: &str, text: &str) -> String {
        let vocabulary: HashMap<String, u32> = serde_json::from_str(vocabulary).unwrap();
        let name = |token: u32| vocabulary.iter().find(|(_, number)| **number == token).unwrap().0.as_str();
        tokenizer.tokens(text).into_iter().map(name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_cut_and_merged_by_rank() {
        let (vocabulary, merges) = small();
        let tokenizer = Tokenizer::new(&vocabulary, &merges, None).unwrap();
        for (text, expected) in [
            ("The cat", "the</w> cat</w>"),
            ("  THE\n\tcat  ", "the</w> cat</w>"),
            ("cat's", "cat</w> 's</w>"),
            // "c a" comes before "a t</w>", though both are there.
            ("cats", "ca t s</w>"),
            ("at", "at</w>"),
            // "i n" first, then "in g</w>"; "o w" before "l ow".
            ("lowing", "low ing</w>"),
            ("42", "4</w> 2</w>"),
            ("cat,cat!?", "cat</w> ,</w> cat</w> ! ?</w>"),
            ("é", "Ã ©</w>"),
            ("", ""),
        ] {
            assert_eq!(words(&tokenizer, &vocabulary, text), expected, "{text:?}");
        }
        assert_eq!(tokenizer.tokens("ΟΔΟΣ"), tokenizer.tokens("οδοσ"));
        assert_eq!(tokenizer.pad(), tokenizer.end());
        assert_eq!(tokenizer.highest(), tokenizer.end());
    }

    #[test]
    fn the_lowest_rank_is_merged_first_wherever_it_stands() {
        // In "hath" the pair "a t" stands further left than "t h</w>", which has the lower rank.
        let (vocabulary, merges) = small();
        let mut numbers: HashMap<String, u32> = serde_json::from_str(&vocabulary).unwrap();
        numbers.insert("th</w>".to_owned(), 9000);
        numbers.insert("at".to_owned(), 9001);
        let vocabulary = serde_json::to_string(&numbers).unwrap();
        let tokenizer = Tokenizer::new(&vocabulary, &format!("{merges}t h</w>\na t\n"), None).unwrap();
        assert_eq!(words(&tokenizer, &vocabulary, "hath"), "h a th</w>");
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let (vocabulary, merges) = small();
        let told = |vocabulary: &str, merges: &str, pad| {
            Tokenizer::new(vocabulary, merges, pad).map(|_| ()).unwrap_err().to_string()
        };
        assert!(told("[]", &merges, None).starts_with("vocab.json is not a vocabulary"));
        assert_eq!(
            told(&vocabulary, "#version: 0.2\nab\n", None),
            "merges.txt, line 2: \"ab\" is not a pair of symbols"
        );
        let missing = |symbol: &str| {
            format!("vocab.json has no {symbol:?}: it is not CLIP's, or does not belong to merges.txt")
        };
        assert_eq!(told(&vocabulary, "x y\n", None), missing("xy"));
        assert_eq!(told("{}", &merges, None), missing("Ā"));
        assert_eq!(told(&vocabulary, &merges, Some("<pad>")), missing("<pad>"));
    }
}
