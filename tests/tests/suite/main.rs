//! Whole processes on free ports: what a user would see. One binary, so that it links once.

mod attach;
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
mod slow;
mod tools;
mod views;
mod workers;
mod writes;
