//! Values as people write them: `20ms`, `4MiB`, `127.0.0.1:7400`.

use std::{net::SocketAddr, time::Duration};

const DURATION_RULE: &str = "must be a number and a unit: 250us, 20ms, 5s, 2m or 1h";
const BYTES_RULE: &str = "must be a whole number of bytes, or a number and a unit: 512KiB, 4MiB, 1GiB";

/// A duration like `20ms`.
///
/// # Errors
/// The rule that the text breaks.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds_per_unit = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(DURATION_RULE.to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| DURATION_RULE.to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| DURATION_RULE.to_owned())
}

/// A duration as [`parse_duration`] reads it.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.as_micros() {
        0 => "0s".to_owned(),
        us if us.is_multiple_of(3_600_000_000) => format!("{}h", us / 3_600_000_000),
        us if us.is_multiple_of(60_000_000) => format!("{}m", us / 60_000_000),
        us if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
        us if us.is_multiple_of(1000) => format!("{}ms", us / 1000),
        us => format!("{us}us"),
    }
}

/// A size like `4MiB`.
///
/// # Errors
/// The rule that the text breaks.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(BYTES_RULE.to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| BYTES_RULE.to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| BYTES_RULE.to_owned())
}

/// An address and port like `127.0.0.1:7400`.
///
/// # Errors
/// The rule that the text breaks.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.replacen("localhost:", "127.0.0.1:", 1)
        .parse()
        .map_err(|_| "must be an address and a port, like 127.0.0.1:7400 or [::1]:7400".to_owned())
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(parse_duration("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "1.2.3s", "1e400h", "5 parsecs"] {
            assert_eq!(parse_duration(bad), Err(DURATION_RULE.to_owned()), "{bad}");
        }
        for text in ["0s", "250us", "20ms", "5s", "2m", "1h"] {
            assert_eq!(parse_duration(text).map(duration_text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_bytes("20MiB"), Ok(20 << 20));
        assert_eq!(parse_bytes("512"), Ok(512));
        for bad in ["", "MiB", "1.5MiB", "20MB", "99999999999999GiB"] {
            assert_eq!(parse_bytes(bad), Err(BYTES_RULE.to_owned()), "{bad}");
        }
    }

    #[test]
    fn localhost_is_an_address() {
        assert_eq!(parse_address("localhost:80").map(|address| address.port()), Ok(80));
        assert!(parse_address("localhost").is_err());
    }
}
