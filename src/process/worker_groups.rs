//! Control groups of the workers: one leaf for each, below the primary's own group and nowhere else. The kernel then
//! enforces hard limits. They exist only where the primary's group is delegated: it is writable and not the root of its
//! hierarchy.
//!
//! In version 2 a group with processes cannot give controllers to its children, so the primary itself moves into a leaf
//! first; if other processes are in its group, there are no leaves. In version 1 each controller has a tree of its own.
//!
//! Sources: the kernel's `admin-guide/cgroup-v2.rst` ("No Internal Process Constraint", `memory.max`, `cpu.max`,
//! `pids.max`), `cgroup-v1/memory.rst`, `scheduler/sched-bwc.rst`, `cgroup-v1/pids.rst`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::control_groups::{Hierarchy, Reader, levels};
use crate::model::WorkerId;

/// Hard limits of one worker with its own children; None: none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupLimits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Percent of one core.
    pub cpu: Option<f64>,
    /// Number of processes and threads.
    pub processes: Option<u64>,
}

impl GroupLimits {
    fn limits(&self, controller: Controller) -> bool {
        match controller {
            Controller::Memory => self.memory.is_some(),
            Controller::Cpu => self.cpu.is_some(),
            Controller::Pids => self.processes.is_some(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    /// What it limits, in words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "CPU usage",
            Self::Pids => "number of processes",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }
}

/// A group below which leaves are made, and what it limits.
#[derive(Clone, Debug, PartialEq)]
struct Parent {
    folder: PathBuf,
    hierarchy: Hierarchy,
    controllers: Vec<Controller>,
}

/// The groups of a cluster's workers.
#[derive(Debug, Default)]
pub struct WorkerGroups {
    parents: Vec<Parent>,
    /// The leaf of the primary itself, in version 2.
    own: Option<PathBuf>,
}

const SWAP: &str = "memory.swap.max";
/// Period of a CPU quota, microseconds: the kernel's default.
const PERIOD: u64 = 100_000;

impl WorkerGroups {
    /// Finds the delegated groups for the limits that are given, as far as they are not known yet; leaves that exist
    /// stay as they are. Returns what cannot be enforced by groups, and why.
    pub fn find(&mut self, limits: &GroupLimits) -> Vec<(Controller, String)> {
        self.find_with(&super::control_groups::read, limits)
    }

    fn find_with(&mut self, read: Reader<'_>, limits: &GroupLimits) -> Vec<(Controller, String)> {
        let mut lacks = Vec::new();
        let is_wanted = |controller: &Controller| limits.limits(*controller) && !self.enforces(*controller);
        let wanted: Vec<Controller> = Controller::ALL.into_iter().filter(is_wanted).collect();
        let mut found: Vec<Parent> = Vec::new();
        for controller in wanted {
            match parent_of(read, &is_writable, self.own.as_deref(), controller) {
                Ok(parent) => add(&mut found, parent),
                Err(reason) => lacks.push((controller, reason)),
            }
        }
        remove_stale(&found);
        for parent in found {
            let delegated =
                if parent.hierarchy == Hierarchy::Unified { self.delegate(&parent) } else { Ok(()) };
            match delegated {
                Ok(()) => add(&mut self.parents, parent),
                Err(error) => {
                    lacks
                        .extend(parent.controllers.iter().map(|controller| (*controller, error.to_string())));
                }
            }
        }
        lacks
    }

    /// Version 2: moves the primary into a leaf, unless it is in one, and gives the controllers to the leaves.
    fn delegate(&mut self, parent: &Parent) -> io::Result<()> {
        if self.own.is_some() {
            return enable(parent, '+');
        }
        let pid = std::process::id().to_string();
        let inside = fs::read_to_string(parent.folder.join("cgroup.procs"))?;
        if inside.split_whitespace().any(|other| other != pid) {
            return Err(io::Error::other("other processes are in the primary's control group"));
        }
        let own = parent.folder.join(format!("drover-primary-{pid}"));
        fs::create_dir(&own)?;
        let enabled = fs::write(own.join("cgroup.procs"), &pid).and_then(|()| enable(parent, '+'));
        if let Err(error) = enabled {
            // As before; a leaf that cannot be removed stays empty.
            let _ = fs::write(parent.folder.join("cgroup.procs"), &pid);
            let _ = fs::remove_dir(&own);
            return Err(error);
        }
        self.own = Some(own);
        Ok(())
    }

    /// Whether a controller's limits are enforced by the kernel.
    pub fn enforces(&self, controller: Controller) -> bool {
        self.parents.iter().any(|parent| parent.controllers.contains(&controller))
    }

    /// Makes the leaf of a worker, with its limits.
    ///
    /// # Errors
    /// The kernel's: the limits of this worker are not enforced.
    pub fn leaf(&self, worker: WorkerId, limits: &GroupLimits) -> io::Result<Leaf> {
        let mut leaf = Leaf::default();
        let name = name_of(worker);
        for parent in &self.parents {
            let folder = parent.folder.join(&name);
            fs::create_dir(&folder)?;
            // From here on the leaf removes it.
            leaf.parts.push(Part { folder, parent: parent.clone() });
        }
        match leaf.limit(limits).pop() {
            None => Ok(leaf),
            Some((_, error)) => Err(error),
        }
    }
}

impl WorkerGroups {
    /// Adds the limits of CPU usage and of processes to a worker that runs, if its leaf lacks them: its processes from now on
    /// are limited. Not of memory, which stays charged to the group where it was used first.
    ///
    /// # Errors
    /// The kernel's: the worker has the limits that it had.
    pub fn extend(
        &self,
        leaf: &mut Leaf,
        worker: WorkerId,
        pid: u32,
        limits: &GroupLimits,
    ) -> io::Result<()> {
        for parent in &self.parents {
            let lacking: Vec<Controller> = parent
                .controllers
                .iter()
                .copied()
                .filter(|controller| *controller != Controller::Memory && !leaf.has(*controller))
                .collect();
            if lacking.is_empty() {
                continue;
            }
            let known = leaf.parts.iter().position(|part| part.parent.folder == parent.folder);
            let mut part = match known {
                Some(known) => leaf.parts.swap_remove(known),
                None => {
                    let folder = parent.folder.join(name_of(worker));
                    fs::create_dir(&folder)?;
                    Part { folder, parent: Parent { controllers: Vec::new(), ..parent.clone() } }
                }
            };
            let set = lacking.iter().try_for_each(|controller| part.limit(*controller, limits));
            let moved = set.and_then(|()| match known {
                Some(_) => Ok(()),
                None => fs::write(part.folder.join("cgroup.procs"), pid.to_string()),
            });
            if moved.is_ok() {
                part.parent.controllers.extend(lacking);
            }
            leaf.parts.push(part);
            moved?;
        }
        Ok(())
    }
}

/// The name of a worker's leaves.
fn name_of(worker: WorkerId) -> String {
    format!("drover-{}-{}-{}", std::process::id(), worker.slot, worker.generation)
}

impl Drop for WorkerGroups {
    fn drop(&mut self) {
        if let (Some(own), Some(parent)) =
            (&self.own, self.parents.iter().find(|one| one.hierarchy == Hierarchy::Unified))
        {
            // In this order, or the parent may have no processes. What fails stays for the next owner of the group.
            let _ = enable(parent, '-');
            let _ = fs::write(parent.folder.join("cgroup.procs"), std::process::id().to_string());
            let _ = fs::remove_dir(own);
        }
    }
}

fn add(parents: &mut Vec<Parent>, parent: Parent) {
    match parents.iter_mut().find(|known| known.folder == parent.folder) {
        Some(known) => known.controllers.extend(parent.controllers),
        None => parents.push(parent),
    }
}

/// Removes the leaves of primaries that were killed.
fn remove_stale(parents: &[Parent]) {
    for parent in parents {
        let entries = fs::read_dir(&parent.folder).into_iter().flatten().flatten();
        for folder in entries.map(|entry| entry.path()) {
            let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let pid = name.strip_prefix("drover-").map(|rest| rest.trim_start_matches("primary-"));
            let pid = pid.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                // One with processes is not empty, and stays.
                let _ = fs::remove_dir(&folder);
            }
        }
    }
}

/// Version 2: gives the controllers to the group's leaves (`+`), or takes them back (`-`).
fn enable(parent: &Parent, sign: char) -> io::Result<()> {
    let names: Vec<String> =
        parent.controllers.iter().map(|controller| format!("{sign}{}", controller.name())).collect();
    fs::write(parent.folder.join("cgroup.subtree_control"), names.join(" "))
}

#[derive(Debug)]
struct Part {
    folder: PathBuf,
    parent: Parent,
}

impl Part {
    fn limit(&self, controller: Controller, limits: &GroupLimits) -> io::Result<()> {
        for (file, value) in settings(self.parent.hierarchy, controller, limits) {
            match File::options().write(true).open(self.folder.join(file)) {
                // A kernel without swap.
                Err(error) if file == SWAP && error.kind() == io::ErrorKind::NotFound => {}
                opened => opened?.write_all(value.as_bytes())?,
            }
        }
        Ok(())
    }
}

/// The groups of one worker; removed with this value, once it has ended.
#[derive(Debug, Default)]
pub struct Leaf {
    parts: Vec<Part>,
    /// The kernel refused the present limits of these kinds, and former ones may apply.
    refused: Vec<Controller>,
}

impl Leaf {
    /// Descriptors through which a process joins: it writes `0` to each.
    ///
    /// # Errors
    /// The kernel's.
    pub fn entries(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |part: &Part| OpenOptions::new().write(true).open(part.folder.join("cgroup.procs"));
        self.parts.iter().map(|part| open(part).map(OwnedFd::from)).collect()
    }

    /// Whether the process is in all of its groups.
    pub fn contains(&self, pid: u32) -> bool {
        let has = |part: &Part| {
            let inside = fs::read_to_string(part.folder.join("cgroup.procs")).unwrap_or_default();
            inside.lines().any(|line| line.parse() == Ok(pid))
        };
        self.parts.iter().all(has)
    }

    /// Whether the kernel enforces the worker's limit of this kind, as it was last set.
    pub fn enforces(&self, controller: Controller) -> bool {
        self.has(controller) && !self.refused.contains(&controller)
    }

    fn has(&self, controller: Controller) -> bool {
        self.parts.iter().any(|part| part.parent.controllers.contains(&controller))
    }

    /// Sets the limits of its kinds, each though another one is refused. Returns those that the kernel refused: version 1
    /// does so (EBUSY) if the worker uses more memory than that and it cannot be reclaimed.
    pub fn limit(&mut self, limits: &GroupLimits) -> Vec<(Controller, io::Error)> {
        let set = |part: &Part, controller: &Controller| {
            Some((*controller, part.limit(*controller, limits).err()?))
        };
        let of = |part: &'_ Part| {
            part.parent.controllers.iter().filter_map(|one| set(part, one)).collect::<Vec<_>>()
        };
        let refused: Vec<(Controller, io::Error)> = self.parts.iter().flat_map(of).collect();
        self.refused = refused.iter().map(|(controller, _)| *controller).collect();
        refused
    }

    /// How many of its processes the kernel's OOM killer has ended; None: it does not count them.
    pub fn oom_kills(&self) -> Option<u64> {
        if !self.has(Controller::Memory) {
            return None;
        }
        let of =
            |part: &Part| oom_kills_in(&super::control_groups::read, &part.folder, part.parent.hierarchy);
        Some(self.parts.iter().filter_map(of).max().unwrap_or(0))
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        for part in &self.parts {
            // Children of the worker may still be in it: the group ends with its owner then.
            let _ = fs::remove_dir(&part.folder);
        }
    }
}

/// The files of a limit and their values, in the order in which they are written.
fn settings(
    hierarchy: Hierarchy,
    controller: Controller,
    limits: &GroupLimits,
) -> Vec<(&'static str, String)> {
    let is_unified = hierarchy == Hierarchy::Unified;
    match (controller, is_unified) {
        (Controller::Memory, true) => {
            let value = |bytes: Option<u64>| bytes.map_or("max".to_owned(), |bytes| bytes.to_string());
            // Halfway between the soft and the hard limit the kernel reclaims caches and slows the worker down, so that
            // its replacement has time.
            let high = limits.memory.map(|hard| hard / 22 * 21);
            // A worker that swaps instead of being ended would only be slow.
            let swap = value(limits.memory.map(|_| 0));
            vec![(SWAP, swap), ("memory.high", value(high)), ("memory.max", value(limits.memory))]
        }
        (Controller::Memory, false) => {
            let value = limits.memory.map_or("-1".to_owned(), |bytes| bytes.to_string());
            vec![("memory.limit_in_bytes", value)]
        }
        (Controller::Cpu, true) => {
            let quota = limits.cpu.map_or("max".to_owned(), |percent| quota(percent).to_string());
            vec![("cpu.max", format!("{quota} {PERIOD}"))]
        }
        (Controller::Cpu, false) => {
            let quota = limits.cpu.map_or("-1".to_owned(), |percent| quota(percent).to_string());
            vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota)]
        }
        (Controller::Pids, _) => {
            vec![("pids.max", limits.processes.map_or("max".to_owned(), |count| count.to_string()))]
        }
    }
}

/// Microseconds in a period; the kernel takes no less than a millisecond.
fn quota(percent: f64) -> u64 {
    ((percent / 100.0 * PERIOD as f64) as u64).max(1000)
}

/// The group below which leaves with this controller can be made. `own`: the leaf below it into which the primary has
/// moved, in version 2.
///
/// # Errors
/// There is none, and why.
fn parent_of(
    read: Reader<'_>,
    is_writable: &dyn Fn(&Path) -> bool,
    own: Option<&Path>,
    controller: Controller,
) -> Result<Parent, String> {
    // A controller is in one hierarchy.
    let v1 = Hierarchy::Controller(controller.name());
    let first = |hierarchy| levels(read, hierarchy).into_iter().next().map(|folder| (folder, hierarchy));
    let Some((mut folder, hierarchy)) = first(v1).or_else(|| first(Hierarchy::Unified)) else {
        return Err("no control group is mounted".into());
    };
    if hierarchy == Hierarchy::Unified
        && let Some(above) = own.and_then(Path::parent)
    {
        folder = above.to_path_buf();
    }
    let is_root = match hierarchy {
        // Only the root has none, or has this one.
        Hierarchy::Unified => read(&folder.join("cgroup.type")).is_none(),
        Hierarchy::Controller(_) => read(&folder.join("cgroup.sane_behavior")).is_some(),
    };
    if is_root {
        return Err("the primary is in the root group".into());
    }
    let has = |text: String| text.split_whitespace().any(|name| name == controller.name());
    if hierarchy == Hierarchy::Unified && !read(&folder.join("cgroup.controllers")).is_some_and(has) {
        return Err("the primary's control group does not have the controller".into());
    }
    if !is_writable(&folder) {
        return Err("the primary's control group is not writable".into());
    }
    Ok(Parent { folder, hierarchy, controllers: vec![controller] })
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The counter of OOM kills of a group.
fn oom_kills_in(read: Reader<'_>, folder: &Path, hierarchy: Hierarchy) -> Option<u64> {
    counter(&read(&folder.join(oom_file(hierarchy)))?)
}

fn oom_file(hierarchy: Hierarchy) -> &'static str {
    if hierarchy == Hierarchy::Unified { "memory.events" } else { "memory.oom_control" }
}

/// The value of `oom_kill`, in lines of a name and a number.
fn counter(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == "oom_kill").and_then(|(_, value)| value.trim().parse().ok())
}

/// Counts the processes that the kernel's OOM killer has ended in this process's control group; on the whole machine if
/// the group does not count them.
#[derive(Debug, PartialEq)]
pub struct OomCounter {
    file: PathBuf,
}

impl OomCounter {
    pub fn find() -> Self {
        Self::find_with(&super::control_groups::read)
    }

    fn find_with(read: Reader<'_>) -> Self {
        let of = |hierarchy| {
            let file = levels(read, hierarchy).into_iter().next()?.join(oom_file(hierarchy));
            counter(&read(&file)?).map(|_| file)
        };
        let of_group = of(Hierarchy::Controller("memory")).or_else(|| of(Hierarchy::Unified));
        Self { file: of_group.unwrap_or_else(|| PathBuf::from("/proc/vmstat")) }
    }

    /// So far; 0 if it cannot be read.
    pub fn kills(&self) -> u64 {
        self.read(&super::control_groups::read)
    }

    fn read(&self, read: Reader<'_>) -> u64 {
        read(&self.file).as_deref().and_then(counter).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::control_groups::fake::{V1_MEMORY_MOUNT, V2_MOUNT, machine};

    #[test]
    fn a_delegated_group_of_version_2_takes_leaves() {
        let files = [
            ("/proc/self/cgroup", "0::/user.slice/app.service\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/user.slice/app.service/cgroup.type", "domain\n"),
            ("/sys/fs/cgroup/user.slice/app.service/cgroup.controllers", "cpu memory pids\n"),
        ];
        let parent = parent_of(&machine(&files), &|_| true, None, Controller::Memory).unwrap();
        assert_eq!(parent.folder, Path::new("/sys/fs/cgroup/user.slice/app.service"));
        assert_eq!(parent.hierarchy, Hierarchy::Unified);
        let refusal = |files: &[(&str, &str)], writable: bool| {
            parent_of(&machine(files), &|_| writable, None, Controller::Memory).unwrap_err()
        };
        assert_eq!(refusal(&files, false), "the primary's control group is not writable");
        assert_eq!(refusal(&files[..3], true), "the primary's control group does not have the controller");
        assert_eq!(refusal(&files[..2], true), "the primary is in the root group");
        assert_eq!(refusal(&[], true), "no control group is mounted");
    }

    #[test]
    fn a_group_of_version_1_takes_leaves_but_not_the_root() {
        let own = [("/proc/self/cgroup", "5:memory:/box\n0::/\n"), ("/proc/self/mountinfo", V1_MEMORY_MOUNT)];
        let parent = parent_of(&machine(&own), &|_| true, None, Controller::Memory).unwrap();
        assert_eq!(parent.folder, Path::new("/sys/fs/cgroup/memory/box"));
        let root = [
            ("/proc/self/cgroup", "5:memory:/\n"),
            ("/proc/self/mountinfo", V1_MEMORY_MOUNT),
            ("/sys/fs/cgroup/memory/cgroup.sane_behavior", "0\n"),
        ];
        let refusal = parent_of(&machine(&root), &|_| true, None, Controller::Memory).unwrap_err();
        assert_eq!(refusal, "the primary is in the root group");
    }

    #[test]
    fn each_limit_is_written_as_its_version_has_it() {
        let limits = GroupLimits { memory: Some(2200), cpu: Some(150.0), processes: Some(9) };
        let v1 = Hierarchy::Controller("any");
        let text = |hierarchy, controller, limits: &GroupLimits| {
            let pairs = settings(hierarchy, controller, limits);
            pairs.iter().map(|(file, value)| format!("{file}={value}")).collect::<Vec<_>>().join(";")
        };
        for (hierarchy, controller, given, none) in [
            (
                Hierarchy::Unified,
                Controller::Memory,
                "memory.swap.max=0;memory.high=2100;memory.max=2200",
                "memory.swap.max=max;memory.high=max;memory.max=max",
            ),
            (v1, Controller::Memory, "memory.limit_in_bytes=2200", "memory.limit_in_bytes=-1"),
            (Hierarchy::Unified, Controller::Cpu, "cpu.max=150000 100000", "cpu.max=max 100000"),
            (
                v1,
                Controller::Cpu,
                "cpu.cfs_period_us=100000;cpu.cfs_quota_us=150000",
                "cpu.cfs_period_us=100000;cpu.cfs_quota_us=-1",
            ),
            (v1, Controller::Pids, "pids.max=9", "pids.max=max"),
        ] {
            assert_eq!(text(hierarchy, controller, &limits), given);
            assert_eq!(text(hierarchy, controller, &GroupLimits::default()), none);
        }
    }

    #[test]
    fn oom_kills_are_those_of_the_group_or_else_of_the_machine() {
        let v2 = [
            ("/proc/self/cgroup", "0::/a\n"),
            ("/proc/self/mountinfo", V2_MOUNT),
            ("/sys/fs/cgroup/a/memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\n"),
            ("/proc/vmstat", "oom_kill 9\n"),
        ];
        let kills = |files: &[(&str, &str)]| OomCounter::find_with(&machine(files)).read(&machine(files));
        assert_eq!(kills(&v2), 2);
        let v1 = [
            ("/proc/self/cgroup", "5:memory:/box\n"),
            ("/proc/self/mountinfo", V1_MEMORY_MOUNT),
            ("/sys/fs/cgroup/memory/box/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"),
        ];
        assert_eq!(kills(&v1), 4);
        assert_eq!(kills(&[("/proc/vmstat", "pgfault 1\noom_kill 9\n")]), 9);
        assert_eq!(kills(&[]), 0);
    }

    /// A group of version 2 on an ordinary file system, as its owner sees it. The kernel's part is missing: nothing is
    /// in the group but what is written, and leaves have the files that a test makes.
    struct FakedTree {
        root: PathBuf,
    }

    const LIMITS: GroupLimits = GroupLimits { memory: Some(2200), cpu: None, processes: Some(9) };

    impl FakedTree {
        fn new(name: &str, inside: &[u32]) -> Self {
            let tree = Self {
                root: std::env::temp_dir().join(format!("drover-tree-{name}-{}", std::process::id())),
            };
            fs::create_dir_all(tree.group()).unwrap();
            let inside: String = inside.iter().map(|pid| format!("{pid}\n")).collect();
            let files = [
                ("cgroup.type", "domain\n"),
                ("cgroup.controllers", "cpu memory pids\n"),
                ("cgroup.subtree_control", "\n"),
                ("cgroup.procs", &inside),
            ];
            for (file, text) in files {
                fs::write(tree.group().join(file), text).unwrap();
            }
            tree
        }

        fn group(&self) -> PathBuf {
            self.root.join("app.service")
        }

        fn own(&self) -> PathBuf {
            self.group().join(format!("drover-primary-{}", std::process::id()))
        }

        fn text(&self, folder: &Path, file: &str) -> Option<String> {
            fs::read_to_string(folder.join(file)).ok().map(|text| text.trim().to_owned())
        }

        fn find(&self) -> (WorkerGroups, Vec<(Controller, String)>) {
            let mut groups = WorkerGroups::default();
            let lacks = self.extend(&mut groups, &LIMITS);
            (groups, lacks)
        }

        fn extend(&self, groups: &mut WorkerGroups, limits: &GroupLimits) -> Vec<(Controller, String)> {
            let mount = format!("31 23 0:27 / {} rw - cgroup2 cgroup2 rw\n", self.root.display());
            let moved = format!("0::/app.service/drover-primary-{}\n", std::process::id());
            let member = if self.own().exists() { moved.as_str() } else { "0::/app.service\n" };
            let process = [("/proc/self/cgroup", member), ("/proc/self/mountinfo", &mount)];
            let process = machine(&process);
            let read = |path: &Path| process(path).or_else(|| fs::read_to_string(path).ok());
            groups.find_with(&read, limits)
        }
    }

    impl Drop for FakedTree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn in_version_2_the_primary_moves_into_a_leaf_and_back_on_a_faked_tree() {
        let pid = std::process::id();
        let tree = FakedTree::new("move", &[pid]);
        let (groups, lacks) = tree.find();
        assert_eq!(lacks, []);
        assert!(groups.enforces(Controller::Memory) && groups.enforces(Controller::Pids));
        assert!(!groups.enforces(Controller::Cpu), "no such limit is given");
        assert_eq!(tree.text(&tree.own(), "cgroup.procs"), Some(pid.to_string()));
        let given = tree.text(&tree.group(), "cgroup.subtree_control");
        assert_eq!(given.as_deref(), Some("+memory +pids"));
        drop(groups);
        let taken = tree.text(&tree.group(), "cgroup.subtree_control");
        assert_eq!(taken.as_deref(), Some("-memory -pids"));
        assert_eq!(tree.text(&tree.group(), "cgroup.procs"), Some(pid.to_string()));
    }

    #[test]
    fn in_version_2_a_limit_that_is_added_later_gets_its_controller_on_a_faked_tree() {
        let tree = FakedTree::new("later", &[std::process::id()]);
        let (mut groups, _) = tree.find();
        let given = || tree.text(&tree.group(), "cgroup.subtree_control");
        let with_cpu = GroupLimits { cpu: Some(50.0), ..LIMITS };
        assert_eq!(tree.extend(&mut groups, &with_cpu), []);
        assert!(groups.enforces(Controller::Cpu) && groups.enforces(Controller::Memory));
        assert_eq!(given().as_deref(), Some("+cpu"), "the kernel keeps the others");
        assert_eq!(groups.parents.len(), 1);
        fs::write(tree.group().join("cgroup.subtree_control"), "").unwrap();
        assert_eq!(tree.extend(&mut groups, &GroupLimits::default()), []);
        assert_eq!(tree.extend(&mut groups, &with_cpu), []);
        assert_eq!(given().as_deref(), Some(""), "nothing is missing");
        drop(groups);
        assert_eq!(given().as_deref(), Some("-memory -pids -cpu"));
    }

    #[test]
    fn in_version_2_a_limit_that_is_added_later_and_refused_is_said_on_a_faked_tree() {
        let tree = FakedTree::new("later-refused", &[std::process::id()]);
        let (mut groups, _) = tree.find();
        fs::write(tree.group().join("cgroup.controllers"), "memory pids\n").unwrap();
        let lacks = tree.extend(&mut groups, &GroupLimits { cpu: Some(50.0), ..LIMITS });
        let reason = "the primary's control group does not have the controller".to_owned();
        assert_eq!(lacks, [(Controller::Cpu, reason)]);
        assert!(groups.enforces(Controller::Memory) && !groups.enforces(Controller::Cpu));
    }

    #[test]
    fn in_version_2_a_group_with_other_processes_is_left_alone_on_a_faked_tree() {
        let pid = std::process::id();
        let tree = FakedTree::new("others", &[1, pid]);
        let (groups, lacks) = tree.find();
        let reason = "other processes are in the primary's control group".to_owned();
        assert_eq!(lacks, [(Controller::Memory, reason.clone()), (Controller::Pids, reason)]);
        assert!(!groups.enforces(Controller::Memory) && !tree.own().exists());
        drop(groups);
        assert_eq!(tree.text(&tree.group(), "cgroup.subtree_control").as_deref(), Some(""));
        assert_eq!(tree.text(&tree.group(), "cgroup.procs"), Some(format!("1\n{pid}")));
    }

    #[test]
    fn in_version_2_the_primary_moves_first_and_back_if_the_controllers_are_refused_on_a_faked_tree() {
        let pid = std::process::id().to_string();
        let tree = FakedTree::new("refused", &[]);
        let control = tree.group().join("cgroup.subtree_control");
        fs::remove_file(&control).unwrap();
        // It cannot be written.
        fs::create_dir(&control).unwrap();
        let (groups, lacks) = tree.find();
        assert_eq!(
            lacks.iter().map(|(lack, _)| *lack).collect::<Vec<_>>(),
            [Controller::Memory, Controller::Pids]
        );
        assert!(!groups.enforces(Controller::Memory) && !groups.enforces(Controller::Pids));
        // In the other order the kernel refuses: a group with processes gives no controllers.
        assert_eq!(tree.text(&tree.own(), "cgroup.procs"), Some(pid.clone()));
        assert_eq!(tree.text(&tree.group(), "cgroup.procs"), Some(pid));
    }

    #[test]
    fn in_version_2_a_leaf_is_throttled_before_it_is_full_and_does_not_swap_on_a_faked_tree() {
        let tree = FakedTree::new("limits", &[std::process::id()]);
        let (groups, _) = tree.find();
        let folder = tree.group().join("leaf");
        fs::create_dir(&folder).unwrap();
        let parts = vec![Part { folder: folder.clone(), parent: groups.parents[0].clone() }];
        let mut leaf = Leaf { parts, refused: Vec::new() };
        let files = [SWAP, "memory.high", "memory.max", "pids.max"];
        for file in files {
            fs::write(folder.join(file), "").unwrap();
        }
        let values = || files.map(|file| tree.text(&folder, file).unwrap_or_default());
        assert!(leaf.limit(&LIMITS).is_empty());
        // A hard limit of 2200 belongs to a soft one of 2000.
        assert_eq!(values(), ["0", "2100", "2200", "9"]);
        fs::remove_file(folder.join(SWAP)).unwrap();
        assert!(leaf.limit(&GroupLimits { memory: Some(1_000_000), ..LIMITS }).is_empty());
        assert_eq!(values(), ["", "954534", "1000000", "9"], "a kernel without swap");
        fs::remove_file(folder.join("memory.high")).unwrap();
        assert_eq!(leaf.limit(&LIMITS).len(), 1, "no other file may be missing");
    }

    #[test]
    fn in_version_1_a_limit_that_is_refused_is_not_enforced_until_one_is_taken_on_a_faked_tree() {
        let tree = FakedTree::new("busy", &[]);
        let parts = [Controller::Memory, Controller::Pids].map(|controller| {
            let folder = tree.root.join(controller.name()).join("leaf");
            fs::create_dir_all(&folder).unwrap();
            let hierarchy = Hierarchy::Controller(controller.name());
            Part {
                folder,
                parent: Parent { folder: tree.root.clone(), hierarchy, controllers: vec![controller] },
            }
        });
        let file = parts[0].folder.join("memory.limit_in_bytes");
        let (pids, kills) = (parts[1].folder.clone(), parts[0].folder.join("memory.oom_control"));
        fs::write(&file, "").unwrap();
        fs::write(pids.join("pids.max"), "").unwrap();
        fs::write(&kills, "oom_kill 3\n").unwrap();
        let mut leaf = Leaf { parts: parts.into(), refused: Vec::new() };
        assert!(leaf.limit(&LIMITS).is_empty() && leaf.enforces(Controller::Memory));
        fs::remove_file(&file).unwrap();
        // It cannot be written.
        fs::create_dir(&file).unwrap();
        let lower = GroupLimits { memory: Some(1100), processes: Some(7), ..LIMITS };
        let refused: Vec<Controller> =
            leaf.limit(&lower).into_iter().map(|(controller, _)| controller).collect();
        assert_eq!(refused, [Controller::Memory]);
        assert!(!leaf.enforces(Controller::Memory), "the sampler watches it");
        assert!(leaf.enforces(Controller::Pids));
        assert_eq!(tree.text(&pids, "pids.max").as_deref(), Some("7"));
        assert_eq!(leaf.oom_kills(), Some(3), "the former limit kills too");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "").unwrap();
        assert!(leaf.limit(&lower).is_empty() && leaf.enforces(Controller::Memory));
    }
}
