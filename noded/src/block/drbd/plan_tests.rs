//! What is planned, and with which commands.

use super::*;
use crate::block::drbd::show;

const SECRET: &str = "3d1f8c";

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn wanted() -> Wanted {
    Wanted {
        resource: "resource4".into(),
        minor: 4,
        data: "/dev/vg/d".into(),
        meta: "/dev/vg/m".into(),
        sectors: Some(2048),
        disk: options(&[("on-io-error", "detach"), ("resync-rate", "61440")]),
        net: options(&[("protocol", "C")]),
        local: "10.0.0.1:11000".parse().expect("address"),
        peer: "10.0.0.2:11000".parse().expect("address"),
        node: 0,
        peer_node: 1,
        secret: SECRET.into(),
    }
}

/// A device as DRBD shows it.
fn device(resource: &str, minor: u32, data: Option<&str>, net: Option<(&str, &str)>) -> Configured {
    let net = net.map_or(String::new(), |(peer, secret)| {
        format!(
            "net {{ protocol C; # default\n shared-secret \"{secret}\"; }}\n\
             _remote_host {{ address ipv4 {peer}; }}\n"
        )
    });
    let disk = data.map_or(String::new(), |data| {
        format!(
            "disk \"{data}\"; meta-disk \"/dev/vg/m{minor}\" [ 0 ];\n\
             disk {{ on-io-error detach; # default\n resync-rate 61440k; }}\n"
        )
    });
    let text = format!(
        "resource {resource} {{\n {net} _this_host {{\n address ipv4 10.0.0.1:11000;\n \
         volume 0 {{\n device minor {minor};\n {disk} }} }} }}\n"
    );
    show::parse(&text).expect("parsed").remove(0)
}

const PEER: Option<(&str, &str)> = Some(("10.0.0.2:11000", SECRET));

#[test]
fn nothing_is_made_from_the_ground() {
    let steps = assemble(&[], true, &wanted()).expect("a plan");
    assert_eq!(steps, [Step::NewResource, Step::NewMinor, Step::Attach, Step::Connect]);
}

#[test]
fn what_is_so_already_needs_nothing() {
    let now = device("resource4", 4, Some("/dev/vg/d"), PEER);
    assert_eq!(assemble(&[now], false, &wanted()), Ok(vec![]));
}

#[test]
fn what_is_missing_is_added() {
    let wanted = wanted();
    let plan = |now: Configured| assemble(&[now], false, &wanted).expect("a plan");
    assert_eq!(plan(device("resource4", 4, Some("/dev/vg/d"), None)), [Step::Connect]);
    assert_eq!(plan(device("resource4", 4, None, PEER)), [Step::Attach]);
    assert_eq!(plan(device("resource4", 4, None, None)), [Step::Attach, Step::Connect]);
    let now = device("resource4", 4, Some("/dev/vg/d"), PEER);
    let other = Wanted { net: options(&[("protocol", "A")]), ..wanted.clone() };
    assert_eq!(assemble(std::slice::from_ref(&now), false, &other), Ok(vec![Step::NetOptions]));
    let other = Wanted { disk: options(&[("resync-rate", "1")]), ..wanted.clone() };
    assert_eq!(assemble(std::slice::from_ref(&now), false, &other), Ok(vec![Step::DiskOptions]));
    // It gave up looking for the other side: it looks again.
    let (local, peer) = ("10.0.0.1:11000".to_owned(), "10.0.0.2:11000".to_owned());
    let away = Step::Disconnect { local, peer };
    assert_eq!(assemble(&[now], true, &wanted), Ok(vec![away, Step::Connect]));
}

#[test]
fn what_is_otherwise_is_changed() {
    let wanted = wanted();
    let now = device("resource4", 4, Some("/dev/vg/old"), PEER);
    assert_eq!(assemble(&[now], false, &wanted), Ok(vec![Step::Detach, Step::Attach]));
    let now = device("resource4", 4, Some("/dev/vg/d"), Some(("10.0.0.9:11000", SECRET)));
    let (local, peer) = ("10.0.0.1:11000".to_owned(), "10.0.0.9:11000".to_owned());
    let away = Step::Disconnect { local, peer };
    assert_eq!(assemble(&[now], false, &wanted), Ok(vec![away, Step::Connect]));
}

#[test]
fn what_is_somebody_elses_is_refused() {
    let wanted = wanted();
    let now = device("web", 4, Some("/dev/vg/web"), Some(("10.0.0.9:7000", "x")));
    let taken = Refusal::Minor { resource: "web".into(), data: Some("/dev/vg/web".into()) };
    assert_eq!(assemble(&[now], false, &wanted), Err(taken));
    let now = device("resource4", 4, None, Some(("10.0.0.9:7000", "x")));
    let taken = Refusal::Minor { resource: "resource4".into(), data: None };
    assert_eq!(assemble(&[now], false, &wanted), Err(taken));
    let now = device("resource4", 9, None, None);
    assert_eq!(assemble(&[now], false, &wanted), Err(Refusal::Name { minor: 9 }));
    let now = device("other", 9, Some("/dev/vg/d"), None);
    let taken = Refusal::Storage { resource: "other".into(), minor: 9 };
    assert_eq!(assemble(&[now], false, &wanted), Err(taken));
}

/// Calls as one would type them.
fn typed(step: &Step, dialect: Dialect) -> Vec<String> {
    let calls = wanted().calls(step, dialect, false);
    calls
        .iter()
        .map(|call| match call {
            Call::Run(program, arguments) => format!("{program} {}", arguments.join(" ")),
            Call::Tell(message) => format!("tell {:?}", message.order),
        })
        .collect()
}

#[test]
fn commands_of_8_4() {
    let typed = |step| typed(&step, Dialect::Eight);
    assert_eq!(typed(Step::NewResource), ["drbdsetup new-resource resource4"]);
    assert_eq!(typed(Step::NewMinor), ["drbdsetup new-minor resource4 4 0"]);
    assert_eq!(
        typed(Step::Attach),
        [
            "drbdmeta --force 4 v08 /dev/vg/m 0 apply-al",
            "drbdsetup attach 4 /dev/vg/d /dev/vg/m 0 --size=2048s --on-io-error=detach \
             --resync-rate=61440K",
        ]
    );
    assert_eq!(
        typed(Step::DiskOptions),
        ["drbdsetup disk-options 4 --set-defaults --on-io-error=detach --resync-rate=61440K"]
    );
    assert_eq!(typed(Step::Connect), ["tell Connect"]);
    assert_eq!(typed(Step::NetOptions), ["tell NetOptions"]);
    let away = Step::Disconnect { local: "10.0.0.1:1".into(), peer: "[fd00::2]:1".into() };
    assert_eq!(typed(away), ["drbdsetup disconnect ipv4:10.0.0.1:1 ipv6:[fd00::2]:1"]);
}

#[test]
fn commands_of_9() {
    let typed = |step| typed(&step, Dialect::Nine);
    assert_eq!(typed(Step::NewResource), ["drbdsetup new-resource resource4 0 --auto-promote=no"]);
    assert_eq!(
        typed(Step::Attach),
        [
            "drbdmeta --force 4 v09 /dev/vg/m 0 apply-al",
            "drbdsetup attach 4 /dev/vg/d /dev/vg/m 0 --size=2048s --on-io-error=detach",
        ]
    );
    assert_eq!(
        typed(Step::Connect),
        [
            "drbdsetup new-peer resource4 1 --_name=peer --protocol=C",
            "tell Secret",
            "drbdsetup new-path resource4 1 ipv4:10.0.0.1:11000 ipv4:10.0.0.2:11000",
            "drbdsetup peer-device-options resource4 1 0 --set-defaults --resync-rate=61440K",
            "drbdsetup connect resource4 1 --discard-my-data=no",
        ]
    );
    let away = Step::Disconnect { local: "10.0.0.1:1".into(), peer: "10.0.0.9:1".into() };
    let calls = ["drbdsetup disconnect resource4 1", "drbdsetup del-peer resource4 1"];
    assert_eq!(typed(away), calls);
}

#[test]
fn no_command_has_the_secret() {
    let (local, peer) = ("10.0.0.1:1".to_owned(), "10.0.0.9:1".to_owned());
    let steps = [
        Step::NewResource,
        Step::NewMinor,
        Step::Attach,
        Step::Detach,
        Step::DiskOptions,
        Step::Connect,
        Step::NetOptions,
        Step::Disconnect { local, peer },
    ];
    for dialect in [Dialect::Eight, Dialect::Nine] {
        for step in &steps {
            for call in wanted().calls(step, dialect, true) {
                assert!(!format!("{call:?}").contains(SECRET), "{step:?}");
            }
        }
    }
}
