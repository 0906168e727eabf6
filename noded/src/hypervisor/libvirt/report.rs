//! Domains as reports.

use super::ffi;
use super::link::if_there;
use roost_proto::choices::Hypervisor;
use roost_proto::node::{GuestReport, GuestState};
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt_sys as sys;

/// What a domain is doing, if it is there at all.
pub fn state(domain: &Domain) -> Result<Option<GuestState>, Error> {
    let Some((state, reason)) = if_there(domain.get_state())? else { return Ok(None) };
    Ok(match state {
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED | sys::VIR_DOMAIN_SHUTDOWN => {
            Some(GuestState::Running)
        }
        sys::VIR_DOMAIN_PAUSED => Some(match reason.cast_unsigned() {
            // While a guest leaves it is paused for the same reason: `leaving` tells them apart.
            sys::VIR_DOMAIN_PAUSED_MIGRATION | sys::VIR_DOMAIN_PAUSED_STARTING_UP
                if !leaving(domain) =>
            {
                GuestState::Incoming
            }
            // Part of its memory is on the other node, and stays there if the way is broken.
            sys::VIR_DOMAIN_PAUSED_POSTCOPY | sys::VIR_DOMAIN_PAUSED_POSTCOPY_FAILED => {
                GuestState::Incoming
            }
            _ => GuestState::Paused,
        }),
        sys::VIR_DOMAIN_PMSUSPENDED => Some(GuestState::Paused),
        _ => None,
    })
}

/// Whether a domain is being migrated away.
pub fn leaving(domain: &Domain) -> bool {
    let outgoing = u64::from(sys::VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT);
    ffi::job(domain, ffi::Stats::Current)
        .is_ok_and(|job| job.busy && job.get(sys::VIR_DOMAIN_JOB_OPERATION) == Some(outgoing))
}

/// The report of a domain, if it is there and active.
pub fn report(domain: &Domain) -> Result<Option<GuestReport>, Error> {
    let Some(state) = state(domain)? else { return Ok(None) };
    let Some(info) = if_there(domain.get_info())? else { return Ok(None) };
    Ok(Some(GuestReport {
        name: domain.get_name()?,
        uuid: Some(domain.get_uuid()?.into()),
        hypervisor: Hypervisor::Kvm,
        state,
        memory: info.memory / 1024,
        vcpus: info.nr_virt_cpu.into(),
        #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a guest's CPU time")]
        cpu_time: info.cpu_time as f64 / 1e9,
    }))
}

/// The domain of a name, if there is one.
pub fn find(connection: &Connect, name: &str) -> Result<Option<Domain>, Error> {
    if_there(Domain::lookup_by_name(connection, name))
}

/// The report of a name.
pub fn find_report(connection: &Connect, name: &str) -> Result<Option<GuestReport>, Error> {
    match find(connection, name)? {
        Some(domain) => report(&domain),
        None => Ok(None),
    }
}

/// All domains that are active.
pub fn list(connection: &Connect) -> Result<Vec<GuestReport>, Error> {
    let domains = connection.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE)?;
    let mut reports = vec![];
    for domain in &domains {
        match report(domain) {
            Ok(found) => reports.extend(found),
            // It ended while we asked.
            Err(error) if error.code() == ErrorNumber::NoDomain => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reports)
}
