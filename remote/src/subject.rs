//! Subjects: words between dots, as NATS has them. In those of receivers `*` stands for one word, and
//! `>` at the end for all that follow. At the beginning neither stands for a word that begins with
//! `_` or `$`: those are of clients and servers.

use crate::error::Error;

/// Whether messages can be sent to it.
pub(crate) fn check(subject: &str) -> Result<(), Error> {
    let is_word = |word: &str| !word.is_empty() && !word.contains(['*', '>', ' ', '\t', '\r', '\n']);
    subject.split('.').all(is_word).then_some(()).ok_or_else(|| Error::Subject(subject.to_owned()))
}

/// Whether messages can be received from it.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), Error> {
    let fixed = match pattern.strip_suffix('>') {
        Some("") => return Ok(()),
        Some(rest) => rest.strip_suffix('.').unwrap_or(">"),
        None => pattern,
    };
    let words: Vec<&str> = fixed.split('.').map(|word| if word == "*" { "any" } else { word }).collect();
    check(&words.join(".")).map_err(|_| Error::Subject(pattern.to_owned()))
}

/// Whether it can name a stream or a group.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.contains('.') { Err(Error::Subject(name.to_owned())) } else { check(name) }
}

/// Whether a subject is one of the pattern's.
pub(crate) fn matches(pattern: &str, subject: &str) -> bool {
    if subject.starts_with(['_', '$']) && pattern.starts_with(['*', '>']) {
        return false;
    }
    let mut words = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, words.next()) {
            (">", rest) => return rest.is_some(),
            ("*", Some(_)) => {}
            (wanted, word) if Some(wanted) == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_words_between_dots() {
        for good in ["a", "a.b", "orders.new.7", "_INBOX.x"] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a.>", "a\r\nPUB x"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
        for good in [">", "*", "a.*", "a.>", "*.b.>", "a.*.c"] {
            assert_eq!(check_pattern(good), Ok(()));
        }
        for bad in ["", "a>", "a.>.b", "a*", "a.b*", ">.a", "a..>", ".>"] {
            assert!(check_pattern(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_words() {
        for (pattern, subject) in
            [("a.b", "a.b"), ("a.*", "a.b"), ("*.b", "a.b"), (">", "a.b"), ("a.>", "a.b.c"), ("_a.>", "_a.b")]
        {
            assert!(matches(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in [("a", "a.b"), ("a.*", "a"), ("a.*", "a.b.c"), ("a.>", "a"), ("a.b", "a.c")]
        {
            assert!(!matches(pattern, subject), "{pattern} {subject}");
        }
    }
}
