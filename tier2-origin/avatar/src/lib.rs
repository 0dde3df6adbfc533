//! The flagship origin: a hash becomes traits, traits become a prompt and a seed, and an image
//! model makes an avatar of them.
//!
//! [`AvatarOrigin`] stands behind a public bucket in `compute` mode; the bucket keeps and
//! coalesces, the model generates. The same digits give the same request to the model, whatever
//! their case. A key that is no hash is `Invalid` before anything waits, and nothing that goes
//! wrong with the model is ever told as absence.

mod describe;
mod key;
mod origin;

pub use describe::{Description, Trait, describe};
pub use key::{AvatarKey, InvalidKey, KEYS};
pub use origin::{AvatarOrigin, AvatarSettings};
