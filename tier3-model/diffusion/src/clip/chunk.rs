//! A prompt's tokens in chunks: what the text encoder sees at a time.

use super::bpe::Tokenizer;
use super::syntax::{Piece, Prompt};

/// Tokens of the prompt in a chunk; one before and one after make 77.
const CHUNK_TOKENS: usize = 75;
/// Most chunks of a prompt: what the network looks at in every step grows with them.
pub const CHUNKS_MAX: usize = 8;

/// 77 tokens, and the weight of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Begin, up to 75 of the prompt, end, and then the token that fills.
    pub tokens: Vec<u32>,
    /// As many as tokens; 1 for those that are not of the prompt.
    pub weights: Vec<f32>,
}

/// A prompt of more than [`CHUNKS_MAX`] chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the prompt has {chunks} chunks of {CHUNK_TOKENS} tokens, at most {CHUNKS_MAX} are allowed")]
pub struct TooLong {
    /// How many it would take.
    pub chunks: usize,
}

/// The chunks of `prompt`: at least one, cut after 75 tokens and at each BREAK.
///
/// # Errors
/// [`TooLong`].
pub fn chunks(tokenizer: &Tokenizer, prompt: &Prompt) -> Result<Vec<Chunk>, TooLong> {
    let mut chunks: Vec<Vec<(u32, f32)>> = vec![Vec::new()];
    for piece in &prompt.pieces {
        match piece {
            Piece::Break => chunks.push(Vec::new()),
            Piece::Text { text, weight } => {
                for token in tokenizer.tokens(text) {
                    if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK_TOKENS) {
                        chunks.push(Vec::new());
                    }
                    if let Some(chunk) = chunks.last_mut() {
                        chunk.push((token, *weight as f32));
                    }
                }
            }
        }
    }
    // A BREAK at the end begins nothing.
    if chunks.len() > 1 && chunks.last().is_some_and(Vec::is_empty) {
        chunks.pop();
    }
    if chunks.len() > CHUNKS_MAX {
        return Err(TooLong { chunks: chunks.len() });
    }
    Ok(chunks.iter().map(|chunk| framed(tokenizer, chunk)).collect())
}

fn framed(tokenizer: &Tokenizer, chunk: &[(u32, f32)]) -> Chunk {
    let fill = std::iter::repeat_n((tokenizer.pad(), 1.0), CHUNK_TOKENS - chunk.len());
    let all = std::iter::once((tokenizer.begin(), 1.0))
        .chain(chunk.iter().copied())
        .chain([(tokenizer.end(), 1.0)])
        .chain(fill);
    let (tokens, weights) = all.unzip();
    Chunk { tokens, weights }
}

impl Chunk {
    /// Weighs what the text encoder made of this chunk: a row of equal length for each token.
    ///
    /// As in the web UI, the mean of all numbers is kept. Without weights nothing is touched.
    pub fn weigh(&self, rows: &mut [f32]) {
        if self.weights.iter().all(|weight| *weight == 1.0) || rows.is_empty() {
            return;
        }
        let mean = |rows: &[f32]| rows.iter().copied().map(f64::from).sum::<f64>() / rows.len() as f64;
        let before = mean(rows);
        let width = rows.len() / self.weights.len();
        for (row, weight) in rows.chunks_exact_mut(width.max(1)).zip(&self.weights) {
            row.iter_mut().for_each(|number| *number *= weight);
        }
        let ratio = before / mean(rows);
        // All weights 0: there is no mean to restore.
        if ratio.is_finite() {
            rows.iter_mut().for_each(|number| *number = (f64::from(*number) * ratio) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bpe::small;
    use super::*;

    fn tokenizer() -> Tokenizer {
        let (vocabulary, merges) = small();
        Tokenizer::new(&vocabulary, &merges, Some("!")).unwrap()
    }

    fn cut(text: &str) -> Result<Vec<Chunk>, TooLong> {
        chunks(&tokenizer(), &Prompt::read(text).unwrap())
    }

    #[test]
    fn a_chunk_is_framed_and_filled() {
        let tokenizer = tokenizer();
        let [chunk] = &cut("a (cat:1.5)").unwrap()[..] else { panic!("one chunk") };
        let cat = tokenizer.tokens("cat")[0];
        let a = tokenizer.tokens("a")[0];
        assert_eq!(chunk.tokens[..5], [tokenizer.begin(), a, cat, tokenizer.end(), tokenizer.pad()]);
        assert_eq!(chunk.weights[..5], [1.0, 1.0, 1.5, 1.0, 1.0]);
        assert_eq!((chunk.tokens.len(), chunk.weights.len()), (77, 77));
        assert!(chunk.tokens[4..].iter().all(|token| *token == tokenizer.pad()));
    }

    #[test]
    fn chunks_end_after_75_tokens_and_at_breaks() {
        let lens = |text: &str| {
            let end = tokenizer().end();
            let of_prompt =
                |chunk: Chunk| chunk.tokens.iter().position(|token| *token == end).map(|at| at - 1);
            cut(text).unwrap().into_iter().filter_map(of_prompt).collect::<Vec<_>>()
        };
        assert_eq!(lens(""), [0]);
        assert_eq!(lens(&"cat ".repeat(75)), [75]);
        assert_eq!(lens(&"cat ".repeat(76)), [75, 1]);
        assert_eq!(lens("cat BREAK the cat"), [1, 2]);
        assert_eq!(lens("BREAK cat"), [0, 1]);
        assert_eq!(lens("cat BREAK"), [1]);
        assert_eq!(cut(&"cat ".repeat(75 * 8 + 1)), Err(TooLong { chunks: 9 }));
    }

    #[test]
    fn weights_keep_the_mean() {
        let mut chunk = Chunk { tokens: vec![0, 1], weights: vec![1.0, 1.0] };
        let mut rows = [1.0, 2.0, 3.0, 6.0];
        chunk.weigh(&mut rows);
        assert_eq!(rows, [1.0, 2.0, 3.0, 6.0]);
        chunk.weights = vec![1.0, 3.0];
        chunk.weigh(&mut rows);
        // Weighed: 1, 2, 9, 18, whose mean is 7.5 where 3 was.
        assert_eq!(rows, [0.4, 0.8, 3.6, 7.2]);
        chunk.weights = vec![0.0, 0.0];
        chunk.weigh(&mut rows);
        assert_eq!(rows, [0.0; 4]);
    }
}
