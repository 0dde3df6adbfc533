//! The engine against a scripted origin, without sockets, under virtual time.

mod blocks;
mod budgets;
mod deliveries;
mod eviction;
mod extras;
mod failures;
mod fills;
mod inventory;
mod lifecycle;
mod lists;
mod members;
mod migrations;
mod mistakes;
mod model;
mod modes;
mod outbox;
mod planted;
mod protection;
mod races;
mod ranges;
mod rules;
mod scale;
mod scrub;
mod shadows;
mod world;
mod writes;
