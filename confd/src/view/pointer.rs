//! Any part of the configuration, by a path: `/cluster/nicparams/default/link`, `/instances/UUID/nics/0/ip`.
//!
//! Steps are keys or numbers of a list, from 0; in a key, `~1` is a slash and `~0` a tilde. The whole configuration and
//! keys that are empty cannot be asked for.

use super::cursor::Cursor;
use super::id::Id;
use super::table::Table;
use super::token::Packed;
use super::{LONGEST, View};
use roost_proto::published::Space;
use std::borrow::Cow;

/// The maps in a configuration.
const MAPS: [(&str, Space); 6] = [
    ("nodes", Space::Node),
    ("nodegroups", Space::NodeGroup),
    ("instances", Space::Instance),
    ("disks", Space::Disk),
    ("networks", Space::Network),
    ("filters", Space::Filter),
];

impl View {
    /// Appends what is there, as JSON. None: nothing is there, or it is no path.
    pub(super) fn write_at(&self, path: &str, out: &mut Vec<u8>) -> Option<()> {
        let mut steps = path.strip_prefix('/')?.split('/').map(unescape);
        let first = steps.next()??;
        let map = MAPS.iter().find(|(name, _)| *name == first).and_then(|(_, s)| self.table(*s));
        let Some(table) = map else {
            let mut at = if first == "cluster" {
                self.cluster().cursor()
            } else {
                let mut top = self.top().cursor();
                top.enter(&first).then_some(top)?
            };
            return write(&mut at, steps, out);
        };
        match steps.next() {
            None => {
                self.write_all(table, out);
                Some(())
            }
            Some(key) => {
                let slot = table.find(Id::parse(key?.as_bytes())?)?;
                write(&mut self.packed(table, slot).cursor(), steps, out)
            }
        }
    }

    /// All objects of a kind; not to the end if that is too long.
    fn write_all(&self, table: &Table, out: &mut Vec<u8>) {
        let limit = out.len() + LONGEST;
        out.push(b'{');
        for (at, slot) in table.present().into_iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let packed: Packed<'_> = self.packed(table, slot);
            out.push(b'"');
            out.extend_from_slice(&packed.id.text());
            out.extend_from_slice(b"\":");
            packed.write(out);
            if out.len() > limit {
                break;
            }
        }
        out.push(b'}');
    }
}

fn write<'p>(
    at: &mut Cursor<'_>,
    mut steps: impl Iterator<Item = Option<Cow<'p, str>>>,
    out: &mut Vec<u8>,
) -> Option<()> {
    steps.try_for_each(|step| at.enter(&step?).then_some(()))?;
    at.write(out);
    Some(())
}

/// None: it is empty, or a tilde stands alone.
fn unescape(step: &str) -> Option<Cow<'_, str>> {
    if step.is_empty() {
        return None;
    }
    if !step.contains('~') {
        return Some(Cow::Borrowed(step));
    }
    let mut parts = step.split('~');
    let mut key = parts.next()?.to_owned();
    for part in parts {
        key.push(match part.chars().next()? {
            '0' => '~',
            '1' => '/',
            _ => return None,
        });
        key.push_str(part.get(1..)?);
    }
    Some(Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (step, key) in [
            ("a", Some("a")),
            ("a~1b~0~01", Some("a/b~~1")),
            ("", None),
            ("a~", None),
            ("a~2", None),
            ("~ä", None),
            ("ä", Some("ä")),
        ] {
            assert_eq!(unescape(step).as_deref(), key, "{step}");
        }
    }
}
