//! From characters to words, numbers and signs.

use crate::error::{ParseError, Span, shown};

/// One token. Names and numbers are as they stand in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Names with dots between them: `has`, `earth.City`, `Metadata.type`.
    Path(&'a str),
    /// With its sign: `-1.5e3`, `-inf`.
    Number(&'a str),
    /// What stands between quotes, without escapes. Need not be UTF-8.
    Quoted(Vec<u8>),
    /// One of `( ) , .. = == != < <= > >=`.
    Sign(&'static str),
    End,
}

/// The longer ones first.
const SIGNS: [&str; 11] = ["..", "==", "!=", "<=", ">=", "(", ")", ",", "=", "<", ">"];

/// What people try that know other languages, and what it is called here.
const ELSEWHERE: [(&str, &str); 5] = [("&&", "and"), ("||", "or"), ("&", "and"), ("|", "or"), ("!", "not")];

/// The rest of the text.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The next token; [`Token::End`] again and again at the end.
    pub(crate) fn next(&mut self) -> Result<(Token<'a>, Span), ParseError> {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        let bytes = rest.as_bytes();
        let Some(&first) = bytes.first() else { return Ok((Token::End, self.take(0))) };
        let second = bytes.get(1).copied().unwrap_or(0);
        if first.is_ascii_alphabetic() || first == b'_' {
            let length = path_length(bytes);
            return Ok((Token::Path(&rest[..length]), self.take(length)));
        }
        if first.is_ascii_digit() || (first == b'-' && second.is_ascii_digit()) {
            let length = number_length(bytes);
            return Ok((Token::Number(&rest[..length]), self.take(length)));
        }
        if first == b'-' && path_length(&bytes[1..]) == 3 && rest[1..].starts_with("inf") {
            return Ok((Token::Number(&rest[..4]), self.take(4)));
        }
        if first == b'"' || first == b'\'' {
            return self.quoted(rest, first as char);
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            return Ok((Token::Sign(sign), self.take(sign.len())));
        }
        if let Some((sign, word)) = ELSEWHERE.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
            return Err(ParseError::new(
                self.take(sign.len()),
                format!("there is no `{sign}`: write `{word}`"),
            ));
        }
        let length = rest.chars().next().map_or(0, char::len_utf8);
        Err(ParseError::new(self.take(length), format!("{} has no meaning here", shown(&rest[..length]))))
    }

    fn take(&mut self, length: usize) -> Span {
        let start = self.at;
        self.at += length;
        Span { start, end: self.at }
    }

    /// `rest` starts with the quote.
    fn quoted(&mut self, rest: &'a str, quote: char) -> Result<(Token<'a>, Span), ParseError> {
        let mut bytes = Vec::new();
        let mut at = 1;
        while let Some(c) = rest[at..].chars().next() {
            if c == quote {
                return Ok((Token::Quoted(bytes), self.take(at + 1)));
            }
            if c == '\\' {
                let Some((piece, length)) = escape(&rest[at..]) else {
                    let start = self.at + at;
                    let length = 1 + rest[at + 1..].chars().next().map_or(0, char::len_utf8);
                    let error = ParseError::new(Span { start, end: start + length }, "no such escape");
                    return Err(error.expecting("\\\" \\' \\\\ \\n \\r \\t \\xHH or \\u{HHHH}"));
                };
                bytes.extend(piece);
                at += length;
            } else {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                at += c.len_utf8();
            }
        }
        let span = self.take(rest.len());
        Err(ParseError::new(span, format!("the text that starts here has no end: {quote} is missing")))
    }
}

/// How long the names with dots between them are at the start.
fn path_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += length_of(&bytes[at..], |byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let goes_on = matches!(bytes[at..], [b'.', next, ..] if next.is_ascii_alphabetic() || next == b'_');
        if !goes_on {
            return at;
        }
        at += 1;
    }
}

/// How long the number is at the start. A dot or an `e` is part of it only with a digit behind.
fn number_length(bytes: &[u8]) -> usize {
    let digits = |from: usize| length_of(&bytes[from..], |byte| byte.is_ascii_digit());
    let mut at = usize::from(bytes[0] == b'-');
    at += digits(at);
    if matches!(bytes[at..], [b'.', b'0'..=b'9', ..]) {
        at += 1 + digits(at + 1);
    }
    match bytes[at..] {
        [b'e' | b'E', b'0'..=b'9', ..] => at + 1 + digits(at + 1),
        [b'e' | b'E', b'+' | b'-', b'0'..=b'9', ..] => at + 2 + digits(at + 2),
        _ => at,
    }
}

fn length_of(bytes: &[u8], holds: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| holds(**byte)).count()
}

/// The bytes that an escape stands for, and its length. `rest` starts with the backslash.
fn escape(rest: &str) -> Option<(Vec<u8>, usize)> {
    let one = |byte: u8| Some((vec![byte], 2));
    match rest.as_bytes().get(1)? {
        b'n' => one(b'\n'),
        b'r' => one(b'\r'),
        b't' => one(b'\t'),
        byte @ (b'"' | b'\'' | b'\\') => one(*byte),
        b'x' => Some((vec![u8::from_str_radix(hex(rest.get(2..4)?)?, 16).ok()?], 4)),
        b'u' => {
            let digits = rest.get(2..)?.strip_prefix('{')?.split_once('}')?.0;
            let c = char::from_u32(u32::from_str_radix(hex(digits)?, 16).ok()?)?;
            Some((c.to_string().into_bytes(), digits.len() + 4))
        }
        _ => None,
    }
}

/// The text, if it is hexadecimal digits and nothing else: a sign is none.
fn hex(digits: &str) -> Option<&str> {
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next()?.0 {
                Token::End => return Ok(tokens),
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn dots_belong_to_names_numbers_and_ranges() {
        use Token::{Number, Path, Sign};
        assert_eq!(tokens("a.b_c.d2"), Ok(vec![Path("a.b_c.d2")]));
        assert_eq!(tokens("0..3000"), Ok(vec![Number("0"), Sign(".."), Number("3000")]));
        assert_eq!(tokens("-1.5..-inf"), Ok(vec![Number("-1.5"), Sign(".."), Number("-inf")]));
        assert_eq!(tokens("inf..5km"), Ok(vec![Path("inf"), Sign(".."), Number("5"), Path("km")]));
        assert_eq!(tokens("1e-3 1E5 1em"), Ok(vec![Number("1e-3"), Number("1E5"), Number("1"), Path("em")]));
        assert_eq!(tokens("<=="), Ok(vec![Sign("<="), Sign("=")]));
        assert!(tokens("-infinity").is_err() && tokens("- 5").is_err() && tokens("a.").is_err());
    }

    #[test]
    fn escapes_are_bytes() {
        let quoted = |text| tokens(text).map(|tokens| tokens[0].clone());
        let expected = Ok(Token::Quoted(b"a\"\\\n\xff\xc3\xa9'".to_vec()));
        assert_eq!(quoted(r#""a\"\\\n\xff\u{e9}'""#), expected);
        assert_eq!(quoted(r#"'a"\\\n\xFFé\''"#), expected);
        for bad in [r#""\q""#, r#""\x+f""#, r#""\u{d800}""#, r#""\u{}""#, r#""\"#, "\"a", r#""\é""#, r#""\x"#]
        {
            assert!(quoted(bad).is_err(), "{bad}");
        }
    }
}
