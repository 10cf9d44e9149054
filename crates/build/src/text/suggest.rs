//! The nearest right word for a wrong one, by edit distance.

/// Words farther than this are no help.
const MAX_DISTANCE: usize = 2;
/// Longer words are not compared: the cost is the product of the lengths.
const MAX_LEN: usize = 128;

/// The option nearest to `word`, written in its case; `None` when all are far or one is the word
/// itself (then something else is wrong).
pub(crate) fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
    case_sensitive: bool,
) -> Option<String> {
    let fold = |text: &str| if case_sensitive { text.to_owned() } else { text.to_lowercase() };
    let wanted = fold(word);
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let folded = fold(option);
        if folded == wanted {
            return None;
        }
        let distance = distance(&wanted, &folded);
        if distance <= MAX_DISTANCE && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, option));
        }
    }
    let (_, option) = best?;
    Some(match () {
        () if case_sensitive => option.to_owned(),
        () if word == word.to_lowercase() => option.to_lowercase(),
        () if word == word.to_uppercase() => option.to_uppercase(),
        () => option.to_owned(),
    })
}

/// `message` with ` (did you mean …?)` if a word is near.
pub(crate) fn did_you_mean<'a>(
    message: String,
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
    case_sensitive: bool,
) -> String {
    match nearest(word, options, case_sensitive) {
        Some(option) => format!("{message} (did you mean {option}?)"),
        None => message,
    }
}

/// Edit distance with swaps of neighbours as one edit: they are the commonest slip.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > MAX_LEN || b.len() > MAX_LEN {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let substitute = row[j] + usize::from(a[i] != b[j]);
            let mut least = substitute.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        let words = ["RUN", "COPY", "ENTRYPOINT"];
        assert_eq!(nearest("RUM", words, false).as_deref(), Some("RUN"));
        assert_eq!(nearest("coppy", words, false).as_deref(), Some("copy"));
        assert_eq!(nearest("Entripoint", words, false).as_deref(), Some("ENTRYPOINT"));
        assert_eq!(nearest("run", words, false), None);
        assert_eq!(nearest("FROBNICATE", words, false), None);
        assert_eq!(nearest("rum", words, true), None);
        assert_eq!(nearest("RNU", ["ENV", "RUN"], false).as_deref(), Some("RUN"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
