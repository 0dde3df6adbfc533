//! The engine against a scripted origin, without sockets, under virtual time.

mod failures;
mod fills;
mod lifecycle;
mod lists;
mod migrations;
mod mistakes;
mod model;
mod modes;
mod outbox;
mod protection;
mod races;
mod rules;
mod scale;
mod scrub;
mod shadows;
mod world;
mod writes;
