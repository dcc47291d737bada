//! The machine, or the part of it that this process may use (its cgroup).

use sysinfo::{MemoryRefreshKind, Networks, System};

use super::cpus::{Share, group_share, usable_cpus};
use super::disks::Disks;
use crate::model::{CpuStats, Swap, SystemMemory, SystemStats, Throughput};

pub struct Machine {
    /// Its CPU usage is relative to the previous sample.
    cpus: System,
    disks: Disks,
    networks: Networks,
}

impl Machine {
    /// None on an unsupported system.
    pub fn new() -> Option<Self> {
        let mut cpus = System::new().ok()?;
        cpus.refresh_cpu_usage();
        let networks = Networks::new_with_refreshed_list().ok()?;
        let mut disks = Disks::default();
        disks.look();
        Some(Self { cpus, disks, networks })
    }

    /// A sample: sizes in bytes, shares in percent; throughput in bytes per second over `seconds`, the time since the
    /// previous sample. None if the kernel's figures of memory cannot be read, for example because no file descriptor is
    /// left.
    pub fn look(&mut self, seconds: f64) -> Option<SystemStats> {
        let Self { cpus, disks, networks } = self;
        cpus.refresh_cpu_usage();
        // Anew each time: an old one would keep its figures, and derive others from them.
        let mut system = System::new().ok()?;
        system.refresh_memory_specifics(MemoryRefreshKind::everything());
        if system.total_memory() == 0 {
            return None;
        }
        networks.refresh(true);
        let (group, group_swap) = group_share();
        let (total, available, free) = match group.filter(|group| group.limit < system.total_memory()) {
            Some(Share { limit, used, cache }) => {
                let free = limit.saturating_sub(used);
                (limit, (free + cache).min(limit).min(system.available_memory()), free)
            }
            None => (system.total_memory(), system.available_memory(), system.free_memory()),
        };
        let used = total.saturating_sub(available);
        let swap = match group_swap.filter(|group| group.limit < system.total_swap()) {
            Some(Share { limit, used, .. }) => (limit, used),
            None => (system.total_swap(), system.used_swap()),
        };
        let percent =
            |part: u64, whole: u64| if whole > 0 { part as f64 / whole as f64 * 100.0 } else { 0.0 };
        let load = System::load_average().map_or([0.0; 3], |load| [load.one, load.five, load.fifteen]);
        let rates = |(read, written): (u64, u64)| Throughput {
            read: read as f64 / seconds,
            written: written as f64 / seconds,
        };
        let disk = disks.look();
        let network = networks.iter().fold((0, 0), |(read, written), (_, network)| {
            (read + network.received(), written + network.transmitted())
        });
        Some(SystemStats {
            cpu: CpuStats {
                cores: cpus.cpus().len(),
                usable: usable_cpus(),
                usage: f64::from(cpus.global_cpu_usage()),
                load_average: load,
            },
            memory: SystemMemory { total, free, used, available, usage_percentage: percent(used, total) },
            swap: Swap {
                total: swap.0,
                free: swap.0.saturating_sub(swap.1),
                used: swap.1,
                usage_percentage: percent(swap.1, swap.0),
            },
            disk: rates(disk),
            network: rates(network),
            uptime: None,
        })
    }
}
