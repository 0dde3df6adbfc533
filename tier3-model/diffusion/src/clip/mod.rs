//! What CLIP reads: a prompt, its weights and its tokens, in chunks of 75.
//!
//! [`Prompt`] reads the web UI's syntax, [`Tokenizer`] makes tokens from the vocabulary that lies beside a model's
//! weights, and [`chunks`] brings the two together. Syntax that would change the picture and is not done here is an
//! error that names it.

mod bpe;
mod chunk;
mod syntax;

pub use bpe::{Tokenizer, VocabularyError};
pub use chunk::{CHUNKS_MAX, Chunk, TooLong, chunks};
pub use syntax::{Piece, Prompt, SyntaxError};
