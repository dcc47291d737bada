//! Folders of the user's own. What lies in one is nobody else's to read, to replace or to remove.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Bits of a mode that are others'.
const OTHERS: u32 = 0o077;

/// Makes the folder with mode 0700, or sees that the one that is there is this user's own and nobody else's.
///
/// # Errors
/// It cannot be made or is not private; the words say whose it is.
pub fn folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(path),
        Err(error) => Err(at(path, &error)),
    }
}

fn check(path: &Path) -> io::Result<()> {
    let metadata = open(path).and_then(|folder| folder.metadata()).map_err(|error| at(path, &error))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if owner != rustix::process::geteuid().as_raw() {
        return refused(format!("{} belongs to another user (uid {owner}); remove it", path.display()));
    }
    if mode & OTHERS != 0 {
        let wanted = format!("chmod 700 {}", path.display());
        return refused(format!("{} is open to other users (mode {mode:04o}); {wanted}", path.display()));
    }
    Ok(())
}

/// The folder itself: a link at its place is another's choice.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_folder_is_this_users_alone_or_refused() {
        let room = std::env::temp_dir().join(format!("drover-private-{}", std::process::id()));
        folder(&room).unwrap();
        assert_eq!(fs::metadata(&room).unwrap().mode() & 0o777, 0o700);
        folder(&room).unwrap();

        let wide = room.join("wide");
        fs::create_dir(&wide).unwrap();
        fs::set_permissions(&wide, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(folder(&wide).unwrap_err().to_string().contains("mode 0750"));

        let link = room.join("link");
        symlink(&room, &link).unwrap();
        assert!(folder(&link).is_err());
        let file = room.join("file");
        fs::write(&file, "").unwrap();
        assert!(folder(&file).is_err());
        assert!(folder(&room.join("none").join("deeper")).unwrap_err().to_string().contains("deeper"));
        fs::remove_dir_all(&room).unwrap();
    }
}
