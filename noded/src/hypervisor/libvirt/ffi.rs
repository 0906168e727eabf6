//! The few calls of libvirt that the `virt` crate lacks or gets wrong: events, three about
//! migrations, and copies of disks.
#![allow(unsafe_code, reason = "libvirt's C API; every use says why it is sound")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::mpsc::Sender;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt_sys as sys;

/// Something that happened to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It changed its state; for `Stopped`, with the detail why.
    Lifecycle { who: Who, event: u32, detail: u32 },
    /// The guest restarted itself.
    Rebooted { who: Who },
}

/// Whom it happened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub name: String,
    pub uuid: Uuid,
}

/// Sends what happens to domains, for as long as the connection lives. The event loop must run.
pub fn watch(connection: &Connect, sender: &Sender<Happened>) -> Result<(), Error> {
    // SAFETY: libvirt only hands the pointer back to our callback, which has the type that this
    // event's documentation asks for; all callbacks go through the one generic pointer type.
    let lifecycle =
        unsafe { std::mem::transmute::<LifecycleCallback, GenericCallback>(on_lifecycle) };
    register(connection, sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, sender)?;
    register(connection, sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot, sender)
}

type GenericCallback = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
type LifecycleCallback =
    unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;

fn register(
    connection: &Connect,
    event: sys::virDomainEventID,
    callback: GenericCallback,
    sender: &Sender<Happened>,
) -> Result<(), Error> {
    let opaque = Box::into_raw(Box::new(sender.clone()));
    // SAFETY: the connection is open; the callback has the type of this event; `opaque` stays
    // valid until libvirt calls `free`, once, after the last callback.
    let id = unsafe {
        sys::virConnectDomainEventRegisterAny(
            connection.as_ptr(),
            std::ptr::null_mut(),
            event as c_int,
            Some(callback),
            opaque.cast(),
            Some(free),
        )
    };
    if id < 0 {
        // SAFETY: libvirt has not taken the box, and nobody else has.
        drop(unsafe { Box::from_raw(opaque) });
        return Err(Error::last_error());
    }
    Ok(())
}

unsafe extern "C" fn on_lifecycle(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: libvirt calls with a valid domain and the box we registered.
    unsafe {
        send(opaque, domain, |who| Happened::Lifecycle {
            who,
            event: event.cast_unsigned(),
            detail: detail.cast_unsigned(),
        });
    }
    0
}

unsafe extern "C" fn on_reboot(
    _connection: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt calls with a valid domain and the box we registered.
    unsafe { send(opaque, domain, |who| Happened::Rebooted { who }) }
}

/// # Safety
/// `opaque` is a box made by [`register`], `domain` a valid domain.
unsafe fn send(opaque: *mut c_void, domain: sys::virDomainPtr, what: impl FnOnce(Who) -> Happened) {
    // SAFETY: as promised by the caller; `Sender` may be used from any thread.
    let sender = unsafe { &*opaque.cast::<Sender<Happened>>() };
    // SAFETY: the domain is valid; the name lives as long as it.
    let name: *const c_char = unsafe { sys::virDomainGetName(domain) };
    if name.is_null() {
        return;
    }
    // SAFETY: not null, and libvirt's strings end with a zero.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    let mut uuid = [0; 16];
    // SAFETY: the domain is valid, and libvirt writes 16 bytes.
    if unsafe { sys::virDomainGetUUID(domain, uuid.as_mut_ptr()) } < 0 {
        return;
    }
    let who = Who { name, uuid: Uuid::from_bytes(uuid) };
    // Nobody listens any more: the watcher is going to close this connection.
    let _ = sender.send(what(who));
}

unsafe extern "C" fn free(opaque: *mut c_void) {
    // SAFETY: the box we registered; libvirt calls this once and does not use it after.
    drop(unsafe { Box::from_raw(opaque.cast::<Sender<Happened>>()) });
}

/// The long job that a domain is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// There is one.
    pub busy: bool,
    /// Its figures by libvirt's names.
    pub figures: BTreeMap<CString, u64>,
}

impl Job {
    /// A figure.
    pub fn get(&self, name: &CStr) -> Option<u64> {
        self.figures.get(name).copied()
    }
}

/// Which job is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stats {
    /// The one under way.
    Current,
    /// The last that came to its end.
    Completed,
}

/// What long job a domain is or was in. (`virt` 0.4.3 makes a vector of a null pointer if there is none.)
pub fn job(domain: &Domain, which: Stats) -> Result<Job, Error> {
    let flags = match which {
        Stats::Current => 0,
        Stats::Completed => sys::VIR_DOMAIN_JOB_STATS_COMPLETED,
    };
    let (mut kind, mut count, mut params) = (0, 0, std::ptr::null_mut());
    // SAFETY: `domain` is a valid domain for the time of the call; libvirt allocates `params`.
    check(unsafe {
        sys::virDomainGetJobStats(domain.as_ptr(), &mut kind, &mut params, &mut count, flags)
    })?;
    let busy = kind != sys::VIR_DOMAIN_JOB_NONE.cast_signed();
    let mut job = Job { busy, figures: BTreeMap::new() };
    if params.is_null() {
        return Ok(job);
    }
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: libvirt has made an array of `count` parameters there.
    for param in unsafe { std::slice::from_raw_parts(params, length) } {
        // SAFETY: names are arrays that end with a zero.
        let name = unsafe { CStr::from_ptr(param.field.as_ptr()) };
        // SAFETY: the type says which member of the union is set.
        let value = unsafe {
            match param.type_.cast_unsigned() {
                sys::VIR_TYPED_PARAM_INT => u64::try_from(param.value.i).ok(),
                sys::VIR_TYPED_PARAM_UINT => Some(param.value.ui.into()),
                sys::VIR_TYPED_PARAM_LLONG => u64::try_from(param.value.l).ok(),
                sys::VIR_TYPED_PARAM_ULLONG => Some(param.value.ul),
                _ => None,
            }
        };
        if let Some(value) = value {
            job.figures.insert(name.to_owned(), value);
        }
    }
    // SAFETY: libvirt's own array, with what it points to, not used any more.
    unsafe { sys::virTypedParamsFree(params, count) };
    Ok(job)
}

/// Aborts whatever long job a domain is in: a migration away stops, and the guest stays.
pub fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: `domain` is a valid domain for the time of the call.
    check(unsafe { sys::virDomainAbortJob(domain.as_ptr()) })
}

/// Lets a migrating guest run on the target at once; its memory follows.
pub fn start_post_copy(domain: &Domain) -> Result<(), Error> {
    // SAFETY: `domain` is a valid domain for the time of the call.
    check(unsafe { sys::virDomainMigrateStartPostCopy(domain.as_ptr(), 0) })
}

/// What a copy of a disk has moved, and has to, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub done: u64,
    pub total: u64,
}

impl std::iter::Sum for Moved {
    fn sum<I: Iterator<Item = Moved>>(all: I) -> Moved {
        all.fold(Moved::default(), |a, b| Moved { done: a.done + b.done, total: a.total + b.total })
    }
}

/// Begins to mirror a disk into another one that exists and is large enough, `xml`. `bandwidth`:
/// bytes a second; 0: as fast as can be.
pub fn block_copy(domain: &Domain, disk: &str, xml: &str, bandwidth: u64) -> Result<(), Error> {
    let (Ok(disk), Ok(xml)) = (CString::new(disk), CString::new(xml)) else {
        return Err(Error::last_error());
    };
    let (mut params, mut count, mut room) = (std::ptr::null_mut(), 0, 0);
    if bandwidth > 0 {
        // SAFETY: libvirt makes and enlarges the array of parameters behind these pointers.
        check(unsafe {
            sys::virTypedParamsAddULLong(
                &mut params,
                &mut count,
                &mut room,
                sys::VIR_DOMAIN_BLOCK_COPY_BANDWIDTH.as_ptr(),
                bandwidth,
            )
        })?;
    }
    let flags = sys::VIR_DOMAIN_BLOCK_COPY_REUSE_EXT;
    // SAFETY: `domain` is a valid domain, the strings end with a zero and live as long as the call;
    // `params` is null or an array of `count`.
    let begun = check(unsafe {
        let (disk, xml) = (disk.as_ptr(), xml.as_ptr());
        sys::virDomainBlockCopy(domain.as_ptr(), disk, xml, params, count, flags)
    });
    // SAFETY: libvirt's own array, or null, not used any more.
    unsafe { sys::virTypedParamsFree(params, count) };
    begun
}

/// Ends the copy of a disk: with `pivot` the domain goes on with the copy, else with what it had.
/// Returns when it has ended.
pub fn end_block_job(domain: &Domain, disk: &str, pivot: bool) -> Result<(), Error> {
    let Ok(disk) = CString::new(disk) else { return Err(Error::last_error()) };
    let flags = if pivot { sys::VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT } else { 0 };
    // SAFETY: `domain` is a valid domain, and the string lives as long as the call.
    check(unsafe { sys::virDomainBlockJobAbort(domain.as_ptr(), disk.as_ptr(), flags) })
}

/// How far the copy of a disk is; nothing moved and nothing to move if there is none.
pub fn block_job(domain: &Domain, disk: &str) -> Result<Moved, Error> {
    let Ok(disk) = CString::new(disk) else { return Err(Error::last_error()) };
    let mut info = sys::virDomainBlockJobInfo { type_: 0, bandwidth: 0, cur: 0, end: 0 };
    // SAFETY: as above; libvirt writes one structure.
    check(unsafe { sys::virDomainGetBlockJobInfo(domain.as_ptr(), disk.as_ptr(), &mut info, 0) })?;
    Ok(Moved { done: info.cur, total: info.end })
}

fn check(result: c_int) -> Result<(), Error> {
    if result < 0 { Err(Error::last_error()) } else { Ok(()) }
}
