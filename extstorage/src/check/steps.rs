//! The checks, in their order.

use super::kit::{Kit, There};
use super::{Check, Collect, Finding, State};
use crate::medium::Medium;
use crate::provider::Provider;
use crate::run::{Exec, Verdict};
use crate::script::Script;
use crate::volume::{Call, Volume, metadata};

/// What is written: at the beginning, at the end, after growing.
const FIRST: u8 = 0xa5;
const LAST: u8 = 0x5a;
const LATER: u8 = 0x3c;

/// What a valid provider has.
pub fn contents(provider: &Provider) -> String {
    let optional: Vec<&str> = Script::ALL
        .into_iter()
        .filter(|script| !script.is_needed() && provider.has(*script))
        .map(Script::as_str)
        .collect();
    let parameters: Vec<&str> = provider.parameters.iter().map(|(name, _)| name.as_str()).collect();
    let list = |items: Vec<&str>| match items.is_empty() {
        true => "none".to_owned(),
        false => items.join(", "),
    };
    format!("optional scripts: {}; parameters: {}", list(optional), list(parameters))
}

/// Makes all checks. Returned are those that come last whatever happens.
pub async fn run<E: Exec>(kit: &mut Kit<'_, E>, out: &mut impl Collect) -> Vec<Finding> {
    let volume = kit.volume("0");
    let (copy, other) = (kit.volume("0.snap"), kit.volume("1"));
    before(kit, &volume, out).await;
    let made = kit.call(&volume, Call::Create { size: kit.options.size }).await;
    match made {
        Ok(()) => {
            out.add(Check::Create, State::Pass, format!("{} MiB", kit.options.size));
            alive(kit, &volume, &copy, out).await;
        }
        Err(why) => {
            out.add(Check::Create, State::Fail, why);
            out.add(
                Check::Data,
                State::Skip,
                "no volume, so nothing can be seen of its life".into(),
            );
        }
    }
    refusal(kit, &other, out).await;
    unlisted(kit, &other, out).await;
    vec![clean_up(kit, &[copy, volume, other]).await, time(kit)]
}

fn add(out: &mut impl Collect, check: Check, done: Result<String, String>) -> bool {
    let good = done.is_ok();
    match done {
        Ok(detail) => out.add(check, State::Pass, detail),
        Err(why) => out.add(check, State::Fail, why),
    }
    good
}

/// Before there is a volume.
async fn before<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume, out: &mut impl Collect) {
    match kit.call(volume, Call::Verify).await {
        Ok(()) => out.add(Check::Verify, State::Pass, "ends with 0".into()),
        Err(why) => {
            let note = "nodes do not run it before they use a volume, so this is no failure";
            out.add(Check::Verify, State::Skip, format!("{note}: {why}"));
        }
    }
    let seen = match kit.attach(volume).await {
        Err((Verdict::Unknown, why)) => Err(why),
        Err((Verdict::Refused, _)) => Ok("attach fails, as it must".to_owned()),
        Err((Verdict::Nonsense, why)) => {
            Ok(format!("attach says that it succeeded, but there is nothing: {why}"))
        }
        Ok(There { medium, .. }) => match kit.size(&medium).await {
            Err(why) => Ok(format!("attach says that it succeeded, but there is nothing: {why}")),
            Ok(size) => Err(format!(
                "attach of a volume that was never made gives one of {size} MiB: {}",
                name(&medium)
            )),
        },
    };
    add(out, Check::Missing, seen);
}

fn name(medium: &Medium) -> String {
    match medium {
        Medium::Device(path) => path.display().to_string(),
        Medium::Uri(uri) => uri.clone(),
    }
}

/// Its life, from the first attach to its end.
async fn alive<E: Exec>(
    kit: &mut Kit<'_, E>,
    volume: &Volume,
    copy: &Volume,
    out: &mut impl Collect,
) {
    kit.expect_devices();
    let there = match kit.attach(volume).await {
        Ok(there) => {
            let ignored = &there.attached.ignored;
            let done = match ignored.is_empty() {
                true => Ok(name(&there.medium)),
                false => Err(format!("it prints lines that are no HYPERVISOR:URI: {ignored:?}")),
            };
            add(out, Check::Output, done);
            there
        }
        Err((verdict, why)) => {
            let why = match verdict {
                Verdict::Refused => format!("create said that the volume is there, but: {why}"),
                _ => why,
            };
            out.add(Check::Output, State::Fail, why);
            return;
        }
    };
    twice(kit, volume, &there, out).await;
    if !sizes(kit, &there, out).await || !data(kit, &there.medium, out).await {
        return;
    }
    create_again(kit, volume, &there.medium, out).await;
    set_info(kit, volume, out).await;
    open_close(kit, volume, &there.medium, out).await;
    let grown = grow(kit, volume, out).await;
    snapshot(kit, volume, copy, out).await;
    detach(kit, volume, out).await;
    keep(kit, volume, grown, out).await;
    remove(kit, volume, out).await;
}

async fn twice<E: Exec>(
    kit: &mut Kit<'_, E>,
    volume: &Volume,
    first: &There,
    out: &mut impl Collect,
) {
    let done = match kit.attach(volume).await {
        Ok(second) if second.attached == first.attached => Ok("it prints the same".to_owned()),
        Ok(second) => Err(format!(
            "the second attach prints something else: first {}, then {}",
            name(&first.medium),
            name(&second.medium)
        )),
        Err((_, why)) => Err(format!("the second attach fails: {why}")),
    };
    add(out, Check::Twice, done);
}

async fn sizes<E: Exec>(kit: &mut Kit<'_, E>, there: &There, out: &mut impl Collect) -> bool {
    let wanted = kit.options.size;
    let mut all = vec![there.medium.clone()];
    if let (Medium::Device(_), Some(uri)) = (&there.medium, there.attached.uri("kvm")) {
        all.push(Medium::Uri(uri.to_owned()));
    }
    let mut seen = vec![];
    for medium in all {
        match kit.size(&medium).await {
            Ok(size) if size >= wanted => seen.push(format!("{} has {size} MiB", name(&medium))),
            Ok(size) => {
                let why = format!("{} has {size} MiB and must have {wanted}", name(&medium));
                return add(out, Check::Size, Err(why));
            }
            Err(why) if why.contains("Cannot start") || why.contains("cannot be started") => {
                let why = format!("{why}; install qemu-utils to check volumes with URIs");
                out.add(Check::Size, State::Skip, why);
                return false;
            }
            Err(why) => {
                let why = format!("{} cannot be opened: {why}", name(&medium));
                return add(out, Check::Size, Err(why));
            }
        }
    }
    add(out, Check::Size, Ok(seen.join(", ")))
}

async fn data<E: Exec>(kit: &mut Kit<'_, E>, medium: &Medium, out: &mut impl Collect) -> bool {
    let end = kit.options.size - 1;
    let done = async {
        kit.fill(medium, 0, FIRST).await?;
        kit.fill(medium, end, LAST).await?;
        intact(kit, medium, end).await
    };
    let done = done.await;
    add(out, Check::Data, done.map(|()| format!("1 MiB at 0 and 1 MiB at {end}")))
}

/// Whether what was written is there.
async fn intact<E: Exec>(kit: &Kit<'_, E>, medium: &Medium, end: u64) -> Result<(), String> {
    for (at, byte) in [(0, FIRST), (end, LAST)] {
        if !kit.holds(medium, at, byte).await? {
            return Err(format!("the data written at {at} MiB is not there any more"));
        }
    }
    Ok(())
}

async fn create_again<E: Exec>(
    kit: &mut Kit<'_, E>,
    volume: &Volume,
    medium: &Medium,
    out: &mut impl Collect,
) {
    let again = kit.call(volume, Call::Create { size: kit.options.size }).await;
    let how = if again.is_ok() { "it succeeds, and" } else { "it fails, and" };
    let done = intact(kit, medium, kit.options.size - 1).await;
    let done = done
        .map(|()| format!("{how} the data is there"))
        .map_err(|why| format!("after a second create {why}"));
    add(out, Check::CreateAgain, done);
}

async fn set_info<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume, out: &mut impl Collect) {
    let metadata = metadata("roost-check.example.com");
    let done = kit.call(volume, Call::SetInfo { metadata: &metadata }).await;
    add(out, Check::SetInfo, done.map(|()| metadata));
}

async fn open_close<E: Exec>(
    kit: &mut Kit<'_, E>,
    volume: &Volume,
    medium: &Medium,
    out: &mut impl Collect,
) {
    let missing = |script: Script, out: &mut _| {
        Collect::add(
            out,
            if script == Script::Open { Check::Open } else { Check::Close },
            State::Skip,
            format!("there is no {script}: nodes do without it"),
        );
    };
    let (opens, closes) = (kit.provider.has(Script::Open), kit.provider.has(Script::Close));
    let end = kit.options.size - 1;
    if opens {
        let done = async {
            kit.call(volume, Call::Open { exclusive: true }).await?;
            kit.call(volume, Call::Open { exclusive: false }).await?;
            kit.call(volume, Call::Open { exclusive: true }).await?;
            kit.fill(medium, end, LAST).await
        };
        let done =
            done.await.map(|()| "exclusively, shared, exclusively; it can be written".into());
        add(out, Check::Open, done);
    } else {
        missing(Script::Open, out);
    }
    if !closes {
        return missing(Script::Close, out);
    }
    let done = async {
        kit.call(volume, Call::Close).await?;
        if opens {
            kit.call(volume, Call::Open { exclusive: true }).await?;
            kit.fill(medium, end, LAST).await?;
        }
        Ok("closed and opened again".to_owned())
    };
    let done = done.await;
    add(out, Check::Close, done);
}

/// The size it has then.
async fn grow<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume, out: &mut impl Collect) -> u64 {
    let (size, new_size) = (kit.options.size, 2 * kit.options.size);
    let done = async {
        kit.call(volume, Call::Grow { size, new_size }).await?;
        let mut seen = attached_size(kit, volume).await?;
        let mut when = "to be seen at once";
        if seen < new_size {
            kit.call(volume, Call::Detach).await?;
            seen = attached_size(kit, volume).await?;
            when = "to be seen after detach and attach";
        }
        if seen < new_size {
            return Err(format!(
                "grow said that the volume has {new_size} MiB now, and it has {seen}, also after \
                 detach and attach"
            ));
        }
        let there = kit.attach(volume).await.map_err(|(_, why)| why)?;
        open_again(kit, volume).await?;
        intact(kit, &there.medium, size - 1).await.map_err(|why| format!("after grow {why}"))?;
        kit.fill(&there.medium, new_size - 1, LATER).await?;
        Ok(format!("from {size} to {new_size} MiB, {when}"))
    };
    let done = done.await;
    if add(out, Check::Grow, done) { new_size } else { size }
}

async fn attached_size<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume) -> Result<u64, String> {
    let there = kit.attach(volume).await.map_err(|(_, why)| why)?;
    kit.size(&there.medium).await
}

async fn open_again<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume) -> Result<(), String> {
    match kit.provider.has(Script::Open) {
        true => kit.call(volume, Call::Open { exclusive: true }).await,
        false => Ok(()),
    }
}

async fn snapshot<E: Exec>(
    kit: &mut Kit<'_, E>,
    volume: &Volume,
    copy: &Volume,
    out: &mut impl Collect,
) {
    if !kit.provider.has(Script::Snapshot) {
        let why = "there is no snapshot: instances on it cannot be exported while they run";
        return out.add(Check::Snapshot, State::Skip, why.into());
    }
    let (end, size) = (kit.options.size - 1, 2 * kit.options.size);
    let done = async {
        kit.call(volume, Call::Snapshot { name: &copy.name, size }).await?;
        let origin = kit.attach(volume).await.map_err(|(_, why)| why)?;
        let there = kit.attach(copy).await.map_err(|(_, why)| {
            format!("snapshot said that the volume '{}' is there, but: {why}", copy.name)
        })?;
        intact(kit, &there.medium, end).await.map_err(|why| format!("in the snapshot {why}"))?;
        kit.fill(&origin.medium, 0, LATER).await?;
        // Read again from the storage, not from this node's memory.
        kit.call(copy, Call::Detach).await?;
        let there = kit.attach(copy).await.map_err(|(_, why)| why)?;
        if !kit.holds(&there.medium, 0, FIRST).await? {
            return Err("what is written to the volume later is to be seen in its snapshot".into());
        }
        kit.fill(&origin.medium, 0, FIRST).await?;
        kit.call(copy, Call::Detach).await?;
        kit.call(copy, Call::Remove).await.map_err(|why| format!("as for the snapshot: {why}"))?;
        intact(kit, &origin.medium, end)
            .await
            .map_err(|why| format!("after the snapshot was removed {why}"))?;
        Ok("it has the data as of then, and was removed".to_owned())
    };
    let done = done.await;
    add(out, Check::Snapshot, done);
}

async fn detach<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume, out: &mut impl Collect) {
    let done = async {
        if kit.provider.has(Script::Close) {
            kit.call(volume, Call::Close).await?;
        }
        kit.call(volume, Call::Detach).await?;
        let again = kit.call(volume, Call::Detach).await;
        again.map_err(|why| format!("the second detach fails: {why}"))?;
        Ok("detached, and once more".to_owned())
    };
    let done = done.await;
    add(out, Check::Detach, done);
}

async fn keep<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume, size: u64, out: &mut impl Collect) {
    let done = async {
        let there = kit.attach(volume).await.map_err(|(_, why)| why)?;
        let found = kit.size(&there.medium).await?;
        if found < size {
            return Err(format!("it had {size} MiB, and after detach and attach it has {found}"));
        }
        intact(kit, &there.medium, kit.options.size - 1)
            .await
            .map_err(|why| format!("after detach and attach {why}"))?;
        kit.call(volume, Call::Detach).await?;
        Ok("the data is there".to_owned())
    };
    let done = done.await;
    add(out, Check::Keep, done);
}

async fn remove<E: Exec>(kit: &mut Kit<'_, E>, volume: &Volume, out: &mut impl Collect) {
    let done = kit.call(volume, Call::Remove).await;
    if !add(out, Check::Remove, done.map(|()| "removed".into())) {
        return;
    }
    let gone = match kit.exists(volume).await {
        Ok(false) => Ok("attach fails, as it must".to_owned()),
        Ok(true) => Err("remove said that it is gone, but it can be attached and opened".into()),
        Err(why) => Err(why),
    };
    add(out, Check::Gone, gone);
}

async fn refusal<E: Exec>(kit: &mut Kit<'_, E>, none: &Volume, out: &mut impl Collect) {
    let (size, new_size) = (kit.options.size, 2 * kit.options.size);
    let done = match kit.call(none, Call::Grow { size, new_size }).await {
        Ok(()) => Err("grow of a volume that does not exist ends with 0".to_owned()),
        Err(why) if why.contains("did not end within") => Err(why),
        Err(_) => Ok("grow of what does not exist fails".to_owned()),
    };
    add(out, Check::Refusal, done);
}

async fn unlisted<E: Exec>(kit: &mut Kit<'_, E>, other: &Volume, out: &mut impl Collect) {
    let mut odd = other.clone();
    odd.params.insert("roost_check_unlisted".into(), "1; 'quoted' $(text)".into());
    let done = match kit.call(&odd, Call::Create { size: kit.options.size }).await {
        Ok(()) => match kit.exists(&odd).await {
            Ok(true) => kit.call(&odd, Call::Remove).await.map(|()| "the volume is made".into()),
            Ok(false) => Err("create ends with 0, and there is no volume".to_owned()),
            Err(why) => Err(why),
        },
        Err(why) if why.contains("did not end within") => Err(why),
        Err(_) => match kit.exists(other).await {
            Ok(false) => Ok("create refuses and leaves nothing".to_owned()),
            Ok(true) => Err("create fails, and the volume is there".to_owned()),
            Err(why) => Err(why),
        },
    };
    add(out, Check::Unlisted, done);
}

/// Removes whatever is left of the volumes.
async fn clean_up<E: Exec>(kit: &mut Kit<'_, E>, volumes: &[Volume]) -> Finding {
    let hung = kit.hung.clone();
    let mut left = vec![];
    for volume in volumes {
        // They fail where there is nothing; whether there is shows below.
        let _ = kit.call(volume, Call::Detach).await;
        let _ = kit.call(volume, Call::Remove).await;
        match kit.exists(volume).await {
            Ok(false) => {}
            Ok(true) => left.push(format!("volume '{}' is left; remove it by hand", volume.name)),
            Err(_) => left.push(format!("whether volume '{}' is left cannot be told", volume.name)),
        }
    }
    // What hangs here, too, was told already.
    kit.hung = hung;
    let (state, detail) = match left.is_empty() {
        true => (State::Pass, "nothing is left".to_owned()),
        false => (State::Fail, left.join("; ")),
    };
    Finding { check: Check::CleanUp, state, detail }
}

fn time<E: Exec>(kit: &Kit<'_, E>) -> Finding {
    let times: Vec<String> = kit
        .times()
        .iter()
        .map(|(script, time)| format!("{script} {:.2} s", time.as_secs_f64()))
        .collect();
    let times = times.join(", ");
    let mut hung = kit.hung.clone();
    hung.sort();
    hung.dedup();
    let (state, detail) = match hung.is_empty() {
        true => (State::Pass, format!("at most: {times}")),
        false => {
            let names: Vec<&str> = hung.iter().map(|script| script.as_str()).collect();
            let names = names.join(", ");
            (State::Fail, format!("killed, because they did not end in time: {names} ({times})"))
        }
    };
    Finding { check: Check::Time, state, detail }
}
