//! The web UI's prompt syntax, as far as it is done here: weights and BREAK.
//!
//! `(x)` weighs 1.1, `[x]` 1/1.1, `(x:1.2)` 1.2, nested ones multiply; `\(`, `\)`, `\[`, `\]` and `\\` are text; the word
//! BREAK ends a chunk. As in the web UI a bracket that is never closed is for the rest of the prompt, and one that was
//! never opened is text.

use fallthrough_object::{Mutant, planted};

/// What a bracket without a number multiplies by, or divides.
const EMPHASIS: f64 = 1.1;

/// Part of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Words that weigh the same.
    Text {
        /// As written, without brackets and escapes.
        text: String,
        /// 1.0 where nothing else is said.
        weight: f64,
    },
    /// The chunk ends here.
    Break,
}

/// A prompt that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// In order; neighbours have different weights.
    pub pieces: Vec<Piece>,
}

/// Syntax that is understood by the web UI and not done here, or a weight that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// `<lora:name:1>` and its like.
    #[error("the prompt's {0} is not supported: networks cannot be added by the prompt here")]
    ExtraNetwork(String),
    /// `[a|b]`.
    #[error("the prompt's [a|b] is not supported: words cannot alternate between steps here")]
    Alternation,
    /// `[a:b:0.5]`, `[a:0.5]` and `[a::0.5]`.
    #[error("the prompt's [a:b:0.5] is not supported: words cannot change with the steps here")]
    Schedule,
    /// `a AND b`.
    #[error("the prompt's AND is not supported: prompts cannot be combined here; write it in small letters")]
    Composition,
    /// A number that no weight can be.
    #[error("the prompt's weight {0:?} is not supported: it must be a number from -10 to 10")]
    Weight(String),
}

impl Prompt {
    /// Reads `text`.
    ///
    /// # Errors
    /// [`SyntaxError`] names what is not supported.
    pub fn read(text: &str) -> Result<Self, SyntaxError> {
        refuse_networks(text)?;
        let mut reader = Reader { pieces: Vec::new(), open: Vec::new() };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let after = &rest[first.len_utf8()..];
            rest = match first {
                '\\' => match after.chars().next().filter(|next| "()[]\\".contains(*next)) {
                    Some(escaped) => {
                        reader.text(escaped);
                        &after[escaped.len_utf8()..]
                    }
                    None => {
                        reader.text(first);
                        after
                    }
                },
                '(' | '[' => {
                    reader.open.push((first, reader.pieces.len()));
                    after
                }
                ')' | ']' => {
                    reader.close(first);
                    after
                }
                ':' => reader.colon(after)?,
                '|' if reader.within_square() && !planted(Mutant::AlternationIsText) => {
                    return Err(SyntaxError::Alternation);
                }
                other => {
                    reader.text(other);
                    after
                }
            };
        }
        while let Some((bracket, from)) = reader.open.pop() {
            reader.weigh(from, if bracket == '(' { EMPHASIS } else { 1.0 / EMPHASIS });
        }
        split_breaks(reader.pieces)
    }
}

/// Letters with their weights, and the brackets that are open.
struct Reader {
    pieces: Vec<(char, f64)>,
    /// Which bracket, and how many letters lie before it.
    open: Vec<(char, usize)>,
}

impl Reader {
    fn text(&mut self, letter: char) {
        self.pieces.push((letter, 1.0));
    }

    fn within_square(&self) -> bool {
        self.open.last().is_some_and(|(bracket, _)| *bracket == '[')
    }

    fn weigh(&mut self, from: usize, factor: f64) {
        for (_, weight) in &mut self.pieces[from..] {
            *weight *= factor;
        }
    }

    /// The innermost bracket of the kind is closed, and whatever was opened within it stays open, as in the web UI.
    fn close(&mut self, bracket: char) {
        let (opening, factor) = if bracket == ')' { ('(', EMPHASIS) } else { ('[', 1.0 / EMPHASIS) };
        match self.open.iter().rposition(|(open, _)| *open == opening) {
            Some(at) => {
                let (_, from) = self.open.remove(at);
                self.weigh(from, factor);
            }
            None => self.text(bracket),
        }
    }

    /// A colon: the weight of the round bracket that ends with it, or text. Returns what is left to read.
    fn colon<'a>(&mut self, after: &'a str) -> Result<&'a str, SyntaxError> {
        if self.within_square() {
            return Err(SyntaxError::Schedule);
        }
        let number = after.find(')').map(|end| (after[..end].trim(), &after[end + 1..]));
        let is_number = |text: &str| {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            !digits.is_empty() && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
        };
        match number.filter(|(text, _)| is_number(text)) {
            Some((text, rest)) if self.open.iter().any(|(bracket, _)| *bracket == '(') => {
                let weight = text.parse().ok().filter(|weight: &f64| (-10.0..=10.0).contains(weight));
                let weight = weight.ok_or_else(|| SyntaxError::Weight(text.to_owned()))?;
                let at = self.open.iter().rposition(|(bracket, _)| *bracket == '(').unwrap_or_default();
                let (_, from) = self.open.remove(at);
                self.weigh(from, if planted(Mutant::PromptWeightIgnored) { EMPHASIS } else { weight });
                Ok(rest)
            }
            Some(_) | None => {
                self.text(':');
                Ok(after)
            }
        }
    }
}

/// `<name:arguments>` anywhere, whatever brackets are around it.
fn refuse_networks(text: &str) -> Result<(), SyntaxError> {
    for (start, _) in text.match_indices('<') {
        let after = &text[start + 1..];
        let name =
            after.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default();
        let arguments = after[name.len()..].strip_prefix(':').and_then(|rest| rest.split_once('>'));
        if let Some((arguments, _)) =
            arguments.filter(|(arguments, _)| !name.is_empty() && !arguments.is_empty())
        {
            return Err(SyntaxError::ExtraNetwork(format!("<{name}:{arguments}>")));
        }
    }
    Ok(())
}

/// Runs of letters of one weight, cut at the word BREAK; the word AND is refused.
fn split_breaks(letters: Vec<(char, f64)>) -> Result<Prompt, SyntaxError> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut at = 0;
    for run in letters.chunk_by(|left, right| is_word(left.0) == is_word(right.0)) {
        let end = at + run.len();
        let word: String = run.iter().map(|(letter, _)| *letter).collect();
        if word == "AND" {
            return Err(SyntaxError::Composition);
        }
        if word == "BREAK" {
            push_runs(&mut pieces, &letters[from..at]);
            pieces.push(Piece::Break);
            from = end;
        }
        at = end;
    }
    push_runs(&mut pieces, &letters[from..]);
    Ok(Prompt { pieces })
}

fn push_runs(pieces: &mut Vec<Piece>, letters: &[(char, f64)]) {
    for run in letters.chunk_by(|left, right| left.1 == right.1) {
        let text: String = run.iter().map(|(letter, _)| *letter).collect();
        if let (false, Some((_, weight))) = (text.trim().is_empty(), run.first()) {
            pieces.push(Piece::Text { text, weight: *weight });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces as text: weights with three digits, BREAK as `/`.
    fn read(text: &str) -> String {
        let prompt = match Prompt::read(text) {
            Ok(prompt) => prompt,
            Err(error) => return format!("error: {error}"),
        };
        let piece = |piece: &Piece| match piece {
            Piece::Text { text, weight } => format!("{text}={weight:.3}"),
            Piece::Break => "/".to_owned(),
        };
        prompt.pieces.iter().map(piece).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn weights_are_the_web_uis() {
        for (text, expected) in [
            ("normal text", "normal text=1.000"),
            ("an (important) word", "an =1.000|important=1.100| word=1.000"),
            ("(unbalanced", "unbalanced=1.100"),
            (r"\(literal\]", "(literal]=1.000"),
            ("(unnecessary)(parens)", "unnecessaryparens=1.100"),
            // The example in the web UI's own documentation of its parser.
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                "a =1.000|house=1.573|on=1.000| a =1.100|hill=0.550|, sun, =1.100|sky=1.464|.=1.100",
            ),
            ("(a: 1.5 )", "a=1.500"),
            ("(a:-0.5)", "a=-0.500"),
            ("time 12:30) x", "time 12:30) x=1.000"),
            ("(a: b)", "a: b=1.100"),
            ("", ""),
            ("  \n ", ""),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn breaks_are_words_of_their_own() {
        assert_eq!(read("one BREAK two"), "one =1.000|/| two=1.000");
        assert_eq!(read("(one BREAK two)"), "one =1.100|/| two=1.100");
        assert_eq!(read("BREAKFAST break BREAK"), "BREAKFAST break =1.000|/");
    }

    #[test]
    fn what_is_not_done_here_is_named() {
        for (text, expected) in [
            ("a <lora:style:0.8> b", "<lora:style:0.8>"),
            ("(a <hypernet:x:1>)", "<hypernet:x:1>"),
            ("[cat|dog]", "[a|b]"),
            ("a [cat:dog:0.5]", "[a:b:0.5]"),
            ("([cat:0.5])", "[a:b:0.5]"),
            ("a cat AND a dog", "AND"),
            ("(a:11)", "weight \"11\""),
            ("(a:1.2.3)", "weight \"1.2.3\""),
        ] {
            let told = read(text);
            assert!(told.starts_with("error: the prompt's") && told.contains(expected), "{text}: {told}");
        }
        // None of these is syntax.
        for text in
            ["a < b", "<3", "<>", "a|b", "(cat|dog)", "SAND AND_ BRAND", "[(cat:1.2)]", r"\[cat\|dog\]"]
        {
            assert!(!read(text).starts_with("error"), "{text}: {}", read(text));
        }
    }
}
