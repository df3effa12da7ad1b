//! Numbers as they are written: in the text, and printed again.

/// The number, if it is finite.
pub(crate) fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The number as short as it can be without becoming another.
pub(crate) fn shortest(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    // Display writes 1e300 with all of its zeros; Debug writes 5 as 5.0.
    let (plain, exact) = (number.to_string(), format!("{number:?}"));
    if plain.len() < exact.len() { plain } else { exact }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for (number, text) in [(5.0, "5"), (-0.5, "-0.5"), (1e300, "1e300"), (f64::NEG_INFINITY, "-inf")] {
            assert_eq!(shortest(number), text);
            assert_eq!(text.parse(), Ok(number));
        }
        assert_eq!(finite("1e999"), None);
    }
}
