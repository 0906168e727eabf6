//! What `drbdsetup show --show-defaults` says is set up.
//!
//! Its language is that of DRBD's configuration files: `name words { … }` and `name words;`. In
//! comments it says which values are defaults.

use super::options::{self, Known, Options};
use std::collections::BTreeSet;

/// A device as it is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    pub resource: String,
    pub minor: u32,
    /// Its own storage.
    pub backing: Option<Backing>,
    /// Its options.
    pub disk: Shown,
    /// Its other side.
    pub net: Option<Net>,
}

/// Storage below a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    pub data: String,
    pub meta: String,
}

/// A connection: addresses as `10.0.0.1:11000` or `[::1]:11000`.
#[derive(Clone, PartialEq, Eq)]
pub struct Net {
    pub local: String,
    pub peer: String,
    pub options: Shown,
    pub secret: String,
}

/// Options as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    all: Options,
    /// Those that are not as DRBD would have them by itself.
    set: BTreeSet<String>,
}

impl Shown {
    /// Whether what is wanted has still to be set. What nobody wants any more is to be as DRBD would
    /// have it.
    pub fn differs(&self, wanted: &Options) -> bool {
        let other = |(name, value): (&String, &String)| self.all.get(name) != Some(value);
        wanted.iter().any(other) || self.set.iter().any(|name| !wanted.contains_key(name))
    }

    fn add(&mut self, node: &Node, table: &[Known]) {
        for child in node.children.iter().filter(|child| child.words.len() > 1) {
            let name = child.word(0);
            let Some((.., kind)) = table.iter().find(|(known, ..)| *known == name) else {
                continue;
            };
            self.all.insert(name.to_owned(), kind.canonical(child.word(1)));
            if !child.default {
                self.set.insert(name.to_owned());
            }
        }
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Net { local, peer, options, secret: _ } = self;
        f.debug_struct("Net")
            .field("local", local)
            .field("peer", peer)
            .field("options", options)
            .finish_non_exhaustive()
    }
}

/// Reads all of it.
pub fn parse(text: &str) -> Result<Vec<Configured>, String> {
    let tree = Node::parse(text)?;
    Ok(tree.iter().filter(|node| node.is("resource")).flat_map(resource).collect())
}

fn resource(node: &Node) -> Vec<Configured> {
    let name = node.word(1).to_owned();
    // 9 has connections inside, each with a path; 8.4 has one, in the resource itself.
    let connection = node.child("connection");
    let place = connection.and_then(|c| c.child("path")).or(connection).unwrap_or(node);
    let this = node.child("_this_host").unwrap_or(node);
    let address = |host: Option<&Node>| {
        let own = host?;
        let line = own.child("address").unwrap_or(own);
        line.words.iter().rev().find(|word| word.contains(':')).cloned()
    };
    let net = connection.and_then(|c| c.child("net")).or_else(|| node.child("net"));
    let secret = net.and_then(|net| net.child("shared-secret")).map(|s| s.word(1).to_owned());
    let local = address(place.child("_this_host"));
    let peer = address(place.child("_remote_host"));
    let mut options = Shown::default();
    if let Some(net) = net {
        options.add(net, options::NET);
    }
    let secret = secret.unwrap_or_default();
    let net = local.zip(peer).map(|(local, peer)| Net { local, peer, options, secret });
    this.children
        .iter()
        .filter(|child| child.is("volume"))
        .map(|volume| {
            let mut disk = Shown::default();
            // 9: how it is made equal is said with the connection.
            let there = connection.and_then(|c| c.child("volume")).map_or(&[][..], |v| &v.children);
            for child in volume.children.iter().chain(there).filter(|child| child.is("disk")) {
                disk.add(child, options::DISK);
            }
            let path = |name: &str| {
                let line = volume.children.iter().find(|c| c.is(name) && c.children.is_empty())?;
                Some(line.word(1).to_owned()).filter(|path| path.starts_with('/'))
            };
            let backing = path("disk").zip(path("meta-disk"));
            Configured {
                resource: name.clone(),
                minor: volume
                    .child("device")
                    .and_then(|device| device.words.last()?.parse().ok())
                    .unwrap_or_default(),
                backing: backing.map(|(data, meta)| Backing { data, meta }),
                disk,
                net: net.clone(),
            }
        })
        .collect()
}

/// A line or a block.
#[derive(Debug, Default)]
struct Node {
    words: Vec<String>,
    children: Vec<Node>,
    /// A comment says that this value is DRBD's own.
    default: bool,
}

impl Node {
    fn parse(text: &str) -> Result<Vec<Node>, String> {
        let mut open = vec![Node::default()];
        for line in text.lines() {
            let (line, comment) = split_comment(line);
            let mut words = vec![];
            for token in tokens(line) {
                match token {
                    Token::Word(word) => words.push(word),
                    Token::Open => {
                        open.push(Node { words: std::mem::take(&mut words), ..Node::default() });
                    }
                    Token::End => {
                        let default = comment.contains("default");
                        let line =
                            Node { words: std::mem::take(&mut words), default, ..Node::default() };
                        open.last_mut().ok_or("unbalanced")?.children.push(line);
                    }
                    Token::Close => {
                        let done = open.pop().ok_or("unbalanced")?;
                        open.last_mut().ok_or("unbalanced braces")?.children.push(done);
                    }
                }
            }
        }
        match (open.pop(), open.is_empty()) {
            (Some(root), true) => Ok(root.children),
            _ => Err("drbdsetup show ended in the middle".into()),
        }
    }

    fn is(&self, name: &str) -> bool {
        self.word(0) == name
    }

    fn word(&self, n: usize) -> &str {
        self.words.get(n).map(String::as_str).unwrap_or_default()
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.is(name))
    }
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn split_comment(line: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return (&line[..at], &line[at..]),
            _ => {}
        }
    }
    (line, "")
}

fn tokens(line: &str) -> Vec<Token> {
    let mut all = vec![];
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in line.chars() {
        let ends = !quoted && (c.is_whitespace() || "{};[]".contains(c));
        if ends && (any || !word.is_empty()) {
            all.push(Token::Word(std::mem::take(&mut word)));
            any = false;
        }
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '{' if !quoted => all.push(Token::Open),
            '}' if !quoted => all.push(Token::Close),
            ';' if !quoted => all.push(Token::End),
            _ if ends => {}
            _ => word.push(c),
        }
    }
    if any || !word.is_empty() {
        all.push(Token::Word(word));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn what_8_4_shows_is_read() {
        let all = parse(include_str!("fixtures/show-8.4")).expect("parsed");
        assert_eq!(all.len(), 2);
        let first = &all[0];
        assert_eq!((first.resource.as_str(), first.minor), ("resource0", 0));
        let backing = Backing { data: "/dev/xenvg/d0".into(), meta: "/dev/xenvg/m0".into() };
        assert_eq!(first.backing, Some(backing));
        let own = options(&[("resync-rate", "2048"), ("c-plan-ahead", "0")]);
        assert!(!first.disk.differs(&own), "{:?}", first.disk);
        // What is so by itself need not be set; what is set must be wanted.
        let more = [("disk-flushes".to_owned(), "yes".to_owned())].into_iter().chain(own.clone());
        assert!(!first.disk.differs(&more.collect()));
        assert!(first.disk.differs(&options(&[("resync-rate", "2048")])));
        assert!(first.disk.differs(&options(&[("resync-rate", "1"), ("c-plan-ahead", "0")])));
        let net = first.net.as_ref().expect("a connection");
        assert_eq!((net.local.as_str(), net.peer.as_str()), ("10.77.0.1:11000", "10.77.0.2:11000"));
        assert_eq!(net.secret, "not-really-secret");
        assert!(!format!("{net:?}").contains("really"), "secrets are not shown");
        let own = options(&[
            ("cram-hmac-alg", "sha256"),
            ("after-sb-0pri", "discard-zero-changes"),
            ("verify-alg", "md5"),
            ("sndbuf-size", "524288"),
            ("protocol", "C"),
        ]);
        assert!(!net.options.differs(&own), "{:?}", net.options);
        let second = &all[1];
        assert_eq!((second.resource.as_str(), second.minor), ("resource1", 1));
        assert!(second.backing.is_none() && second.net.is_none());
    }

    #[test]
    fn what_9_shows_is_read() {
        // As its manual has it.
        let all = parse(
            "resource r9 {\n  options { auto-promote no; }\n  _this_host {\n    node-id 0;\n    \
             volume 0 {\n      device minor 5;\n      disk \"/dev/vg/d\";\n      \
             meta-disk \"/dev/vg/m\" [ 0 ];\n      disk { size 2048s; al-extents 3389; }\n    }\n  }\n  \
             connection {\n    _peer_node_id 1;\n    path {\n      \
             _this_host ipv4 10.0.0.1:11000;\n      _remote_host ipv4 10.0.0.2:11000;\n    }\n    \
             net { cram-hmac-alg \"sha256\"; shared-secret \"a;b\"; _name \"peer\"; }\n    \
             volume 0 {\n      disk { resync-rate 100k; }\n    }\n  }\n}\n",
        )
        .expect("parsed");
        let one = &all[0];
        assert_eq!((one.minor, all.len()), (5, 1));
        assert!(!one.disk.differs(&options(&[("al-extents", "3389"), ("resync-rate", "100")])));
        let net = one.net.as_ref().expect("a connection");
        assert_eq!((net.local.as_str(), net.secret.as_str()), ("10.0.0.1:11000", "a;b"));
        assert!(!net.options.differs(&options(&[("cram-hmac-alg", "sha256")])));
    }

    #[test]
    fn half_an_answer_is_an_error() {
        assert!(parse("resource r {\n _this_host {\n").is_err());
        assert!(parse("}").is_err());
        assert_eq!(parse("").expect("nothing"), []);
    }
}
