//! What `attach` prints.
//!
//! ```text
//!   /dev/rbd0              the block device; empty where there is none
//!   kvm:rbd:pool/volume    a URI for a hypervisor that opens volumes itself; as many as there are
//! ```

use std::path::{Path, PathBuf};

/// An attached volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    pub device: Option<PathBuf>,
    /// (hypervisor, URI).
    pub uris: Vec<(String, String)>,
    /// Further lines that are nothing of that kind; Ganeti takes no notice of them.
    pub ignored: Vec<String>,
}

impl Attached {
    /// Reads what `attach` printed. Whether the device exists is not looked at. Errors say what is
    /// wrong with it.
    pub fn parse(stdout: &[u8]) -> Result<Attached, String> {
        let text = std::str::from_utf8(stdout)
            .map_err(|_| format!("its output is not text: {}", quote(stdout)))?;
        if text.contains('\0') {
            return Err(format!("its output is not text: {}", quote(stdout)));
        }
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        let device = match first {
            "" => None,
            path if Path::new(path).is_absolute() => Some(PathBuf::from(path)),
            other => {
                return Err(format!(
                    "line 1 of its output must be the path of a block device, or empty, and is {}",
                    quote(other.as_bytes())
                ));
            }
        };
        let mut attached = Attached { device, ..Attached::default() };
        for line in lines.filter(|line| !line.is_empty()) {
            match line.split_once(':') {
                Some((hypervisor, uri)) if is_word(hypervisor) && is_plain(uri) => {
                    attached.uris.push((hypervisor.to_owned(), uri.to_owned()));
                }
                _ => attached.ignored.push(line.to_owned()),
            }
        }
        if attached.device.is_none() && attached.uris.is_empty() {
            return Err(match stdout {
                [] => "it printed neither the path of a block device nor a URI".to_owned(),
                other => format!(
                    "it printed neither the path of a block device nor a URI but {}",
                    quote(other)
                ),
            });
        }
        Ok(attached)
    }

    /// The URI for a hypervisor.
    pub fn uri(&self, hypervisor: &str) -> Option<&str> {
        let of = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(hypervisor);
        self.uris.iter().find(of).map(|(_, uri)| uri.as_str())
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn is_plain(uri: &str) -> bool {
    !uri.is_empty() && uri.chars().all(|c| !c.is_control() && c != ' ')
}

/// The beginning of an output, fit for a message.
fn quote(output: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(output).chars().take(80).collect();
    let more = if output.len() > text.len() { "…" } else { "" };
    format!("{text:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_uris() {
        let both = Attached::parse(b"/dev/rbd0\nkvm:rbd:pool/x\nXen:phy:a\n").expect("good");
        assert_eq!(both.device, Some(PathBuf::from("/dev/rbd0")));
        assert_eq!(both.uri("KVM"), Some("rbd:pool/x"));
        assert_eq!(both.uri("xen"), Some("phy:a"));
        assert_eq!(both.uri("lxc"), None);
        let bare = Attached::parse(b"/dev/x").expect("no newline is needed");
        assert_eq!((bare.device, bare.uris.len()), (Some(PathBuf::from("/dev/x")), 0));
        let uri = Attached::parse(b"\nkvm:nbd:unix:/run/x.sock").expect("a URI alone");
        assert_eq!((uri.device.as_ref(), uri.uri("kvm")), (None, Some("nbd:unix:/run/x.sock")));
        let chatty = Attached::parse(b"/dev/x\nall done\n").expect("as Ganeti");
        assert_eq!(chatty.ignored, ["all done"]);
    }

    #[test]
    fn nonsense_is_quoted() {
        let error = |out: &[u8]| Attached::parse(out).expect_err("nonsense");
        assert_eq!(error(b""), "it printed neither the path of a block device nor a URI");
        assert!(error(b"\n\n").contains(r#"but "\n\n""#));
        assert!(error(b"Attaching...\n/dev/x\n").contains(r#"and is "Attaching...""#));
        assert!(error(b"\xff\xfe").contains("not text"));
        assert!(error(&[b'x'; 5000]).len() < 250);
    }
}
