//! Whole processes on free ports: what a user would see. One binary, so that it links once.
//!
//! Tests run on a runtime with a thread of its own: connections must close while a test waits for a world to stop.

mod attach;
mod browser;
mod cli;
mod crossing;
mod damage;
mod earth;
mod fields;
mod flight;
mod large;
mod lifecycle;
mod python;
mod queries;
mod roster;
mod schema;
mod slow;
mod tools;
mod views;
mod workers;
mod writes;
