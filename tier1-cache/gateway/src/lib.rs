//! S3 over HTTP: authentication, addressing, limits, the operations; and the admin API.
//!
//! [`Gateway`] turns HTTP requests into calls of the bucket engine and its answers into HTTP. Every request is
//! authenticated before anything else is done with it, and authorised in one place. The gateway never sees the
//! store or a shadow, and keeps nothing but a short memory of access keys.

pub mod admin;

mod access;
mod acl;
mod address;

mod authentication;
mod blocks;
mod configuration;
mod connection;
mod copy;
mod cors;
mod delete_objects;
mod document;
mod exchange;
mod flow;
mod form;
mod front;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod given;
mod keys;
mod list;
mod list_uploads;
mod multipart;
mod object_attributes;
mod operation;
mod options;
mod outgoing;
mod patience;
mod peer;
mod people;
mod presigned;
mod put;
mod refusal;
mod report;
mod request_id;
mod routes;
mod s3s_front;
mod server;
mod service;
mod site;
mod tagging;
mod telemetry;
mod tls;
mod unparsed;
mod unset;
mod upload;
mod versions;

pub use front::{Front, FrontPlan, FrontThen};
pub use options::{GatewayOptions, PageHandler, PageResponse, Strangers};
pub use routes::Route;
pub use server::{Drained, Gateway};
pub use tls::{Tls, TlsRefused};
