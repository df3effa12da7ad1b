//! The conformance driver on the Rust SDK: reads operations as JSON lines, answers each with a line.
//!
//! Responsible for: reading, answering, what became of an operation that failed.
//! Not responsible for: the operations (`driver.rs`), components as Rust types (`components.rs`).
//!
//! `tests/conformance/README.md` has the operations.

mod components;
mod driver;

use std::io::{BufRead, Write, stdin, stdout};

use serde_json::{Value, json};

use crate::driver::{Driver, Failed};

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut driver = Driver::new()?;
    let mut lines = stdin().lock().lines();
    // The driver does one thing at a time, so it may wait for the next line without reading frames.
    while let Some(line) = lines.next().transpose()? {
        let operation: Value = serde_json::from_str(&line)?;
        let is_last = operation["op"] == "close";
        let answer = match driver.run(&operation).await {
            Ok(answer) => answer,
            Err(Failed { reason, detail }) => json!({"error": {"reason": reason, "detail": detail}}),
        };
        let mut out = stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
        if is_last {
            return Ok(());
        }
    }
    Ok(())
}
