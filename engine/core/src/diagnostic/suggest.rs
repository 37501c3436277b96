//! What somebody may have meant.

/// Longer words are no slips of the finger, and comparing them costs the product of their lengths.
const LONGEST: usize = 64;

/// Returns the candidate that `got` is most likely a misspelling of.
pub fn suggest<'a>(got: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = got.chars().count();
    if letters > LONGEST {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 2 * LONGEST)
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(got, candidate);
            let likeness = strsim::jaro_winkler(got, candidate);
            (distance, likeness, candidate)
        })
        .filter(|(distance, likeness, _)| {
            (*distance <= 2 && *distance < letters) || *likeness > 0.88
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, candidate)| candidate)
}

/// Returns a hint: what was probably meant, else all there is (`expected one of …`); `None` when there is nothing.
pub fn did_you_mean(got: &str, candidates: &[&str]) -> Option<String> {
    if let Some(meant) = suggest(got, candidates.iter().copied()) {
        return Some(format!("did you mean `{meant}`?"));
    }
    let all: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
    match all.as_slice() {
        [] => None,
        [only] => Some(format!("expected {only}")),
        _ => Some(format!("expected one of {}", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["database", "depth", "mode", "id", "statuses"];
        for (got, meant) in [
            ("databse", Some("database")),
            ("Depth", Some("depth")),
            ("mdoe", Some("mode")),
            ("status", Some("statuses")),
            ("no", None),
            ("x", None),
            ("timeout", None),
            ("", None),
        ] {
            assert_eq!(suggest(got, keys), meant, "{got}");
        }
        assert_eq!(suggest(&"d".repeat(100_000), keys), None);
    }

    #[test]
    fn what_resembles_nothing_gets_the_whole_list() {
        assert_eq!(
            did_you_mean("timeout", &["id", "mode"]).as_deref(),
            Some("expected one of `id`, `mode`")
        );
        assert_eq!(
            did_you_mean("x", &["mode"]).as_deref(),
            Some("expected `mode`")
        );
        assert_eq!(did_you_mean("x", &[]), None);
    }
}
