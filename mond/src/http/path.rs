//! What a path asks for. Source: Ganeti's reference on mond, paths.

use std::borrow::Cow;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// The versions of the interface.
    Versions,
    /// The top of version 1.
    Version1,
    Collectors,
    All,
    Report {
        category: Cow<'a, str>,
        name: Cow<'a, str>,
    },
    /// Below `/1/report`, but no report.
    NoReport,
    Metrics,
    /// Whether mond lives.
    Alive,
    /// Whether it knows what its cluster wants.
    Ready,
    Nothing,
}

impl Wanted<'_> {
    /// By path and query. Parts behind those that say what is wanted are ignored, as is the query of everything that
    /// the reference knows.
    pub fn of<'a>(path: &'a str, query: Option<&str>) -> Wanted<'a> {
        let Some(path) = path.strip_prefix('/') else { return Wanted::Nothing };
        let mut parts = path.split('/');
        let mut next = || parts.next().unwrap_or_default();
        match (next(), next()) {
            ("", "") if path.is_empty() => Wanted::Versions,
            ("1", "") if path.len() <= 2 => Wanted::Version1,
            ("1", "list") if next() == "collectors" => Wanted::Collectors,
            ("1", "report") => match (next(), next()) {
                ("all", _) => Wanted::All,
                ("", _) | (_, "") => Wanted::NoReport,
                (category, name) => {
                    Wanted::Report { category: decoded(category), name: decoded(name) }
                }
            },
            ("metrics", _) => Wanted::Metrics,
            ("healthz", "ready") => Wanted::Ready,
            ("healthz", _) => {
                let ready = |one: &str| one == "ready" || one.starts_with("ready=");
                match query.is_some_and(|query| query.split('&').any(ready)) {
                    true => Wanted::Ready,
                    false => Wanted::Alive,
                }
            }
            _ => Wanted::Nothing,
        }
    }
}

/// Without `%41` and the like; what is malformed stays.
fn decoded(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return Cow::Borrowed(part);
    }
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex = (first == b'%').then(|| behind.get(..2)).flatten();
        let hex = hex.and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &behind[2..];
            }
            None => {
                out.push(first);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_references() {
        let report = |category: &'static str, name: &'static str| Wanted::Report {
            category: category.into(),
            name: name.into(),
        };
        for (path, wanted) in [
            ("/", Wanted::Versions),
            ("/1", Wanted::Version1),
            ("/1/", Wanted::Version1),
            ("/1/list/collectors", Wanted::Collectors),
            ("/1/list/collectors/", Wanted::Collectors),
            ("/1/report/all", Wanted::All),
            ("/1/report/all/", Wanted::All),
            ("/1/report/all/x/y", Wanted::All),
            ("/1/report/storage/lv", report("storage", "lv")),
            ("/1/report/storage/lv/", report("storage", "lv")),
            ("/1/report/storage/lv/x", report("storage", "lv")),
            ("/1/report/storage/%6cv%", report("storage", "lv%")),
            ("/1/report", Wanted::NoReport),
            ("/1/report/", Wanted::NoReport),
            ("/1/report/storage", Wanted::NoReport),
            ("/1/report/storage/", Wanted::NoReport),
            ("/1/report//lv", Wanted::NoReport),
            ("/metrics", Wanted::Metrics),
            ("/healthz", Wanted::Alive),
            ("/healthz/ready", Wanted::Ready),
            ("//", Wanted::Nothing),
            ("/1//", Wanted::Nothing),
            ("/2", Wanted::Nothing),
            ("/foo", Wanted::Nothing),
            ("/1/list", Wanted::Nothing),
            ("/1/list/", Wanted::Nothing),
            ("/1/list/x", Wanted::Nothing),
            ("*", Wanted::Nothing),
        ] {
            assert_eq!(Wanted::of(path, Some("verbose=1")), wanted, "{path}");
        }
        assert_eq!(Wanted::of("/healthz", Some("a=1&ready")), Wanted::Ready);
        assert_eq!(Wanted::of("/healthz", Some("already=1")), Wanted::Alive);
    }
}
