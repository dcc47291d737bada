//! Private folders of the user, whose files other users cannot read, replace or remove.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Creates the folder with mode 0700, or checks that an existing one belongs to this user and is private.
///
/// # Errors
/// It cannot be created or is not private; the message names its owner or mode.
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

/// Opens the folder itself, not a link: a link may have been placed by another user.
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
        let directory = std::env::temp_dir().join(format!("drover-private-{}", std::process::id()));
        folder(&directory).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        folder(&directory).unwrap();

        let wide = directory.join("wide");
        fs::create_dir(&wide).unwrap();
        fs::set_permissions(&wide, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(folder(&wide).unwrap_err().to_string().contains("mode 0750"));

        let link = directory.join("link");
        symlink(&directory, &link).unwrap();
        assert!(folder(&link).is_err());
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        assert!(folder(&file).is_err());
        assert!(folder(&directory.join("none").join("deeper")).unwrap_err().to_string().contains("deeper"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
