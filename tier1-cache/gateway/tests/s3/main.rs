//! S3 over a real socket: every operation, every way to send a body, and what hostile requests get.

#![expect(clippy::unwrap_used, reason = "a test whose world does not work fails")]

mod admin;
mod bodies;
mod buckets;
mod client;
mod copies;
mod falls;
mod hostile;
mod lists;
mod multipart;
mod objects;
mod patience;
mod rights;
mod serving;
mod world;
