//! Three origins to begin your own from, each a page in `docs/tutorials`.
//!
//! - [`thumbnails`]: smaller pictures of those in another bucket, which it reads as any S3 client would.
//! - [`tiles`]: map tiles of your places, drawn when they are asked for.
//! - [`certificates`]: a document made of what its key says, for keys that only you can make; with its own [`pdf`].
//!
//! Nothing of the product uses this crate. What the three have in common is how they refuse: a key that can never exist is
//! `Invalid`, what does not exist is `NotFound`, and what could not be found out is neither.

pub mod certificates;
pub mod pdf;
pub mod thumbnails;
pub mod tiles;
