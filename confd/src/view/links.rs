//! Which instance has an address on a network link.
//!
//! NICs without a link of their own are on the cluster's default link, whichever that is: they are kept apart, so that
//! another default changes nothing here.

use super::pack::ipv4;
use super::table::Slot;
use std::net::Ipv4Addr;

/// The links and their addresses.
#[derive(Debug, Default)]
pub struct Links {
    inherited: Addresses,
    named: Vec<(Box<str>, Addresses)>,
}

/// Addresses and whose they are, sorted as text. The same address may be there more than once.
#[derive(Debug, Default)]
struct Addresses {
    v4: Vec<(u32, Slot)>,
    others: Vec<(Box<str>, Slot)>,
}

impl Addresses {
    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.others.is_empty()
    }

    fn add(&mut self, ip: &str, slot: Slot) {
        if let Some(v4) = ipv4(ip) {
            let entry = (sortable(v4), slot);
            let (Ok(at) | Err(at)) = self.v4.binary_search(&entry);
            self.v4.insert(at, entry);
        } else {
            let entry = (Box::from(ip), slot);
            let (Ok(at) | Err(at)) = self.others.binary_search(&entry);
            self.others.insert(at, entry);
        }
    }

    fn remove(&mut self, ip: &str, slot: Slot) {
        if let Some(v4) = ipv4(ip) {
            if let Ok(at) = self.v4.binary_search(&(sortable(v4), slot)) {
                self.v4.remove(at);
            }
        } else if let Ok(at) = self.others.binary_search(&(Box::from(ip), slot)) {
            self.others.remove(at);
        }
    }

    fn owners(&self, ip: &str) -> impl Iterator<Item = Slot> {
        let (mut v4, mut others) = (&[][..], &[][..]);
        if let Some(ip) = ipv4(ip) {
            let key = sortable(ip);
            let begin = self.v4.partition_point(|(k, _)| *k < key);
            let end = begin + self.v4[begin..].partition_point(|(k, _)| *k == key);
            v4 = &self.v4[begin..end];
        } else {
            let begin = self.others.partition_point(|(k, _)| **k < *ip);
            let end = begin + self.others[begin..].partition_point(|(k, _)| **k == *ip);
            others = &self.others[begin..end];
        }
        v4.iter().map(|e| e.1).chain(others.iter().map(|e| e.1))
    }

    fn shrink(&mut self) {
        self.v4.shrink_to_fit();
        self.others.shrink_to_fit();
    }
}

impl Links {
    /// A NIC of an instance. `link`: its own.
    pub fn add(&mut self, link: Option<&str>, ip: &str, slot: Slot) {
        let addresses = match link {
            None => &mut self.inherited,
            Some(link) => match self.named.iter().position(|(name, _)| **name == *link) {
                Some(at) => &mut self.named[at].1,
                None => {
                    self.named.push((Box::from(link), Addresses::default()));
                    let last = self.named.len() - 1;
                    &mut self.named[last].1
                }
            },
        };
        addresses.add(ip, slot);
    }

    /// A NIC that was added is gone.
    pub fn remove(&mut self, link: Option<&str>, ip: &str, slot: Slot) {
        match link {
            None => self.inherited.remove(ip, slot),
            Some(link) => {
                if let Some(at) = self.named.iter().position(|(name, _)| **name == *link) {
                    self.named[at].1.remove(ip, slot);
                    if self.named[at].1.is_empty() {
                        self.named.swap_remove(at);
                    }
                }
            }
        }
    }

    fn on(&self, link: &str, default: &str) -> impl Iterator<Item = &Addresses> {
        let named = self.named.iter().filter(move |(name, _)| **name == *link).map(|(_, a)| a);
        named.chain((link == default).then_some(&self.inherited))
    }

    /// All instances that have an address on a link.
    pub fn owners(&self, link: &str, default: &str, ip: &str) -> impl Iterator<Item = Slot> {
        self.on(link, default).flat_map(move |addresses| addresses.owners(ip))
    }

    /// Appends the addresses of a link as a JSON list, sorted as text; stops when `out` has `limit` bytes.
    pub fn write(&self, link: &str, default: &str, limit: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        let first = out.len();
        let separate = |out: &mut Vec<u8>| {
            if out.len() > first {
                out.push(b',');
            }
        };
        let on: Vec<&Addresses> = self.on(link, default).collect();
        if let [one] = on[..]
            && one.others.is_empty()
        {
            let mut last = None;
            for (key, _) in &one.v4 {
                if last.replace(*key) == Some(*key) {
                    continue;
                }
                separate(out);
                out.push(b'"');
                super::token::put_ipv4(unsortable(*key), out);
                out.push(b'"');
                if out.len() > limit {
                    break;
                }
            }
        } else {
            let mut all: Vec<String> = vec![];
            for addresses in on {
                all.extend(addresses.v4.iter().map(|(key, _)| unsortable(*key).to_string()));
                all.extend(addresses.others.iter().map(|(ip, _)| ip.to_string()));
            }
            all.sort();
            all.dedup();
            for ip in all {
                separate(out);
                crate::wire::quote(&ip, out);
                if out.len() > limit {
                    break;
                }
            }
        }
        out.push(b']');
    }

    /// Gives back what it took more than it needs.
    pub fn shrink(&mut self) {
        self.inherited.shrink();
        self.named.iter_mut().for_each(|(_, addresses)| addresses.shrink());
    }
}

/// The numbers from 0 to 255, sorted as text.
const SORTED: [u8; 256] = {
    let mut sorted = [0; 256];
    let mut count = 0;
    // 0, then each first digit with all that begins with it.
    let mut first = 0;
    while first < 10 {
        sorted[count] = first as u8;
        count += 1;
        let mut second = 0;
        while second < 10 && first > 0 {
            let two = first * 10 + second;
            sorted[count] = two as u8;
            count += 1;
            let mut third = 0;
            while third < 10 && two * 10 + third < 256 {
                sorted[count] = (two * 10 + third) as u8;
                count += 1;
                third += 1;
            }
            second += 1;
        }
        first += 1;
    }
    sorted
};

/// Where a number is in [`SORTED`].
const RANK: [u8; 256] = {
    let mut rank = [0; 256];
    let mut at = 0;
    while at < 256 {
        rank[SORTED[at] as usize] = at as u8;
        at += 1;
    }
    rank
};

/// An address as a number that sorts as its text does: a dot sorts before digits, as the end does.
fn sortable(ip: Ipv4Addr) -> u32 {
    u32::from_be_bytes(ip.octets().map(|octet| RANK[usize::from(octet)]))
}

fn unsortable(key: u32) -> Ipv4Addr {
    Ipv4Addr::from(key.to_be_bytes().map(|rank| SORTED[usize::from(rank)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(links: &Links, link: &str, default: &str) -> Vec<String> {
        let mut out = vec![];
        links.write(link, default, usize::MAX, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_default_link_is_one_of_the_others() {
        let mut links = Links::default();
        links.add(None, "10.0.0.1", 1);
        links.add(Some("br0"), "10.0.0.10", 2);
        links.add(Some("br0"), "10.0.0.1", 3);
        links.add(Some("br1"), "fe80::1", 4);
        links.add(Some("br1"), "10.0.0.2", 4);
        assert_eq!(list(&links, "br0", "br0"), ["10.0.0.1", "10.0.0.10"]);
        assert_eq!(list(&links, "br0", "br1"), ["10.0.0.1", "10.0.0.10"]);
        assert_eq!(list(&links, "br1", "br1"), ["10.0.0.1", "10.0.0.2", "fe80::1"]);
        assert_eq!(list(&links, "br2", "br1"), [""; 0]);
        assert_eq!(links.owners("br0", "br0", "10.0.0.1").collect::<Vec<_>>(), [3, 1]);
        assert_eq!(links.owners("br1", "br0", "fe80::1").collect::<Vec<_>>(), [4]);
        links.remove(Some("br0"), "10.0.0.1", 3);
        assert_eq!(links.owners("br0", "br0", "10.0.0.1").collect::<Vec<_>>(), [1]);
        links.remove(Some("br1"), "fe80::1", 4);
        links.remove(Some("br1"), "10.0.0.2", 4);
        assert_eq!(links.named.len(), 1);
    }

    #[test]
    fn a_list_that_is_too_long_anyway_is_not_finished() {
        let mut links = Links::default();
        (0..200).for_each(|i| links.add(None, &format!("10.0.0.{i}"), i));
        let mut out = vec![];
        links.write("br0", "br0", 100, &mut out);
        assert!((100..130).contains(&out.len()), "{}", out.len());
    }

    proptest! {
        #[test]
        fn addresses_sort_as_text(a in any::<u32>(), b in any::<u32>()) {
            let (a, b) = (Ipv4Addr::from(a), Ipv4Addr::from(b));
            prop_assert_eq!(sortable(a).cmp(&sortable(b)), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(unsortable(sortable(a)), a);
        }
    }
}
