//! Where the control groups of this process are. Reading is separate from parsing: every function takes a reader, so that
//! tests do not depend on the machine.
//!
//! Sources: cgroups(7), proc_pid_mountinfo(5).

use std::path::{Path, PathBuf};

/// Returns the content of a file; None if it cannot be read.
pub type Reader<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The machine's reader.
pub fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// A hierarchy of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 2.
    Unified,
    /// Version 1, the tree with this controller.
    Controller(&'static str),
}

/// The folders of this process's control group and of its ancestors, as far as mounted; its own is the first.
pub fn levels(read: Reader<'_>, hierarchy: Hierarchy) -> Vec<PathBuf> {
    let found = || {
        let group = own_group(&read(Path::new("/proc/self/cgroup"))?, hierarchy)?;
        let (root, mount) = mounted_at(&read(Path::new("/proc/self/mountinfo"))?, hierarchy)?;
        // Without a cgroup namespace a container sees its group's full path, but a mount that begins at the group.
        let below = Path::new(&group).strip_prefix(&root).unwrap_or(Path::new("")).to_owned();
        Some((mount, below))
    };
    let Some((mount, below)) = found() else { return Vec::new() };
    let leaf = if below.as_os_str().is_empty() { mount.clone() } else { mount.join(below) };
    leaf.ancestors().take_while(|level| level.starts_with(&mount)).map(Path::to_owned).collect()
}

/// This process's group in `/proc/self/cgroup`: lines of `id:controllers:path`.
fn own_group(text: &str, hierarchy: Hierarchy) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let wanted = match hierarchy {
            Hierarchy::Unified => controllers.is_empty(),
            Hierarchy::Controller(name) => controllers.split(',').any(|controller| controller == name),
        };
        // A group outside of the namespace's root has a path with `..` and cannot be read.
        (wanted && !path.contains("..")).then(|| path.to_owned())
    })
}

/// Where a hierarchy is mounted, from `/proc/self/mountinfo`: the part of it that is mounted, and where.
fn mounted_at(text: &str, hierarchy: Hierarchy) -> Option<(PathBuf, PathBuf)> {
    text.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let (kind, options) = (filesystem.next()?, filesystem.nth(1)?);
        let wanted = match hierarchy {
            Hierarchy::Unified => kind == "cgroup2",
            Hierarchy::Controller(name) => {
                kind == "cgroup" && options.split(',').any(|option| option == name)
            }
        };
        wanted.then(|| (PathBuf::from(root), PathBuf::from(point)))
    })
}

/// A machine simulated by its files, for the tests of the modules that read it.
#[cfg(test)]
pub mod fake {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    /// A line of `/proc/self/mountinfo`: version 2.
    pub const V2_MOUNT: &str =
        "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    /// Version 1, the tree of memory.
    pub const V1_MEMORY_MOUNT: &str = "41 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";

    /// A reader of these files; there are no others.
    pub fn machine(files: &[(&str, &str)]) -> impl Fn(&Path) -> Option<String> {
        let files: BTreeMap<PathBuf, String> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        move |path| files.get(path).cloned()
    }
}
