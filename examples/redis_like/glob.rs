//! The patterns of KEYS: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before what is to be taken as
//! it is.

/// Goes back to the last star only, so a pattern full of stars takes no longer than its length
/// times the text's.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit: after the star, one byte of text
    // further than before.
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

/// How much of the pattern stands for this byte, if it does.
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
