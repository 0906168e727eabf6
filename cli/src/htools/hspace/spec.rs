//! Sizes of instances as options have them.

use roost_htools::capacity::Size;
use roost_htools::model::DiskTemplate;
use roost_htools::sources::units::mebibytes;

/// A part of a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MixPart {
    pub count: usize,
    pub size: Size,
    /// As for all, if none is named.
    pub template: Option<DiskTemplate>,
}

/// A mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixSpec(pub Vec<MixPart>);

/// The size of standard instances.
pub fn standard(text: &str) -> Result<Size, String> {
    size("standard", text)
}

/// The size that tiers begin with.
pub fn tiered(text: &str) -> Result<Size, String> {
    size("tiered", text)
}

/// A disk template.
pub fn template(word: &str) -> Result<DiskTemplate, String> {
    word.parse().map_err(|_| format!("Invalid disk template '{word}'"))
}

/// How many spindles instances use.
pub fn spindle_use(text: &str) -> Result<i64, String> {
    let number: i64 =
        text.parse().map_err(|_| format!("parsing spindle-use: cannot parse string '{text}'"))?;
    match number {
        0.. => Ok(number),
        _ => Err("Invalid value of the spindle-use (expected >= 0)".into()),
    }
}

fn size(what: &str, text: &str) -> Result<Size, String> {
    let words: Vec<&str> = text.split(',').collect();
    if !matches!(words.len(), 3 | 4) {
        return Err(format!("Invalid {what} specification: '{text}', expected disk,ram,cpu"));
    }
    let unit = |part: &str, word: &str| {
        mebibytes(word).map_err(|why| format!("{what} specs {part}: {why}"))
    };
    let number = |part: &str, word: &str| {
        let wrong = || format!("{what} specs {part}: cannot parse string '{word}'");
        word.trim().parse::<u32>().map(i64::from).map_err(|_| wrong())
    };
    Ok(Size {
        disk: unit("disk", words[0])?,
        memory: unit("memory", words[1])?,
        cpus: number("cpus", words[2])?,
        spindles: words.get(3).map_or(Ok(1), |word| number("spindles", word))?,
    })
}

/// `count*disk,ram,cpu[,spindles][,template]`, several between semicolons.
pub fn mix(text: &str) -> Result<MixSpec, String> {
    let parts: Vec<MixPart> = text
        .split(';')
        .filter(|part| !part.trim().is_empty())
        .map(|part| mix_part(part.trim()))
        .collect::<Result<_, _>>()?;
    if parts.iter().all(|part| part.count == 0) {
        let expected = "expected count*disk,ram,cpu[,spindles][,template];...";
        return Err(format!("Invalid mixed specification: '{text}', {expected}"));
    }
    Ok(MixSpec(parts))
}

fn mix_part(text: &str) -> Result<MixPart, String> {
    let (count, rest) = match text.split_once('*') {
        Some((count, rest)) => (count.trim(), rest),
        None => ("1", text),
    };
    // A round is put on the cluster as a whole: so many that it would take for ever are a mistake.
    const MOST: usize = 10_000;
    let count: usize = match count.parse() {
        Ok(count) if count <= MOST => count,
        _ => return Err(format!("mixed specs count: '{count}' is no number up to {MOST}")),
    };
    let (numbers, named) = match rest.rsplit_once(',') {
        Some((numbers, last)) if last.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            (numbers, Some(template(last)?))
        }
        _ => (rest, None),
    };
    Ok(MixPart { count, size: size("mixed", numbers)?, template: named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        let expected = Size { disk: 20_480, memory: 512, cpus: 2, spindles: 1 };
        assert_eq!(standard("20g,512,2"), Ok(expected));
        assert_eq!(tiered("20g,512,2,3"), Ok(Size { spindles: 3, ..expected }));
        assert_eq!(
            tiered("1,2"),
            Err("Invalid tiered specification: '1,2', expected disk,ram,cpu".into())
        );
        assert_eq!(standard("1z,2,3"), Err("standard specs disk: Unknown unit 'z'".into()));
        assert_eq!(standard("1,2,x"), Err("standard specs cpus: cannot parse string 'x'".into()));
        assert_eq!(
            spindle_use("-1"),
            Err("Invalid value of the spindle-use (expected >= 0)".into())
        );
    }

    #[test]
    fn mixes_are_read() {
        let MixSpec(parts) = mix("3*20g,4g,2; 1*1t,64g,16,2,plain").expect("a mix");
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].count, parts[0].template), (3, None));
        assert_eq!((parts[1].size.spindles, parts[1].template), (2, Some(DiskTemplate::Plain)));
        assert_eq!(mix("20g,4g,2").map(|mix| mix.0[0].count), Ok(1));
        assert!(mix("0*20g,4g,2").is_err());
        assert!(mix("").is_err());
        assert_eq!(mix("x*1,2,3"), Err("mixed specs count: 'x' is no number up to 10000".into()));
        assert_eq!(mix("1*1,2,3,tape"), Err("Invalid disk template 'tape'".into()));
    }
}
