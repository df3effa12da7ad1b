//! Whole processes on free ports: what a user would see. One binary, so that it links once.
//!
//! Tests run on a runtime with a thread of its own: connections must close while a test waits for a world to stop.

mod admin;
mod attach;
mod authority;
mod browser;
mod cli;
mod conformance;
mod crossing;
mod damage;
mod densities;
mod doors;
mod durable;
mod earth;
mod events;
mod explain;
mod fields;
mod flight;
mod history;
mod holds;
mod import;
mod interest;
mod interest_component;
mod large;
mod layers;
mod lifecycle;
mod own_world;
mod owning;
mod players;
mod python;
mod queries;
mod recording;
mod roster;
mod schema;
mod slow;
mod snapshots;
mod stalls;
mod tls;
mod tools;
mod torture;
mod traffic;
mod views;
mod watch;
mod workers;
mod writes;
