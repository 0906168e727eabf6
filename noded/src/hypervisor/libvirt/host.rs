//! What the XML of a guest needs to know of the node, looked up.

use super::xml::{Host, KvmParams, machine, refused};
use crate::hypervisor::probe::Probe;
use nix::sys::socket::{AddressFamily, SockaddrLike};
use roost_proto::error::{Error, Result};
use roost_proto::objects::ParamMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Looks everything up but the cards. Errors: something named by a parameter is missing here.
pub fn look_up(hvparams: &ParamMap, probe: &Probe, console_log: PathBuf) -> Result<Host> {
    let params = KvmParams::new(hvparams)?;
    let kvm = match params.text("kvm_flag") {
        "enabled" if !probe.kvm => return Err(refused("kvm_flag", "enabled", &probe.reason)),
        "disabled" => false,
        _ => probe.kvm,
    };
    let listen = match params.set("spice_bind").or(params.set("vnc_bind_address")) {
        Some(bind) if !bind.starts_with('/') => {
            Some(listen_address(bind, params.number("spice_ip_version").unwrap_or(0))?)
        }
        _ => None,
    };
    let password = match params.set("spice_bind") {
        Some(_) => params.set("spice_password_file"),
        None => params.set("vnc_password_file"),
    };
    let password = password.map(read_password).transpose()?;
    Ok(Host {
        kvm,
        q35: machine(&params).contains("q35"),
        emulator: emulator(&params).into(),
        console_log,
        hugepage: params.set("mem_path").and_then(huge_page_size),
        listen,
        password,
        scripted: Default::default(),
    })
}

/// QEMU.
pub fn emulator<'a>(params: &KvmParams<'a>) -> &'a Path {
    Path::new(params.set("kvm_path").unwrap_or("/usr/bin/qemu-system-x86_64"))
}

/// Files that a guest with these parameters needs. Errors: the first that is missing.
pub fn check_files(params: &KvmParams<'_>) -> Result<()> {
    for name in [
        "kvm_path",
        "kernel_path",
        "initrd_path",
        "cdrom_image_path",
        "cdrom2_image_path",
        "floppy_image_path",
        "vnc_password_file",
        "spice_password_file",
    ] {
        let Some(path) = params.set(name).filter(|path| path.starts_with('/')) else { continue };
        if !Path::new(path).is_file() {
            return Err(Error::environment(format!(
                "The kvm hypervisor parameter {name} names {path}, but there is no such file on \
                 this node; put it there, or change the parameter"
            )));
        }
    }
    if let Some(path) = params.set("mem_path")
        && huge_page_size(path).is_none()
    {
        return Err(refused("mem_path", path, "no hugetlbfs is mounted there; mount one"));
    }
    Ok(())
}

/// A password file's content without the line's end.
fn read_password(path: &str) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(content) => Ok(content.trim_end_matches(['\r', '\n']).to_owned()),
        Err(e) => Err(Error::environment(format!("Cannot read the password file {path}: {e}"))),
    }
}

/// KiB of a page of a hugetlbfs mounted at `path`.
fn huge_page_size(path: &str) -> Option<u64> {
    page_size(&std::fs::read_to_string("/proc/mounts").ok()?, path)
}

fn page_size(mounts: &str, path: &str) -> Option<u64> {
    let path = path.trim_end_matches('/');
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&path) && fields.get(2) == Some(&"hugetlbfs"))?;
    let size = mount.get(3)?.split(',').find_map(|option| option.strip_prefix("pagesize="));
    let size = size.unwrap_or("2M");
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "K" => 1,
        "M" => 1024,
        "G" => 1024 * 1024,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * factor)
}

/// An address as it is, or that of an interface.
fn listen_address(bind: &str, version: u64) -> Result<String> {
    if bind.parse::<IpAddr>().is_ok() {
        return Ok(bind.to_owned());
    }
    let addresses = nix::ifaddrs::getifaddrs()
        .map_err(|e| Error::exec(format!("Cannot list the addresses of this node: {e}")))?;
    let of_interface = addresses.filter(|address| address.interface_name == bind);
    let mut found = of_interface.filter_map(|address| {
        let address = address.address?;
        match address.family()? {
            AddressFamily::Inet if version != 6 => Some(address.as_sockaddr_in()?.ip().to_string()),
            AddressFamily::Inet6 if version != 4 => {
                let ip = address.as_sockaddr_in6()?.ip();
                (!ip.is_unicast_link_local()).then(|| ip.to_string())
            }
            _ => None,
        }
    });
    found.next().ok_or_else(|| {
        Error::environment(format!(
            "A graphical console cannot listen at '{bind}': it is neither an address nor an \
             interface of this node with a fitting address"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_sizes_are_those_of_the_mount() {
        let mounts = "x /proc proc rw 0 0\nnone /huge hugetlbfs rw,relatime,pagesize=1024M 0 0\n\
                      none /small hugetlbfs rw 0 0\n";
        assert_eq!(page_size(mounts, "/huge/"), Some(1024 * 1024));
        assert_eq!(page_size(mounts, "/small"), Some(2048));
        assert_eq!(page_size(mounts, "/proc"), None);
    }

    #[test]
    fn consoles_listen_at_addresses_or_interfaces() {
        assert_eq!(listen_address("10.0.0.1", 0).expect("address"), "10.0.0.1");
        assert_eq!(listen_address("lo", 4).expect("loopback"), "127.0.0.1");
        let error = listen_address("nonexistent0", 0).expect_err("no such interface");
        assert!(error.message.contains("nonexistent0"), "{error}");
    }
}
