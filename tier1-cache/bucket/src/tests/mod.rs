//! The engine against a scripted origin, without sockets, under virtual time.

mod failures;
mod fills;
mod lists;
mod modes;
mod races;
mod world;
mod writes;
