//! S3 over a real socket: every operation, every way to send a body, and what hostile requests get.

#![expect(clippy::unwrap_used, reason = "a test whose world does not work fails")]

mod acls;
mod admin;
mod bodies;
mod buckets;
mod client;
mod copies;
mod cors;
mod falls;
mod forms;
mod framing;
mod fronts;
mod hostile;
mod legacy;
mod lists;
mod mistakes;
mod multipart;
mod objects;
mod parts;
mod patience;
mod presigned;
mod rights;
mod serving;
mod sites;
mod tags;
mod tls;
mod versions;
mod world;
