//! Tests that need a separate process: for a descriptor limit, another user or a network namespace. The test binary
//! runs itself again with that one test.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};

/// The environment variable with the name of the test that this process was started for.
const MARK: &str = "DISPATCH_TEST_APART";

/// The user id of `nobody`.
const NOBODY: u32 = 65534;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// As the same user.
    Same,
    /// As `nobody`, an unprivileged user.
    Nobody,
    /// In a user and network namespace, with all capabilities.
    Network,
}

/// Whether this is the separate process for `test` (its full name). If not, runs one, panics if that fails, and returns
/// false: the test is then done.
#[must_use]
pub fn in_a_process_of_its_own(test: &str, apart: Apart, descriptors: u64) -> bool {
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        let hard = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum: hard }).unwrap();
        return true;
    }
    run(test, apart);
    false
}

/// The same in a network namespace, if the kernel allows unprivileged users to create one.
#[must_use]
pub fn in_a_network_of_its_own(test: &str) -> bool {
    let allowed =
        || Command::new("unshare").args(["-Urn", "true"]).status().is_ok_and(|status| status.success());
    if std::env::var_os(MARK).is_none() && !allowed() {
        eprintln!("SKIPPED {test}: this system forbids user namespaces");
        return false;
    }
    in_a_process_of_its_own(test, Apart::Network, 1024)
}

/// Makes the kernel refuse IPv6 sockets in this thread and the threads that it starts.
pub fn forbid_ipv6() {
    const ERRNO: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
    let step = |code: u32, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let (load, unless_equal, assign) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET,
    );
    // Offsets in seccomp_data: the system call number at 0, its first argument at 16.
    let mut filter = [
        step(load, 0, 0),
        step(unless_equal, 3, libc::SYS_socket as u32),
        step(load, 0, 16),
        step(unless_equal, 1, libc::AF_INET6 as u32),
        step(assign, 0, ERRNO),
        step(assign, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes only integers; the filter program and its instructions live until the second call
    // returns.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
        ]
    };
    assert_eq!(results, [0, 0]);
}

fn run(test: &str, apart: Apart) {
    let own = std::env::current_exe().unwrap();
    let becomes_nobody = apart == Apart::Nobody && geteuid().is_root();
    // The unprivileged user may be unable to read the folder of the binary.
    let copy = becomes_nobody.then(|| Copy::of(&own));
    let program = copy.as_ref().map_or(&own, |copy| &copy.program);
    let mut command = match apart {
        Apart::Network => {
            let mut command = Command::new("unshare");
            command.arg("-Urn").arg(program);
            command
        }
        Apart::Same | Apart::Nobody => Command::new(program),
    };
    if becomes_nobody {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    let command = command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(MARK, test);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{test} in a separate process: {}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "{test} did not run in a separate process\n{out}\n{err}");
}

/// A copy of the test binary that every user may run; removed on drop.
struct Copy {
    folder: PathBuf,
    program: PathBuf,
}

impl Copy {
    fn of(own: &PathBuf) -> Self {
        use std::os::unix::fs::PermissionsExt;
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("drover-apart-{}-{next}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.join("tests");
        fs::copy(own, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, program }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
