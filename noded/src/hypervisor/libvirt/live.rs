//! Finds devices of ours in the XML of a running domain.
//!
//! A disk is found by its alias, which says what it was plugged as. A device that has got another
//! disk since then, or holds two while one is mirrored into the other, has a note in the metadata:
//!
//! ```xml
//!   <roost:disks xmlns:roost="urn:roost:disks"><held alias="ua-…" disks="UUID UUID"/></roost:disks>
//! ```

use super::xml;
use quick_xml::Reader;
use quick_xml::events::Event;
use roost_proto::ids::DiskId;
use std::collections::BTreeMap;

/// The name space of our notes.
pub const NAMESPACE: &str = "urn:roost:disks";

/// The notes: what devices hold, by alias, where it is not what the alias says.
pub fn held(xml: &str) -> BTreeMap<String, Vec<DiskId>> {
    let mut reader = Reader::from_str(xml);
    let mut all = BTreeMap::new();
    loop {
        match reader.read_event() {
            Ok(Event::Empty(found) | Event::Start(found)) => {
                let name = found.name();
                let name: &str = name.as_ref();
                if name.rsplit(':').next() != Some("held") {
                    continue;
                }
                let get = |key: &str| {
                    found.try_get_attribute(key).ok().flatten().map(|a| a.value.into_owned())
                };
                if let (Some(alias), Some(disks)) = (get("alias"), get("disks")) {
                    let id = |text: &str| text.parse::<uuid::Uuid>().ok().map(DiskId::from);
                    all.insert(alias, disks.split(' ').filter_map(id).collect());
                }
            }
            Ok(Event::Eof) | Err(_) => return all,
            Ok(_) => {}
        }
    }
}

/// Notes as they are stored.
pub fn held_xml(held: &BTreeMap<String, Vec<DiskId>>) -> String {
    let one = |(alias, disks): (&String, &Vec<DiskId>)| {
        let disks: Vec<String> = disks.iter().map(ToString::to_string).collect();
        format!("<held alias=\"{alias}\" disks=\"{}\"/>", disks.join(" "))
    };
    format!("<disks>{}</disks>", held.iter().map(one).collect::<String>())
}

/// The alias of the device that holds a disk, if the domain has it.
pub fn disk_alias(xml: &str, disk: DiskId) -> Option<String> {
    let held = held(xml);
    let noted =
        held.iter().find(|(_, disks)| disks.contains(&disk)).map(|(alias, _)| alias.clone());
    let own = || Some(xml::disk_alias(disk)).filter(|alias| !held.contains_key(alias));
    noted.or_else(own).filter(|alias| device(xml, "disk", alias).is_some())
}

/// The device that holds a disk, as text.
pub fn disk(xml: &str, disk: DiskId) -> Option<&str> {
    device(xml, "disk", &disk_alias(xml, disk)?)
}

/// The element `kind` (`disk`, `interface`) that has this alias, as text.
pub fn device<'a>(xml: &'a str, kind: &str, alias: &str) -> Option<&'a str> {
    let mut reader = Reader::from_str(xml);
    let (mut start, mut matches) = (None, false);
    loop {
        let before = usize::try_from(reader.buffer_position()).ok()?;
        match reader.read_event().ok()? {
            Event::Start(element) if element.name().as_ref() == kind => {
                start = Some(before);
                matches = false;
            }
            Event::Empty(element) if start.is_some() && element.name().as_ref() == "alias" => {
                let name = element.try_get_attribute("name").ok()??;
                matches |= name.value.as_ref() == alias;
            }
            Event::End(element) if element.name().as_ref() == kind => {
                let end = usize::try_from(reader.buffer_position()).ok()?;
                match start.take() {
                    Some(start) if matches => return xml.get(start..end),
                    _ => {}
                }
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// The first value of an attribute of an element inside `xml`.
pub fn attribute(xml: &str, element: &str, attribute: &str) -> Option<String> {
    let mut reader = Reader::from_str(xml);
    loop {
        match reader.read_event().ok()? {
            Event::Start(found) | Event::Empty(found) if found.name().as_ref() == element => {
                let value = found.try_get_attribute(attribute).ok()??;
                return Some(value.value.into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<domain><devices>\
        <disk type='file'><target dev='vda' bus='virtio'/><alias name='ua-1'/></disk>\
        <disk type='file'><target dev='vdb' bus='virtio'/><alias name='ua-2'/></disk>\
        <interface type='bridge'><alias name='net0'/></interface></devices></domain>";

    #[test]
    fn a_device_is_found_by_its_alias() {
        let disk = device(XML, "disk", "ua-2").expect("there");
        assert!(disk.starts_with("<disk") && disk.ends_with("</disk>"), "{disk}");
        assert_eq!(attribute(disk, "target", "dev").as_deref(), Some("vdb"));
        assert_eq!(device(XML, "disk", "ua-3"), None);
        assert_eq!(device(XML, "disk", "net0"), None);
        assert!(device(XML, "interface", "net0").is_some());
    }

    #[test]
    fn a_device_may_hold_another_disk_by_now() {
        let id = |n: u128| DiskId::from(uuid::Uuid::from_u128(n));
        let device = |n: u128| {
            format!("<disk><target dev='vd{n}'/><alias name='{}'/></disk>", xml::disk_alias(id(n)))
        };
        let domain = |held: &BTreeMap<String, Vec<DiskId>>| {
            let notes = held_xml(held).replace("disks>", "roost:disks>");
            format!("<domain><metadata>{notes}</metadata>{}{}</domain>", device(1), device(2))
        };
        let plain = domain(&BTreeMap::new());
        assert_eq!(disk_alias(&plain, id(1)), Some(xml::disk_alias(id(1))));
        assert_eq!(disk_alias(&plain, id(7)), None);

        // One is being mirrored into another, one has been replaced.
        let mut notes = BTreeMap::from([(xml::disk_alias(id(1)), vec![id(1), id(7)])]);
        notes.insert(xml::disk_alias(id(2)), vec![id(8)]);
        let domain = domain(&notes);
        assert_eq!(held(&domain), notes);
        let target = |n| disk(&domain, id(n)).and_then(|d| attribute(d, "target", "dev"));
        let targets = [1, 7, 8, 2].map(target);
        assert_eq!(
            targets.each_ref().map(Option::as_deref),
            [Some("vd1"), Some("vd1"), Some("vd2"), None]
        );
        // What is noted of a device that is gone does not hold anything.
        let gone = domain.replace(&device(2), "");
        assert_eq!(disk(&gone, id(8)), None);
    }
}
