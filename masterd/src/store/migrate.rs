//! Moving a cluster from one store to the other, while no masterd leads.
//!
//! ```text
//!   old store ──copy──► new store ──read back──► same? ──► settings name the new one ──► old one put
//!   (untouched)                                  │no         (the switch)                 aside
//!                                                └──► error, nothing changed
//! ```
//!
//! Everything is copied: documents, archive, serial, epoch. An attempt that failed anywhere can be
//! repeated: before the switch the old store counts, and a finished copy is recognised by its
//! content. The log is not copied, so watchers begin anew.
//!
//! The master's machine copies. The other master candidates switch by themselves: to etcd when the
//! master tells them where it is, from etcd when they find there that the cluster has moved. One that
//! cannot be told is made to *follow* by hand: it only switches, after looking whether the new store
//! is there.
//!
//! ```text
//!   from etcd:  claim to lead next ─► masterd makes way ─► lead ─► copy … switch ─► head retired
//!               (so no other candidate leads in between, and none can afterwards)
//! ```

use super::etcd::offline::{self, Offline};
use super::etcd::{Candidate, EtcdStore};
use super::sqlite::SqliteStore;
use super::{Batch, Key, Log, Position, Space, Store, StoreError, settings};
use crate::replication::Voters;
use crate::{clock, files};
use roost_proto::error::{Error, Result};
use roost_proto::ids::Serial;
use roost_proto::paths::{Identity, Paths};
use roost_proto::store::{EtcdSettings, MigrateSpec, StoreSettings};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Documents in one commit of the copy.
const GROUP: usize = 500;
/// Empty commits made at once.
const EMPTY: usize = 5_000;

/// What a store holds, for comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum {
    at: Position,
    documents: usize,
    hash: [u8; 32],
}

/// Does it, or only checks. Returns what to tell. Errors: nothing was switched.
pub fn migrate(paths: &Paths, spec: &MigrateSpec) -> Result<String> {
    let identity = identity(paths)?;
    let from = settings::load(paths)?;
    if from == spec.to {
        return Err(Error::wrong_state("The cluster uses this store already"));
    }
    match (&from, &spec.to) {
        (StoreSettings::Embedded, StoreSettings::Etcd(etcd)) => {
            settings::validate(etcd)?;
            if spec.follow {
                follow_to_etcd(paths, &identity, etcd, spec)
            } else {
                to_etcd(paths, &identity, etcd, spec)
            }
        }
        (StoreSettings::Etcd(_), StoreSettings::Embedded) if spec.follow => {
            check_no_database(paths)?;
            if !spec.check_only {
                settings::save(paths, &spec.to)?;
            }
            Ok("This node gets its copy of the database from the master\n".into())
        }
        (StoreSettings::Etcd(etcd), StoreSettings::Embedded) => {
            to_embedded(paths, &identity, etcd, spec)
        }
        _ => Err(Error::wrong_input(
            "From one etcd cluster to another there is a way by the embedded store only, or by \
             etcd's own snapshots",
        )),
    }
}

/// Removes what the cluster has outside this machine: its keys in etcd. For a cluster that is
/// destroyed.
pub fn destroy(paths: &Paths) -> Result<()> {
    let StoreSettings::Etcd(etcd) = settings::load(paths)? else { return Ok(()) };
    let identity = identity(paths)?;
    let mut store = Offline::lead(&etcd, identity.cluster, candidate(&identity))?;
    let removed = store.store.destroy().map_err(failed);
    store.finish();
    removed
}

fn identity(paths: &Paths) -> Result<Identity> {
    serde_json::from_str(&files::read(&paths.identity())?)
        .map_err(|e| Error::environment(format!("{}: {e}", paths.identity().display())))
}

fn to_etcd(
    paths: &Paths,
    identity: &Identity,
    etcd: &EtcdSettings,
    spec: &MigrateSpec,
) -> Result<String> {
    if spec.check_only {
        return Ok(match offline::look(etcd, identity.cluster)? {
            None => "etcd answers, and there is nothing of this cluster in it\n".into(),
            Some(at) => format!(
                "etcd has a copy of this cluster ({at}); it is used only if it is the same as the \
                 database\n"
            ),
        });
    }
    let mut old = SqliteStore::open(&paths.database()).map_err(failed)?;
    let before = sum(&mut old, |old| old.position())?;
    let mut new = Offline::lead(etcd, identity.cluster, candidate(identity))?;
    let copied = copy_to_etcd(&mut old, &mut new.store, before);
    new.finish();
    copied?;
    settings::save(paths, &spec.to)?;
    drop(old);
    let aside = put_aside(&paths.database())?;
    Ok(tell(before, &format!("The old database is kept as {}", aside.display())))
}

fn copy_to_etcd(old: &mut SqliteStore, new: &mut EtcdStore, before: Sum) -> Result<()> {
    if new.exists().map_err(failed)? {
        let there = sum(new, EtcdStore::position)?;
        return same(before, there).map_err(|_| {
            Error::wrong_state(
                "etcd has another state of this cluster already, so nothing was copied. If that is \
                 not wanted any more, remove it: etcdctl del --prefix /roost/<cluster's UUID>/",
            )
        });
    }
    let mut documents = everything(old)?.into_iter().map(Ok);
    new.import(before.at.serial, before.at.epoch, &mut documents).map_err(failed)?;
    same(before, sum(new, EtcdStore::position)?)
}

fn follow_to_etcd(
    paths: &Paths,
    identity: &Identity,
    etcd: &EtcdSettings,
    spec: &MigrateSpec,
) -> Result<String> {
    let there = offline::look(etcd, identity.cluster)?.ok_or_else(|| {
        Error::wrong_state("etcd has nothing of this cluster yet: migrate on the master first")
    })?;
    if !paths.database().exists() {
        if !spec.check_only {
            settings::save(paths, &spec.to)?;
        }
        return Ok("This node has no database\n".into());
    }
    let mut old = SqliteStore::open(&paths.database()).map_err(failed)?;
    let here = old.position().map_err(failed)?;
    if here > there {
        return Err(newer(here, there));
    }
    if spec.check_only {
        return Ok(format!("etcd has this cluster, at {there}\n"));
    }
    settings::save(paths, &spec.to)?;
    drop(old);
    let aside = put_aside(&paths.database())?;
    Ok(format!("The old database is kept as {}\n", aside.display()))
}

fn to_embedded(
    paths: &Paths,
    identity: &Identity,
    etcd: &EtcdSettings,
    spec: &MigrateSpec,
) -> Result<String> {
    check_no_database(paths)?;
    if spec.check_only {
        return match offline::look(etcd, identity.cluster)? {
            Some(at) => Ok(format!("etcd has this cluster, at {at}\n")),
            None => Err(Error::wrong_state("etcd has nothing of this cluster")),
        };
    }
    let mut old = Offline::take_over(etcd, identity.cluster, candidate(identity))?;
    let copied = copy_to_embedded(paths, identity, &mut old.store).and_then(|before| {
        settings::save(paths, &spec.to)?;
        // From here on the database counts; a second state in etcd would only mislead.
        let retired = old.store.retire();
        let aside = match retired {
            Ok(()) => "What is in etcd is kept, with its head as head.retired".to_owned(),
            Err(e) => format!("What is in etcd could not be marked as old ({e}): remove it"),
        };
        Ok(tell(before, &aside))
    });
    old.finish();
    copied
}

/// Writes the database beside its place and moves it there when it is the same.
fn copy_to_embedded(paths: &Paths, identity: &Identity, old: &mut EtcdStore) -> Result<Sum> {
    check_master(identity, old)?;
    let before = sum(old, EtcdStore::position)?;
    let temporary = paths.data_dir().join("config.db.new");
    for leftover in ["config.db.new", "config.db.new-wal", "config.db.new-shm"] {
        std::fs::remove_file(paths.data_dir().join(leftover)).ok();
    }
    let mut new = SqliteStore::create(&temporary).map_err(failed)?;
    let mut groups: Vec<Batch> = Vec::new();
    for (n, put) in everything(old)?.into_iter().enumerate() {
        if n % GROUP == 0 {
            groups.push(Batch::default());
        }
        if let Some(group) = groups.last_mut() {
            group.puts.push(put);
        }
    }
    let serial = before.at.serial.0;
    if groups.len() as u64 > serial {
        groups = vec![Batch {
            puts: groups.into_iter().flat_map(|group| group.puts).collect(),
            deletes: Vec::new(),
        }];
    }
    // The log's end is the serial, so it begins with commits of nothing. It is cut as it grows.
    let mut empty = serial.saturating_sub(groups.len() as u64);
    while empty > 0 {
        let some = usize::try_from(empty).unwrap_or(EMPTY).min(EMPTY);
        new.commit(before.at.epoch, &vec![Batch::default(); some]).map_err(failed)?;
        empty -= some as u64;
    }
    for group in groups {
        new.commit(before.at.epoch, &[group]).map_err(failed)?;
    }
    same(before, sum(&mut new, |new| new.position())?)?;
    // Nobody else has a copy yet: the others have a say when they have got theirs.
    let only = Voters::one([identity.node].into());
    let only = serde_json::to_string(&only)
        .map_err(|e| Error::internal(format!("unstorable voters: {e}")))?;
    let puts = vec![(Voters::key(), only)];
    new.commit(before.at.epoch, &[Batch { puts, deletes: Vec::new() }]).map_err(failed)?;
    // Closing it empties the write-ahead log into the file.
    drop(new);
    std::fs::rename(&temporary, paths.database()).map_err(|e| {
        Error::environment(format!("Cannot make {}: {e}", paths.database().display()))
    })?;
    Ok(before)
}

/// The database must come to lie on the machine that leads with it.
fn check_master(identity: &Identity, store: &mut EtcdStore) -> Result<()> {
    let contents = store.load().map_err(failed)?;
    let cluster = contents.documents.iter().find(|(key, _)| key.space == Space::Cluster);
    let cluster: serde_json::Value = cluster
        .and_then(|(_, body)| serde_json::from_str(body).ok())
        .ok_or_else(|| Error::environment("What is in etcd says nothing about the cluster"))?;
    if cluster["master_node"] == serde_json::json!(identity.node) {
        return Ok(());
    }
    Err(Error::wrong_state(
        "Another node is the master ('gnt-cluster getmaster'): run this command there, or make this \
         node the master first ('gnt-cluster master-failover')",
    ))
}

/// All documents, those of the archive too.
fn everything(store: &mut dyn Store) -> Result<Vec<(Key, String)>> {
    let mut documents = store.load().map_err(failed)?.documents;
    let archive = store.scan(Space::Archive).map_err(failed)?;
    documents.extend(archive.into_iter().map(|(id, body)| (Key::new(Space::Archive, id), body)));
    Ok(documents)
}

fn sum<S: Store>(
    store: &mut S,
    position: impl FnOnce(&mut S) -> std::result::Result<Position, StoreError>,
) -> Result<Sum> {
    let mut documents = everything(store)?;
    documents.sort();
    let mut hash = Sha256::new();
    for (key, body) in &documents {
        for part in [key.space.as_str(), &key.id, body] {
            // Lengths too: else text could move from one part to the next unseen.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    let at = position(store).map_err(failed)?;
    Ok(Sum { at, documents: documents.len(), hash: hash.finalize().into() })
}

fn same(before: Sum, after: Sum) -> Result<()> {
    if before == after {
        return Ok(());
    }
    Err(Error::internal(format!(
        "The copy is not the same ({} documents at {}, and {} at {}): nothing was switched, the old \
         store is as it was",
        before.documents, before.at, after.documents, after.at
    )))
}

fn tell(sum: Sum, aside: &str) -> String {
    format!("{} documents at {} are copied and compared\n{aside}\n", sum.documents, sum.at)
}

fn check_no_database(paths: &Paths) -> Result<()> {
    if paths.database().exists() {
        return Err(Error::wrong_state(format!(
            "{} exists already: move it away if it is not wanted any more",
            paths.database().display()
        )));
    }
    Ok(())
}

/// Puts a copy aside that is left from before the cluster moved to etcd, which is at `known`. Result:
/// where it is kept, if there was one. Errors: it has something that etcd lacks.
pub fn set_aside(paths: &Paths, known: Position) -> Result<Option<PathBuf>> {
    if !paths.database().exists() {
        return Ok(None);
    }
    let mut copy = SqliteStore::open(&paths.database()).map_err(failed)?;
    let here = copy.position().map_err(failed)?;
    if here > known {
        return Err(newer(here, known));
    }
    drop(copy);
    put_aside(&paths.database()).map(Some)
}

fn newer(here: Position, there: Position) -> Error {
    Error::wrong_state(format!(
        "The database of this node ({here}) is newer than what is in etcd ({there}). If it is what \
         the cluster goes on with, migrate from this node, without --follow; else move it away"
    ))
}

fn put_aside(path: &Path) -> Result<PathBuf> {
    let name = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = name(&format!(".migrated-{}", Serial(clock::micros() / 1_000_000)));
    std::fs::rename(path, &aside).map_err(|e| {
        Error::environment(format!("Cannot rename {} to {}: {e}", path.display(), aside.display()))
    })?;
    for leftover in ["-wal", "-shm"] {
        std::fs::remove_file(name(leftover)).ok();
    }
    Ok(aside)
}

fn candidate(identity: &Identity) -> Candidate {
    Candidate { node: identity.node, name: identity.name.to_string() }
}

fn failed(error: StoreError) -> Error {
    Error::environment(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::testing::{Server, cluster};
    use roost_proto::ids::Epoch;

    fn machine(dir: &Path, name: &str) -> Paths {
        let paths = Paths::new(Some(dir.join(name)));
        let identity = serde_json::json!({
            "cluster": cluster(), "node": cluster(), "name": format!("{name}.example.com"),
            "address": "192.0.2.1",
        });
        files::write(&paths.identity(), identity.to_string().as_bytes(), 0o644).unwrap();
        paths
    }

    fn database(paths: &Paths, commits: usize) -> Sum {
        let mut store = SqliteStore::create(&paths.database()).unwrap();
        let about = serde_json::json!({ "master_node": cluster() }).to_string();
        let puts = vec![(Key::new(Space::Cluster, "cluster"), about)];
        store.commit(Epoch(4), &[Batch { puts, deletes: vec![] }]).unwrap();
        for i in 0..commits {
            let puts = vec![
                (Key::new(Space::Instance, i % 9), format!("{{\"n\": {i}}}")),
                (Key::new(Space::Archive, i), "x".repeat(i)),
                (Key::new(Space::Job, "long"), "y".repeat(1_500_000)),
            ];
            store.commit(Epoch(4), &[Batch { puts, deletes: vec![] }]).unwrap();
        }
        sum(&mut store, |store| store.position()).unwrap()
    }

    fn spec(to: StoreSettings) -> MigrateSpec {
        MigrateSpec { to, follow: false, check_only: false }
    }

    #[test]
    fn there_and_back_again() {
        let Some(server) = Server::start() else { return };
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (machine(dir.path(), "n1"), machine(dir.path(), "n2"));
        let before = database(&one, 20);
        database(&two, 19);
        let etcd = spec(StoreSettings::Etcd(server.settings()));
        let follow = |to: &MigrateSpec| MigrateSpec { follow: true, ..to.clone() };
        let early = migrate(&two, &follow(&etcd)).unwrap_err();
        assert!(early.message.contains("migrate on the master first"), "{early}");

        let said = migrate(&one, &MigrateSpec { check_only: true, ..etcd.clone() }).unwrap();
        assert!(said.contains("nothing of this cluster"), "{said}");
        assert!(one.database().exists(), "a check changes nothing");
        let said = migrate(&one, &etcd).unwrap();
        assert!(said.starts_with("31 documents at serial 21 of epoch 4"), "{said}");
        assert!(!one.database().exists() && said.contains("config.db.migrated-"), "{said}");
        migrate(&two, &follow(&etcd)).unwrap();
        assert_eq!(settings::load(&two).unwrap(), etcd.to);
        assert!(migrate(&one, &etcd).unwrap_err().message.contains("already"));

        let embedded = spec(StoreSettings::Embedded);
        migrate(&one, &embedded).unwrap();
        let mut store = SqliteStore::open(&one.database()).unwrap();
        let after = sum(&mut store, |store| store.position()).unwrap();
        // The only other copies are old.
        let voters = store.get(&Voters::key()).unwrap().unwrap();
        assert_eq!(voters, serde_json::json!([[cluster()]]).to_string());
        assert_eq!((after.at.serial.0, after.documents), (22, before.documents + 1));
        assert_eq!(settings::load(&one).unwrap(), StoreSettings::Embedded);
        assert_eq!(offline::look(&server.settings(), cluster()).unwrap(), None);
        migrate(&two, &follow(&embedded)).unwrap();

        drop(store);
        destroy(&one).unwrap();
        std::fs::rename(one.database(), one.data_dir().join("old")).unwrap();
        settings::save(&one, &etcd.to).unwrap();
        let error = destroy(&one).unwrap_err();
        assert!(error.message.contains("head does not exist"), "{error}");
        std::fs::rename(one.data_dir().join("old"), one.database()).unwrap();
        settings::save(&one, &embedded.to).unwrap();
        migrate(&one, &etcd).unwrap();
        destroy(&one).unwrap();
        assert_eq!(offline::look(&server.settings(), cluster()).unwrap(), None);
    }

    #[test]
    fn an_interrupted_switch_is_finished_and_another_state_is_not_touched() {
        let Some(server) = Server::start() else { return };
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (machine(dir.path(), "n1"), machine(dir.path(), "n2"));
        database(&one, 5);
        database(&two, 7);
        let etcd = spec(StoreSettings::Etcd(server.settings()));
        let copy = one.data_dir().join("copy");
        std::fs::copy(one.database(), &copy).unwrap();
        migrate(&one, &etcd).unwrap();
        // As if the machine had died before the switch.
        settings::save(&one, &StoreSettings::Embedded).unwrap();
        std::fs::rename(&copy, one.database()).unwrap();
        migrate(&one, &etcd).unwrap();

        let error = migrate(&two, &etcd).unwrap_err();
        assert!(error.message.contains("another state"), "{error}");
        assert!(two.database().exists());
        assert_eq!(settings::load(&two).unwrap(), StoreSettings::Embedded);
        let newer = migrate(&two, &MigrateSpec { follow: true, ..etcd.clone() }).unwrap_err();
        assert!(newer.message.contains("newer"), "{newer}");

        database(&one, 1);
        let error = migrate(&one, &spec(StoreSettings::Embedded)).unwrap_err();
        assert!(error.message.contains("exists already"), "{error}");
    }

    #[test]
    fn nothing_is_migrated_under_a_leader() {
        let Some(server) = Server::start() else { return };
        let dir = tempfile::tempdir().unwrap();
        let one = machine(dir.path(), "n1");
        database(&one, 2);
        let leader = Candidate { node: uuid::Uuid::nil().into(), name: "n9".into() };
        let held = Offline::lead(&server.settings(), cluster(), leader).unwrap();
        let error = migrate(&one, &spec(StoreSettings::Etcd(server.settings()))).unwrap_err();
        assert!(error.message.contains("Node n9 leads"), "{error}");
        held.finish();

        // One of this very node that died is waited for.
        let dead = Candidate { node: cluster().0.into(), name: "n1".into() };
        drop(Offline::lead(&server.settings(), cluster(), dead).unwrap());
        migrate(&one, &spec(StoreSettings::Etcd(server.settings()))).unwrap();
    }

    #[test]
    fn a_copy_is_set_aside_only_if_etcd_has_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let one = machine(dir.path(), "n1");
        let at = |serial| Position { epoch: Epoch(4), serial: Serial(serial) };
        assert_eq!(set_aside(&one, at(1)).unwrap(), None);
        let before = database(&one, 5).at;
        let error = set_aside(&one, at(before.serial.0 - 1)).unwrap_err();
        assert!(error.message.contains("is newer than what is in etcd"), "{error}");
        assert!(one.database().exists());
        let kept = set_aside(&one, before).unwrap().unwrap();
        assert!(kept.exists() && !one.database().exists());
    }

    #[test]
    fn only_the_master_moves_the_cluster_out_of_etcd() {
        let Some(server) = Server::start() else { return };
        let dir = tempfile::tempdir().unwrap();
        let one = machine(dir.path(), "n1");
        database(&one, 3);
        let etcd = spec(StoreSettings::Etcd(server.settings()));
        migrate(&one, &etcd).unwrap();
        let identity = files::read(&one.identity()).unwrap();
        let mut other: serde_json::Value = serde_json::from_str(&identity).unwrap();
        other["node"] = serde_json::json!("99999999-2222-3333-4444-555555555555");
        files::write(&one.identity(), other.to_string().as_bytes(), 0o644).unwrap();
        let embedded = spec(StoreSettings::Embedded);
        let error = migrate(&one, &embedded).unwrap_err();
        assert!(error.message.contains("Another node is the master"), "{error}");
        assert_eq!(settings::load(&one).unwrap(), etcd.to);
        files::write(&one.identity(), identity.as_bytes(), 0o644).unwrap();
        migrate(&one, &embedded).unwrap();
    }
}
