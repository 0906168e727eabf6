//! Finds devices of ours in the XML of a running domain.

use quick_xml::Reader;
use quick_xml::events::Event;

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
}
