//! The `fallthrough` program: a server whose buckets fall through, the tiers behind it on their own, and the
//! commands that look after a running server.
//!
//! This file only starts what [`cli`] describes. Settings are read in [`settings`], the tiers are built and
//! joined in [`wiring`], and commands talk to a running server through [`admin_client`].

mod admin_client;
mod cli;
mod demo;
mod failure;
mod settings;
mod wiring;

// Halves the CPU time of image models, and keeps the resident size flat under many small requests.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
