//! Memory: how much of what there is is used.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// More than any of these files has that is worth reading.
const MAX_FILE: usize = 8 * 1024;

/// What is looked at again and again. The files stay open, because there may be no
/// descriptor left to open them with.
#[derive(Debug)]
pub struct Memory {
    statm: Option<File>,
    page: u64,
    machine: Option<u64>,
    groups: Vec<Group>,
}

/// A control group (cgroup v2) that has memory accounted for.
#[derive(Debug)]
struct Group {
    max: File,
    current: File,
    stat: File,
}

impl Memory {
    pub fn open() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            statm: File::open("/proc/self/statm").ok(),
            page: rustix::param::page_size() as u64,
            machine: machine_memory(&machine),
            groups: folders(&own)
                .iter()
                .filter_map(|at| Group::open(at))
                .collect(),
        }
    }

    /// How much is used, in thousandths of `limit` or of what the system allows; 0 where
    /// it does not tell.
    pub fn used(&self, limit: Option<u64>) -> u64 {
        let resident = self.resident().unwrap_or(0);
        if let Some(limit) = limit {
            return share(resident, limit);
        }
        let groups = self.groups.iter().filter_map(Group::used);
        let groups = groups.filter(|(used, _)| is_its_doing(resident, *used));
        let limited = groups.map(|(used, max)| share(used, max)).max();
        limited.unwrap_or_else(|| share(resident, self.machine.unwrap_or(u64::MAX)))
    }

    fn resident(&self) -> Option<u64> {
        let text = read(self.statm.as_ref()?).ok()?;
        let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        pages.checked_mul(self.page)
    }
}

impl Group {
    fn open(at: &Path) -> Option<Self> {
        Some(Self {
            max: File::open(at.join("memory.max")).ok()?,
            current: File::open(at.join("memory.current")).ok()?,
            stat: File::open(at.join("memory.stat")).ok()?,
        })
    }

    /// And what it may use, where it has a limit.
    fn used(&self) -> Option<(u64, u64)> {
        let max = read(&self.max).ok()?.trim().parse().ok()?;
        let current: u64 = read(&self.current).ok()?.trim().parse().ok()?;
        let spare = reclaimable(&read(&self.stat).ok()?);
        Some((current.saturating_sub(spare), max))
    }
}

/// Whether the process has a good part of what its group uses: shedding gives nothing back
/// of what neighbours have.
fn is_its_doing(resident: u64, used: u64) -> bool {
    resident >= used / 4
}

/// What the kernel gives back before it kills: pages of files, and its own caches.
fn reclaimable(stat: &str) -> u64 {
    let of = |line: &str| {
        let (name, bytes) = line.split_once(' ')?;
        let counts = matches!(name, "active_file" | "inactive_file" | "slab_reclaimable");
        counts.then(|| bytes.trim().parse::<u64>().ok()).flatten()
    };
    stat.lines().filter_map(of).sum()
}

fn share(used: u64, limit: u64) -> u64 {
    let thousandths = u128::from(used) * 1000 / u128::from(limit.max(1));
    u64::try_from(thousandths).unwrap_or(u64::MAX)
}

/// The folder of the process's own group, and those above it.
fn folders(own: &str) -> Vec<PathBuf> {
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let root = Path::new("/sys/fs/cgroup");
    let folder = root.join(path);
    let own = folder.ancestors().take_while(|at| at.starts_with(root));
    own.map(Path::to_owned).collect()
}

fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The beginning of a file of the kernel, which it makes anew for each reading from 0.
fn read(file: &File) -> io::Result<String> {
    let mut bytes = [0; MAX_FILE];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_given_back_is_not_used() {
        let stat = "anon 100\nfile 70\nkernel 9\nactive_file 30\ninactive_file 20\n\
                    slab_reclaimable 5\nslab_unreclaimable 4\nactive_file_more 1000\n";
        assert_eq!(reclaimable(stat), 55);
        assert_eq!(reclaimable(""), 0);
        assert_eq!(reclaimable("active_file x\ninactive_file\n"), 0);
    }

    #[test]
    fn the_groups_above_count_too() {
        for (own, wanted) in [
            ("0::/\n", &["/sys/fs/cgroup"][..]),
            (
                "0::/a/b\n",
                &["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"],
            ),
            ("4:memory:/a\n1:cpu:/\n", &[]),
            ("4:memory:/a\n0::/\n", &["/sys/fs/cgroup"]),
            ("", &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(folders(own), wanted, "{own:?}");
        }
    }

    #[test]
    fn shares_are_in_thousandths() {
        for (used, limit, wanted) in [
            (0, 100, 0),
            (85, 100, 850),
            (100, 100, 1000),
            (300, 100, 3000),
            (u64::MAX, 1, u64::MAX),
            (u64::MAX, u64::MAX, 1000),
            (5, 0, 5000),
        ] {
            assert_eq!(share(used, limit), wanted, "{used} of {limit}");
        }
    }

    #[test]
    fn the_machine_tells_its_memory() {
        assert_eq!(
            machine_memory("MemTotal:  16 kB\nMemFree: 1 kB\n"),
            Some(16_384)
        );
        assert_eq!(machine_memory("MemFree: 1 kB\n"), None);
        assert_eq!(machine_memory("MemTotal: 18446744073709551615 kB\n"), None);
    }

    /// A process of a limit that it is sure to be beyond, and of one that it is not.
    #[test]
    fn this_process_uses_some() {
        let memory = Memory::open();
        assert!(memory.used(Some(1)) > 1000);
        assert!(memory.used(Some(1 << 60)) < 1000);
        let used = memory.used(None);
        assert!((1..=1000).contains(&used), "{used}");
    }
}
