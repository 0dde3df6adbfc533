//! Builds the tiers from settings and joins them: used by `serve`, `avatar serve`, `model serve` and `demo`.
//!
//! Each tier starts on its own and returns a running server with its address (port 0 has become a real one)
//! and what a client needs to use it:
//!
//! 1. tier 3: [`model::ModelPlan::start`] → [`model::RunningModel`];
//! 2. tier 2: [`avatar::AvatarPlan::start`] (naming the model server of 1) → [`avatar::RunningAvatar`];
//! 3. tier 1: [`bucket_tier::BucketTierPlan::start`] → [`bucket_tier::RunningBucketTier`].
//!
//! How `demo` uses it: load [`Settings`](crate::settings::Settings) from
//! [`Globals::layers`](crate::cli::Globals::layers) with `presets` (TOML that lies under the user's file and
//! variables: data folder, ports, `network.allow-private-origins`); start 1 and 2 on `127.0.0.1:0`; put what 2
//! returned into `settings.origins` ([`avatar::RunningAvatar::as_origin`]) and the bucket `avatar` into
//! `settings.buckets`; hand these settings to 3 with the page as `pages`; catch
//! [`stop::StopSignals`]; write the [`ready_file::ReadyFile`] with [`bucket_tier::RunningBucketTier::ready_fields`]
//! and the fields of its own; wait for [`stop::StopSignals::next`]; drop the ready file; then shut down 3, 2, 1
//! in this order.

pub(crate) mod avatar;
pub(crate) mod bucket_tier;
pub(crate) mod clients;
mod declared;
mod descriptors;
pub(crate) mod front;
pub(crate) mod in_process;
pub(crate) mod listen;
pub(crate) mod logging;
mod metrics;
pub(crate) mod model;
mod prober;
mod queues;
pub(crate) mod ready_file;
pub(crate) mod reload;
pub(crate) mod root;
mod scrubber;
mod shadows;
pub(crate) mod stop;
mod sweeper;
mod timed;
mod tls;
pub(crate) mod token;
mod workers;
