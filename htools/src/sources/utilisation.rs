//! What instances use, as somebody measured it: lines of `instance cpu memory disk net`.

use crate::model::{Cluster, Utilisation};
use crate::text::Malformed;
use std::collections::HashMap;

/// Reads the lines. Errors: the first line that is wrong, and which of its words.
pub fn read(text: &str) -> Result<Vec<(String, Utilisation)>, Malformed> {
    text.lines().enumerate().map(|(at, line)| read_line(at + 1, line)).collect()
}

fn read_line(number: usize, text: &str) -> Result<(String, Utilisation), Malformed> {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, cpu, memory, disk, net] = words[..] else {
        let message = format!("Cannot parse line {text}");
        return Err(Malformed { line: number, field: "", message });
    };
    let real = |field, word: &str| match word.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => {
            let message = format!("{name}: cannot parse string '{word}'");
            Err(Malformed { line: number, field, message })
        }
    };
    let utilisation = Utilisation {
        cpu: real("CPU", cpu)?,
        memory: real("memory", memory)?,
        disk: real("disk", disk)?,
        net: real("net", net)?,
    };
    Ok((name.to_owned(), utilisation))
}

/// Sets what is known; of two lines for an instance the later counts. Unknown instances are passed over: the
/// file may be of another hour.
pub fn apply(cluster: &mut Cluster, known: &[(String, Utilisation)]) {
    let known: HashMap<&str, Utilisation> =
        known.iter().map(|(name, utilisation)| (name.as_str(), *utilisation)).collect();
    for instance in &mut cluster.instances {
        if let Some(utilisation) = known.get(instance.name.as_str()) {
            instance.utilisation = *utilisation;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;
    use proptest::prelude::*;

    const CLUSTER: &str = include_str!("../../fixtures/drbd.data");

    #[test]
    fn known_instances_get_their_figures() {
        let mut cluster = text::read(CLUSTER).expect("cluster");
        let (first, second) = (cluster.instances[0].name.clone(), cluster.instances[1].clone());
        let lines = format!("{first} 1 1 1 1\nnobody 9 9 9 9\n{first} 0.5 1e2 -3 0\n");
        apply(&mut cluster, &read(&lines).expect("lines"));
        let wanted = Utilisation { cpu: 0.5, memory: 100.0, disk: -3.0, net: 0.0 };
        assert_eq!(cluster.instances[0].utilisation, wanted);
        assert_eq!(cluster.instances[1], second);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| read(text).expect_err(text).to_string();
        assert_eq!(error("a 1 1 1 1\nb 1 1 1"), "line 2: Cannot parse line b 1 1 1");
        assert_eq!(error("a  1 1 1 1"), "line 1: Cannot parse line a  1 1 1 1");
        assert_eq!(error("i2 1 2 x 4"), "line 1: disk: i2: cannot parse string 'x'");
        assert_eq!(error("i2 1 inf 1 4"), "line 1: memory: i2: cannot parse string 'inf'");
        assert_eq!(error("i2 1 1 1 NaN"), "line 1: net: i2: cannot parse string 'NaN'");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "([a-z0-9.]{0,3}[ \n]?){0,20}", any in ".{0,40}") {
            let _ = (read(&text), read(&any));
        }
    }
}
