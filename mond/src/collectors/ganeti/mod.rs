//! The collectors that Ganeti has.

pub mod cpu_avg_load;
pub mod diskstats;
pub mod drbd;
pub mod inst_status_xen;
pub mod lv;
mod window;
pub mod xen_cpu_avg_load;
mod xl;

use crate::collector::Collector;
use roost_proto::error::{Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

/// In the reference's order.
pub fn all() -> Vec<Arc<dyn Collector>> {
    vec![
        Arc::new(cpu_avg_load::CpuAvgLoad::default()),
        Arc::new(xen_cpu_avg_load::XenCpuAvgLoad::default()),
        Arc::new(diskstats::Diskstats),
        Arc::new(drbd::Drbd),
        Arc::new(inst_status_xen::InstStatusXen::default()),
        Arc::new(lv::Lv),
    ]
}

/// The most that is read of a file below `/proc`, bytes: thousands of disks have room in it.
const LARGEST: u64 = 4 << 20;

/// The text of a file below `/proc`.
fn read(path: &str) -> Result<String> {
    read_if_there(path)?.ok_or_else(|| Error::environment(format!("This machine has no {path}")))
}

/// The text of a file below `/proc`; `None`: there is no such file.
fn read_if_there(path: &str) -> Result<Option<String>> {
    let mut text = vec![];
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::environment(format!("Cannot read {path}: {error}"))),
        Ok(size) if size as u64 > LARGEST => Err(Error::environment(format!(
            "Cannot read {path}: it is larger than {} MiB",
            LARGEST >> 20
        ))),
        Ok(_) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_reference_in_its_order() {
        let listed: Vec<_> = all()
            .iter()
            .map(|one| one.about())
            .map(|about| format!("{} {} {}", about.name, about.category.as_str(), about.kind as u8))
            .collect();
        assert_eq!(
            listed,
            [
                "cpu-avg-load default 0",
                "xen-cpu-avg-load default 0",
                "diskstats storage 0",
                "drbd storage 1",
                "inst-status-xen instance 1",
                "lv storage 0"
            ]
        );
    }

    #[test]
    fn a_file_is_there_or_not_or_too_large() {
        assert_eq!(read_if_there("/proc/nothing-of-this-name").unwrap(), None);
        assert_eq!(
            read("/proc/nothing-of-this-name").unwrap_err().message,
            "This machine has no /proc/nothing-of-this-name"
        );
        assert!(read("/proc/stat").unwrap().starts_with("cpu "));
        assert!(read("/dev/zero").unwrap_err().message.contains("larger than 4 MiB"));
        assert!(read("/proc").unwrap_err().message.starts_with("Cannot read /proc: "));
    }
}
