//! How fast sides are being made equal: what only `/proc/drbd` of 8.4 tells.
//!
//! ```text
//!    0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----
//!       ns:3532 nr:0 dw:0 dr:3532 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:88628
//!       [>...................] sync'ed:  8.7% (88628/92160)K
//!       finish: 0:00:24 speed: 3,532 (3,532) want: 61,440 K/sec
//! ```

/// Of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// KiB that are not equal.
    pub out_of_sync: Option<u64>,
    /// Seconds left.
    pub eta: Option<f64>,
    /// Bytes a second.
    pub rate: Option<f64>,
}

/// What `/proc/drbd` says about a minor.
pub fn of(proc: &str, minor: u32) -> Figures {
    let head = format!("{minor}:");
    let mut lines = proc.lines().skip_while(|line| line.split_whitespace().next() != Some(&head));
    let mut all = Figures::default();
    lines.next();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.get(1).is_some_and(|word| word.starts_with("cs:")) {
            break;
        }
        for pair in words.windows(2) {
            match *pair {
                ["finish:", left] => all.eta = clock(left),
                ["speed:", rate] => all.rate = kib(rate),
                _ => {}
            }
        }
        let oos = words.iter().find_map(|word| word.strip_prefix("oos:"));
        all.out_of_sync = oos.and_then(|n| n.parse().ok()).or(all.out_of_sync);
    }
    all
}

/// `3,532` KiB/s as bytes.
fn kib(text: &str) -> Option<f64> {
    text.replace(',', "").parse::<f64>().ok().map(|kib| kib * 1024.0)
}

/// `1:02:03` as seconds.
fn clock(text: &str) -> Option<f64> {
    text.split(':').try_fold(0.0, |all, part| Some(all * 60.0 + part.parse::<f64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROC: &str = "version: 8.4.11 (api:1/proto:86-101)
srcversion: 059B1B470318F053F5077D5
 0: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent C r-----
    ns:3532 nr:0 dw:0 dr:3532 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:88628
\t[>...................] sync'ed:  8.7% (88628/92160)K
\tfinish: 1:00:24 speed: 3,532 (3,532) K/sec
 1: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----
    ns:0 nr:0 dw:0 dr:0 al:8 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0

 3: cs:Unconfigured
";

    #[test]
    fn figures_are_of_the_asked_minor() {
        let moving = of(PROC, 0);
        assert_eq!(moving.out_of_sync, Some(88628));
        assert_eq!(moving.eta, Some(3624.0));
        assert_eq!(moving.rate, Some(3532.0 * 1024.0));
        assert_eq!(of(PROC, 1), Figures { out_of_sync: Some(0), ..Figures::default() });
        assert_eq!(of(PROC, 3), Figures::default());
        assert_eq!(of(PROC, 7), Figures::default());
        assert_eq!(of("version: 9.1.13 (api:2/proto:86-121)\n", 0), Figures::default());
    }
}
