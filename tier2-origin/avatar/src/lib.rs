//! The flagship origin: a hash becomes traits, traits become a prompt and a seed, and an image
//! model makes an avatar of them.
//!
//! [`AvatarOrigin`] stands behind a public bucket in `compute` mode; the bucket keeps and
//! coalesces, the model generates. The same digits give the same request to the model, whatever
//! their case. A key that is no hash is `Invalid` before anything waits, and nothing that goes
//! wrong with the model is ever told as absence.
//!
//! [`Front`] says which object an address of Gravatar's or Libravatar's stands for, [`compare`] how far a picture has
//! drifted from one that is kept.

mod audit;
mod describe;
mod front;
mod hash;
mod key;
mod mutants;
mod origin;

pub use audit::{Drift, compare};
pub use describe::{Description, Trait, describe};
pub use front::{Fallback, Front, FrontSettings, Plan, Then};
pub use hash::{AvatarHash, normal};
pub use key::{AvatarKey, InvalidKey, KEYS, SIZES, Subject};
pub use origin::{AvatarOrigin, AvatarSettings};
