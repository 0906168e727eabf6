//! Names in tables: without the domain that all have in common.

/// Bytes of the longest common end of all names that begins with a dot; 0 if there is none.
///
/// A name that would vanish whole keeps its first label.
pub fn common_suffix<'a>(names: impl IntoIterator<Item = &'a str>) -> usize {
    let mut names = names.into_iter();
    let Some(first) = names.next() else { return 0 };
    let mut suffix = match first.find('.') {
        Some(at) => &first[at..],
        None => return 0,
    };
    for name in names {
        while !name.ends_with(suffix) || name.len() == suffix.len() {
            match suffix[1..].find('.') {
                Some(at) => suffix = &suffix[1 + at..],
                None => return 0,
            }
        }
    }
    suffix.len()
}

#[cfg(test)]
mod tests {
    use super::common_suffix;

    #[test]
    fn the_common_domain_is_found() {
        let all = ["i1.vm.example.com", "n1.hw.example.com"];
        assert_eq!(common_suffix(all), ".example.com".len());
        assert_eq!(common_suffix(["a.example.com"]), ".example.com".len());
        assert_eq!(common_suffix(["a", "b.c"]), 0);
        assert_eq!(common_suffix(["a.b", ".b"]), 0);
        assert_eq!(common_suffix([]), 0);
    }
}
