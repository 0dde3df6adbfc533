//! S3 over HTTP: authentication, addressing, limits, the operations; and the admin API.
//!
//! [`Gateway`] turns HTTP requests into calls of the bucket engine and its answers into HTTP. Every request is
//! authenticated before anything else is done with it, and authorised in one place. The gateway never sees the
//! store or a shadow, and keeps nothing but a short memory of access keys.

pub mod admin;

mod access;
mod address;
mod attributes;
mod authentication;
mod blocks;
mod connection;
mod copy;
mod cors;
mod delete_objects;
mod exchange;
mod flow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod keys;
mod list;
mod list_uploads;
mod multipart;
mod operation;
mod options;
mod outgoing;
mod patience;
mod put;
mod refusal;
mod report;
mod request_id;
mod s3s_front;
mod server;
mod service;
mod telemetry;
mod unset;
mod upload;

pub use options::{GatewayOptions, PageHandler, PageResponse, Strangers};
pub use server::{Drained, Gateway};
