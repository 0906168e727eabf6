//! What a verification says, in Ganeti's words and lines.

use roost_proto::error::{Error, Result};

/// A kind of finding, and the kind of object it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub name: &'static str,
    pub object: &'static str,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident: $object:literal;)+) => {
        $($(#[$doc])* pub const $name: Code = Code { name: stringify!($name), object: $object };)+

        /// All of them.
        const ALL: &[Code] = &[$($name),+];
    };
}

codes! {
    /// The configuration contradicts itself.
    ECLUSTERCFG: "cluster";
    /// A certificate ends soon.
    ECLUSTERCERT: "cluster";
    /// A candidate's certificate is not recorded.
    ECLUSTERCLIENTCERT: "cluster";
    /// A job left something behind. Not in Ganeti.
    ECLUSTERDEBRIS: "cluster";
    /// A node is in no group.
    ECLUSTERDANGLINGNODES: "node";
    /// An instance is on no node.
    ECLUSTERDANGLINGINST: "node";
    /// Spindles are not alike, where each is a disk's alone.
    EGROUPDIFFERENTPVSIZE: "group";
    /// It shall run, but its node is offline.
    EINSTANCEBADNODE: "instance";
    /// It shall run and does not.
    EINSTANCEDOWN: "instance";
    /// A disk is broken.
    EINSTANCEFAULTYDISK: "instance";
    /// A disk is not there.
    EINSTANCEMISSINGDISK: "instance";
    /// It breaks its group's policy.
    EINSTANCEPOLICY: "instance";
    /// Its nodes are in different groups.
    EINSTANCESPLITGROUPS: "instance";
    /// It runs where it should not.
    EINSTANCEWRONGNODE: "instance";
    /// DRBD is not as it should be.
    ENODEDRBD: "node";
    /// What DRBD calls is not what it should.
    ENODEDRBDHELPER: "node";
    /// DRBD is of a version that cannot be used.
    ENODEDRBDVERSION: "node";
    /// A node's files differ from what they should be.
    ENODEFILECHECK: "node";
    /// A directory for file disks cannot be used.
    ENODEFILESTORAGEPATHUNUSABLE: "node";
    /// A directory for Gluster disks cannot be used.
    ENODEGLUSTERSTORAGEPATHUNUSABLE: "node";
    /// A hypervisor does not work.
    ENODEHV: "node";
    /// Something is wrong with LVM.
    ENODELVM: "node";
    /// Too little memory to take over from a node.
    ENODEN1: "node";
    /// A bridge is missing.
    ENODENET: "node";
    /// The out-of-band helper of nodes cannot be run on the master's node.
    ENODEOOBPATH: "node";
    /// A file that looks like a disk and is nobody's. Not in Ganeti.
    ENODEORPHANFILE: "node";
    /// A guest runs that is not in the configuration.
    ENODEORPHANINSTANCE: "node";
    /// A volume that is nobody's.
    ENODEORPHANLV: "node";
    /// An OS definition differs from other nodes'.
    ENODEOS: "node";
    /// A node does not answer.
    ENODERPC: "node";
    /// A daemon that should run does not.
    ENODESETUP: "node";
    /// A directory for shared file disks cannot be used.
    ENODESHAREDFILESTORAGEPATHUNUSABLE: "node";
    /// Its clock is wrong.
    ENODETIME: "node";
    /// Its software is of another version.
    ENODEVERSION: "node";
    /// Instances are where a placement rule does not allow them. Not in Ganeti.
    ERULEVIOLATED: "rule";
}

/// Codes of Ganeti's that we never emit, but that scripts may ask to be ignored.
const NEVER: &[&str] = &[
    "ECLUSTERFILECHECK",
    "EEXTAGS",
    "EINSTANCELAYOUT",
    "EINSTANCEMISSINGCFGPARAMETER",
    "EINSTANCEUNSUITABLENODE",
    "ENODEFILESTORAGEPATHS",
    "ENODEHOOKS",
    "ENODESSH",
    "ENODEUSERSCRIPTS",
];

/// The code of a problem with LVM or DRBD that a node told; nothing for one of a later version.
pub fn of_devices(name: &str) -> Option<Code> {
    [ENODELVM, ENODEDRBD, ENODEDRBDHELPER, ENODEDRBDVERSION].into_iter().find(|c| c.name == name)
}

/// Errors if a code to ignore is none.
pub fn check_codes(ignored: &[String]) -> Result<()> {
    let known = |code: &str| ALL.iter().any(|c| c.name == code) || NEVER.contains(&code);
    match ignored.iter().find(|code| !known(code)) {
        None => Ok(()),
        Some(code) => {
            let names: Vec<_> = ALL.iter().map(|c| c.name).collect();
            Err(Error::wrong_input(format!(
                "Unknown error code '{code}'; there are: {}",
                names.join(", ")
            )))
        }
    }
}

/// Collects lines, and whether there is an error among them.
#[derive(Debug)]
pub struct Findings<'a> {
    error_codes: bool,
    ignored: &'a [String],
    pub verbose: bool,
    lines: Vec<String>,
    bad: bool,
}

impl<'a> Findings<'a> {
    /// Nothing yet.
    pub fn new(error_codes: bool, ignored: &'a [String], verbose: bool) -> Findings<'a> {
        Findings { error_codes, ignored, verbose, lines: vec![], bad: false }
    }

    /// Says what is looked at: `* Verifying …`.
    pub fn heading(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("* {}", text.as_ref()));
    }

    /// The same, only if much is to be said.
    pub fn detail(&mut self, text: impl AsRef<str>) {
        if self.verbose {
            self.heading(text);
        }
    }

    /// Something to know.
    pub fn notice(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("  - NOTICE: {}", text.as_ref()));
    }

    /// Something wrong. `item` names the object; empty for the cluster.
    pub fn error(&mut self, code: Code, item: &str, text: impl AsRef<str>) {
        if self.ignored.iter().any(|ignored| ignored == code.name) {
            return self.warn(code, item, text);
        }
        self.bad = true;
        self.push("ERROR", code, item, text.as_ref());
    }

    /// Something that may be wrong.
    pub fn warn(&mut self, code: Code, item: &str, text: impl AsRef<str>) {
        self.push("WARNING", code, item, text.as_ref());
    }

    fn push(&mut self, level: &str, code: Code, item: &str, text: &str) {
        let Code { name, object } = code;
        self.lines.push(match (self.error_codes, item) {
            (true, _) => format!("  - {level}:{name}:{object}:{item}:{text}"),
            (false, "") => format!("  - {level}: {object}: {text}"),
            (false, _) => format!("  - {level}: {object} {item}: {text}"),
        });
    }

    /// One error of each kind, to try what watches for them.
    pub fn simulate(&mut self) {
        for code in ALL {
            self.error(*code, "simulated", "this error is simulated (--debug-simulate-errors)");
        }
    }

    /// The lines, and whether all is good.
    pub fn finish(self) -> (Vec<String>, bool) {
        (self.lines, !self.bad)
    }
}

/// A certificate's end, both in seconds since 1970: an error a week before, a warning a month
/// before.
pub fn certificate(findings: &mut Findings<'_>, of: &str, expires: f64, now: f64) {
    let days = (expires - now) / 86400.0;
    if days < 0.0 {
        let text = format!("the certificate of {of} expired {:.0} day(s) ago", -days);
        findings.error(ECLUSTERCERT, "", text);
    } else if days < 30.0 {
        let text = format!("the certificate of {of} expires in {days:.0} day(s)");
        match days < 7.0 {
            true => findings.error(ECLUSTERCERT, "", text),
            false => findings.warn(ECLUSTERCERT, "", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ganetis() {
        let ignored = ["ENODERPC".to_owned()];
        let mut people = Findings::new(false, &ignored, false);
        people.heading("Verifying");
        people.detail("not said");
        people.error(ENODERPC, "node1", "silent");
        people.warn(ECLUSTERCFG, "", "odd");
        let lines = ["* Verifying", "  - WARNING: node node1: silent", "  - WARNING: cluster: odd"];
        assert_eq!(people.finish(), (lines.map(str::to_owned).to_vec(), true));
        let mut programs = Findings::new(true, &[], true);
        programs.detail("said");
        programs.error(EINSTANCEDOWN, "web", "down");
        programs.error(ECLUSTERCFG, "", "odd");
        let lines = [
            "* said",
            "  - ERROR:EINSTANCEDOWN:instance:web:down",
            "  - ERROR:ECLUSTERCFG:cluster::odd",
        ];
        assert_eq!(programs.finish(), (lines.map(str::to_owned).to_vec(), false));
    }

    #[test]
    fn certificates_end() {
        let said = |days: f64| {
            let mut findings = Findings::new(false, &[], false);
            certificate(&mut findings, "node1", days * 86400.0 + 1.0, 0.0);
            let (lines, good) = findings.finish();
            (lines.join(""), good)
        };
        assert_eq!(said(31.0), (String::new(), true));
        let text = "  - WARNING: cluster: the certificate of node1 expires in 20 day(s)";
        assert_eq!(said(20.0), (text.to_owned(), true));
        let text = "  - ERROR: cluster: the certificate of node1 expires in 6 day(s)";
        assert_eq!(said(6.0), (text.to_owned(), false));
        assert!(said(-2.0).0.contains("expired 2 day(s) ago"));
    }
}
