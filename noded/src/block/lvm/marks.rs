//! The LVM tags by which a logical volume is known.
//!
//! ```text
//!   roost-disk+<uuid>      it is this disk's; put on in the same moment in which it is made
//!   originstname+<name>    the instance, for people, and as Ganeti has it
//!   roost-adopted+<name>   it was there before and had this name
//! ```

use super::report::Logical;
use roost_proto::ids::DiskId;
use roost_proto::names::InstanceName;

const DISK: &str = "roost-disk+";
const INSTANCE: &str = "originstname+";
const ADOPTED: &str = "roost-adopted+";

/// Whose a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This disk's.
    Ours,
    /// Another disk's.
    Other(String),
    /// It has no mark: not made by us, or by Ganeti.
    Unmarked,
}

/// Whose a volume is, as this disk sees it.
pub fn owner(volume: &Logical, disk: DiskId) -> Owner {
    match value(volume, DISK) {
        Some(uuid) if uuid == disk.to_string() => Owner::Ours,
        Some(other) => Owner::Other(other.to_owned()),
        None => Owner::Unmarked,
    }
}

/// We or Ganeti made it.
pub fn is_known(volume: &Logical) -> bool {
    value(volume, DISK).is_some() || value(volume, INSTANCE).is_some()
}

/// The name it had before it was adopted.
pub fn adopted(volume: &Logical) -> Option<&str> {
    value(volume, ADOPTED)
}

fn value<'a>(volume: &'a Logical, kind: &str) -> Option<&'a str> {
    volume.tags.iter().find_map(|tag| tag.strip_prefix(kind))
}

/// The tag of a disk.
pub fn disk(disk: DiskId) -> String {
    format!("{DISK}{disk}")
}

/// The tag of an instance. What LVM does not take in tags is left out.
pub fn instance(name: &InstanceName) -> String {
    let name = name.as_str().chars().filter(|c| c.is_ascii_alphanumeric() || "_+.-".contains(*c));
    format!("{INSTANCE}{}", name.collect::<String>())
}

/// The tag of a volume that had this name.
pub fn had_name(name: &str) -> String {
    format!("{ADOPTED}{name}")
}

/// Arguments of `lvchange` that leave these tags of ours and no other: what is to be added and
/// what is to go. None: all is as it should be.
pub fn changes(volume: &Logical, wanted: &[String]) -> Vec<String> {
    let mine = |tag: &&String| [DISK, INSTANCE, ADOPTED].iter().any(|kind| tag.starts_with(kind));
    let surplus = volume.tags.iter().filter(mine).filter(|tag| !wanted.contains(tag));
    let missing = wanted.iter().filter(|tag| !volume.tags.contains(tag));
    let mut args = vec![];
    for tag in surplus {
        args.extend(["--deltag".to_owned(), tag.clone()]);
    }
    for tag in missing {
        args.extend(["--addtag".to_owned(), tag.clone()]);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "22222222-0000-4000-8000-000000000001";
    const B: &str = "22222222-0000-4000-8000-000000000002";

    fn volume(tags: &[&str]) -> Logical {
        Logical { tags: tags.iter().map(|t| (*t).to_owned()).collect(), ..Logical::default() }
    }

    #[test]
    fn owners() {
        let a: DiskId = A.parse().expect("uuid");
        assert_eq!(owner(&volume(&["x", &disk(a)]), a), Owner::Ours);
        let other = volume(&[&format!("roost-disk+{B}")]);
        assert_eq!(owner(&other, a), Owner::Other(B.into()));
        let ganeti = volume(&["originstname+web.example.com"]);
        assert_eq!(owner(&ganeti, a), Owner::Unmarked);
        assert!(is_known(&ganeti) && is_known(&other) && !is_known(&volume(&["x"])));
        assert_eq!(adopted(&volume(&["roost-adopted+old.data"])), Some("old.data"));
    }

    #[test]
    fn tags_of_others_stay() {
        let a: DiskId = A.parse().expect("uuid");
        let name = InstanceName::new("web.example.com").expect("a name");
        let wanted = [disk(a), instance(&name)];
        let before = volume(&["backup", "originstname+old.example.com", &disk(a)]);
        assert_eq!(
            changes(&before, &wanted),
            [
                "--deltag",
                "originstname+old.example.com",
                "--addtag",
                "originstname+web.example.com"
            ]
        );
        let done = volume(&["backup", &wanted[0], &wanted[1]]);
        assert_eq!(changes(&done, &wanted), Vec::<String>::new());
    }
}
