//! Whole processes on free ports: what a user would see.
