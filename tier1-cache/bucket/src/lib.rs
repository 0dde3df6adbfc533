//! The bucket engine: what is here is served, what is not falls through, once, and is kept.
//!
//! The gateway calls [`Engine`]; the engine brings the store and the shadows together. It never sees HTTP:
//! requests and answers are the types of [`api`]. What must be right under every interleaving (the state of
//! a key, the table of running fills, admission, the breaker) is pure and lives in [`core`].

pub mod api;
pub mod core;

mod engine;

pub use api::{
    Answer, BucketError, CacheReport, CacheWord, Caller, Deleted, Explanation, GetRequest, ListCursor,
    ListItem, ListPage, ListRequest, NewBucket, Object, ObjectBody, PutOutcome, PutRequest,
};
pub use engine::{Engine, EngineOptions, ShadowFactory, ShadowRefused};
pub use fallthrough_store::{
    AccessKeyRow, Bucket, BucketId, BucketMode, BucketSettings, Grant, ListFrom, ObjectInfo, Provenance,
    PublicAccess, PublicFill, Right, ShadowCredentials, ShadowRule, ShadowTarget, Treat403As,
};
