//! Which name somebody may have meant.

/// How many letters may be wrong.
const FORGIVEN: usize = 2;

/// The known name that is nearest to this one, if one is near: up to two letters off, or just longer.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| if is_beginning(name, other) { 0 } else { distance(name, other) };
    let (distance, nearest) = known.map(|other| (distance(other), other)).min()?;
    (distance <= FORGIVEN && distance < name.len()).then_some(nearest)
}

fn is_beginning(name: &str, other: &str) -> bool {
    name.len() > FORGIVEN && other.starts_with(name)
}

/// How many letters must be put in, taken out or changed to make the one of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    // From the letters of `one` so far to each beginning of `other`.
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (count, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], count + 1);
        for (place, expected) in other.chars().enumerate() {
            let changed = diagonal + usize::from(letter != expected);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_letters() {
        for (one, other, letters) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("slow", "slow", 0),
            ("slwo", "slow", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_is_found_if_it_is_near() {
        let known = ["equivocate", "silent", "slow", "lie"];
        let nearest = |name| nearest(name, known.into_iter());
        assert_eq!(nearest("equivicate"), Some("equivocate"));
        assert_eq!(nearest("equiv"), Some("equivocate"));
        assert_eq!(nearest("slient"), Some("silent"));
        assert_eq!(
            (nearest("loud"), nearest("li"), nearest("x"), nearest("")),
            (None, Some("lie"), None, None)
        );
    }
}
