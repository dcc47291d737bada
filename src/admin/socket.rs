//! The control socket: the API for this user only, in a private folder. Named after the primary's pid; removed with it.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, geteuid, test_kill_process};

use super::private;

/// Maximum number of sockets of a primary, which has one per cluster.
const MAX: u32 = 64;

const ENDING: &str = ".sock";

/// The folder of the sockets: `$XDG_RUNTIME_DIR/drover` if that belongs to the user, else `drover-<uid>` in the
/// temporary folder.
pub fn runtime_directory(env: &BTreeMap<String, String>) -> PathBuf {
    let user = geteuid().as_raw();
    // A variable inherited from another user (sudo -E) names that user's folder.
    let owns = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == user)
    };
    match absolute(env, "XDG_RUNTIME_DIR").filter(owns) {
        Some(runtime) => runtime.join("drover"),
        None => temporary(env),
    }
}

/// This user's folder in the temporary folder.
pub fn temporary(env: &BTreeMap<String, String>) -> PathBuf {
    let among = absolute(env, "TMPDIR").unwrap_or_else(|| "/tmp".into());
    among.join(format!("drover-{}", geteuid().as_raw()))
}

fn absolute(env: &BTreeMap<String, String>, name: &str) -> Option<PathBuf> {
    env.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The file of a socket; removed when this value is dropped.
pub struct Socket {
    pub path: PathBuf,
}

impl Socket {
    /// Creates the folder if it does not exist, and the socket in it, with mode 0600.
    ///
    /// # Errors
    /// The folder is not private, or the socket cannot be created; the message says what to do.
    pub fn open(directory: &Path) -> io::Result<(Self, UnixListener)> {
        private::folder(directory)?;
        remove_stale(directory);
        let pid = std::process::id();
        let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
        for nth in 1..=MAX {
            let name = if nth == 1 { format!("{pid}{ENDING}") } else { format!("{pid}-{nth}{ENDING}") };
            let path = directory.join(name);
            match UnixListener::bind(&path) {
                Ok(listener) => {
                    let socket = Self { path };
                    // The folder's mode keeps other users out meanwhile.
                    fs::set_permissions(&socket.path, Permissions::from_mode(0o600))?;
                    listener.set_nonblocking(true)?;
                    return Ok((socket, listener));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
                }
            }
        }
        Err(taken)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The file may have been removed already.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the sockets of killed primaries. A socket that accepts connections is in use regardless of its pid: its
/// primary may run in another container.
fn remove_stale(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(pid_of) else { continue };
        if !lives(pid) && is_deserted(&entry.path()) {
            // Another primary may have removed it at the same time.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn pid_of(name: &str) -> Option<i32> {
    let stem = name.strip_suffix(ENDING)?;
    stem.split_once('-').map_or(stem, |(pid, _)| pid).parse().ok()
}

/// Whether the process runs. A socket of this process that does not listen is stale.
fn lives(pid: i32) -> bool {
    let is_other = pid.cast_unsigned() != std::process::id();
    // Of another user's process it is only known that it exists.
    is_other && Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

fn is_deserted(path: &Path) -> bool {
    UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room_of(variables: &[(&str, &str)]) -> PathBuf {
        runtime_directory(
            &variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        )
    }

    #[test]
    fn the_room_is_the_users_runtime_folder_or_one_in_the_temporary_folder() {
        let user = geteuid().as_raw();
        let own = std::env::temp_dir().join(format!("drover-directory-{}", std::process::id()));
        private::folder(&own).unwrap();
        let named = own.to_str().unwrap();
        assert_eq!(room_of(&[("XDG_RUNTIME_DIR", named)]), own.join("drover"));
        let fallback = PathBuf::from(format!("/tmp/drover-{user}"));
        assert_eq!(room_of(&[]), fallback);
        assert_eq!(room_of(&[("XDG_RUNTIME_DIR", "relative")]), fallback);
        assert_eq!(room_of(&[("XDG_RUNTIME_DIR", "/nowhere/at/all"), ("TMPDIR", named)]), {
            own.join(format!("drover-{user}"))
        });
        fs::remove_dir_all(&own).unwrap();
    }

    #[test]
    fn sockets_are_the_users_alone_go_with_their_value_and_make_room_for_others() {
        let directory = std::env::temp_dir().join(format!("drover-sockets-{}", std::process::id()));
        let (first, _served) = Socket::open(&directory).unwrap();
        let (second, _serves) = Socket::open(&directory).unwrap();
        assert_ne!(first.path, second.path);
        assert_eq!(fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
        // Like the socket of a killed primary: process ids are below this number.
        let stale = directory.join("99999999.sock");
        drop(UnixListener::bind(&stale).unwrap());
        let path = first.path.clone();
        drop(first);
        assert!(!path.exists() && stale.exists());
        let (third, _again) = Socket::open(&directory).unwrap();
        assert_eq!(third.path, path);
        assert!(!stale.exists() && second.path.exists());
        drop((second, third));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn only_names_of_sockets_are_read_as_such() {
        for (name, pid) in
            [("12.sock", Some(12)), ("12-3.sock", Some(12)), ("12", None), ("a.sock", None), (".sock", None)]
        {
            assert_eq!(pid_of(name), pid, "{name}");
        }
    }
}
