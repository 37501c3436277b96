//! 'Did you mean'.

/// Returns the one of `known` that `word` most likely means, if any is close enough.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let farthest = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= farthest && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["length", "lower", "last"];
        assert_eq!(closest("lenght", known), Some("length"));
        assert_eq!(closest("lowr", known), Some("lower"));
        assert_eq!(closest("wordcount", known), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}
