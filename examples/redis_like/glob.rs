//! The patterns of KEYS: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a byte that stands for
//! itself.

/// Goes back only to the last star, so the time is bounded by the length of the pattern times the
/// length of the text.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to continue if the pattern after the last star does not match: after the star, one byte
    // of text further than before.
    let mut retry = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        if t == text.len() && p == pattern.len() {
            return true;
        }
        match (text.get(t), one(&pattern[p..], text.get(t).copied())) {
            (Some(_), Some(used)) => (p, t) = (p + used, t + 1),
            _ => match retry {
                Some((after, at)) if at < text.len() => {
                    retry = Some((after, at + 1));
                    (p, t) = (after, at + 1);
                }
                _ => return false,
            },
        }
    }
}

/// The length of the pattern's first item, if that item matches this byte.
fn one(pattern: &[u8], byte: Option<u8>) -> Option<usize> {
    let byte = byte?;
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', set @ ..] => {
            let end = set.iter().skip(1).position(|&it| it == b']')? + 1;
            let (set, negated) = match &set[..end] {
                [b'^', rest @ ..] => (rest, true),
                all => (all, false),
            };
            (in_set(set, byte) != negated).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

fn in_set(mut set: &[u8], byte: u8) -> bool {
    loop {
        set = match set {
            [] => return false,
            [low, b'-', high, ..] if (*low..=*high).contains(&byte) => return true,
            [_, b'-', _, rest @ ..] => rest,
            [one, ..] if *one == byte => return true,
            [_, rest @ ..] => rest,
        }
    }
}
