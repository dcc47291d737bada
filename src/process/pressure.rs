//! Pressure stall information: how much of the time tasks wait for a resource. Sources: Documentation/accounting/psi.rst,
//! Documentation/admin-guide/cgroup-v2.rst.

use std::path::{Path, PathBuf};

use super::control_groups::{Hierarchy, Reader, levels, read};

/// How much of the time tasks wait for a CPU: those of this process's control group where it says so (version 2), which
/// its CPU quota delays too; else those of the machine.
#[derive(Debug, PartialEq)]
pub struct CpuPressure {
    /// That of the own group, then that of the machine.
    files: Vec<PathBuf>,
}

impl CpuPressure {
    pub fn find() -> Self {
        Self::find_with(&read)
    }

    fn find_with(read: Reader<'_>) -> Self {
        let group = levels(read, Hierarchy::Unified).into_iter().next();
        let group = group.map(|group| group.join("cpu.pressure"));
        Self { files: group.into_iter().chain([Path::new("/proc/pressure/cpu").to_owned()]).collect() }
    }

    /// Percent of the last 10 s in which a task waited; None if the kernel does not say.
    pub fn percent(&self) -> Option<f64> {
        self.read(&read)
    }

    fn read(&self, read: Reader<'_>) -> Option<f64> {
        self.files.iter().find_map(|file| average(&read(file)?))
    }
}

fn average(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::control_groups::fake::{V1_MEMORY_MOUNT, V2_MOUNT, machine};
    use super::*;

    #[test]
    fn the_pressure_is_that_of_the_own_group_or_else_of_the_machine() {
        let group = ("/sys/fs/cgroup/a/cpu.pressure", "some avg10=70.00 avg60=0.00 avg300=0.00 total=1\n");
        let parent = ("/sys/fs/cgroup/cpu.pressure", "some avg10=50.00 avg60=0.00 avg300=0.00 total=1\n");
        let whole = ("/proc/pressure/cpu", "some avg10=5.00 avg60=0.00 avg300=0.00 total=1\n");
        let version_2 = [("/proc/self/cgroup", "0::/a\n"), ("/proc/self/mountinfo", V2_MOUNT)];
        let version_1 = [("/proc/self/cgroup", "4:memory:/a\n"), ("/proc/self/mountinfo", V1_MEMORY_MOUNT)];
        let percent = |tree: &[(&str, &str)], pressures: &[(&str, &str)]| {
            let files = [tree, pressures].concat();
            let machine = machine(&files);
            CpuPressure::find_with(&machine).read(&machine)
        };
        assert_eq!(percent(&version_2, &[group, parent, whole]), Some(70.0));
        assert_eq!(percent(&version_2, &[parent, whole]), Some(5.0), "the group does not account for it");
        assert_eq!(percent(&version_1, &[group, whole]), Some(5.0));
        assert_eq!(percent(&[], &[whole]), Some(5.0), "no control groups");
        assert_eq!(percent(&version_2, &[]), None);
    }

    #[test]
    fn the_average_of_ten_seconds_is_read() {
        let text = "some avg10=12.50 avg60=3.00 avg300=1.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(average(text), Some(12.5));
        assert_eq!(average("some avg10=0.00 total=0"), Some(0.0));
        for text in ["", "full avg10=1.00 total=0", "some avg10=x"] {
            assert_eq!(average(text), None, "{text}");
        }
    }
}
