//! A log file with rotation by size: `drover.log` becomes `drover.log.1`, that one `drover.log.2`, and the oldest is
//! deleted. Lines are never split between files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};

/// The settings of the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Maximum bytes of a file, unless a single line is longer.
    pub size: u64,
    /// Number of files, including the current one.
    pub files: u32,
}

pub struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    file: File,
    size: u64,
}

/// A failed write: the bytes of complete lines written before it, and the error.
#[derive(Debug)]
pub struct Failed {
    pub written: usize,
    pub error: io::Error,
}

impl LogFile {
    /// Opens the file, and appends if it exists.
    ///
    /// # Errors
    /// It cannot be created or written.
    pub fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, size })
    }

    /// Writes complete lines.
    ///
    /// # Errors
    /// The rest could not be written.
    pub fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let mut written = 0;
        while written < lines.len() {
            let next = self.fitting(&lines[written..]);
            let result = if next == 0 { self.rotate() } else { self.append(&lines[written..written + next]) };
            result.map_err(|error| Failed { written, error })?;
            written += next;
        }
        Ok(())
    }

    /// How many bytes of complete lines fit into this file; 0: rotate first.
    fn fitting(&self, lines: &[u8]) -> usize {
        let Some(Rotation { size, .. }) = self.rotation else { return lines.len() };
        let room = usize::try_from(size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        match memrchr(b'\n', &lines[..room]) {
            Some(end) => end + 1,
            None if self.size > 0 => 0,
            // A line longer than the maximum gets its own file.
            None => memchr(b'\n', lines).map_or(lines.len(), |end| end + 1),
        }
    }

    /// Writes all of `lines`, or nothing.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // A full disk may have accepted a part. It is removed, because all lines will be written elsewhere. A file
            // that cannot be truncated (a device) has accepted nothing.
            let _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let files = self.rotation.map_or(1, |rotation| rotation.files);
        for number in (1..files).rev() {
            let from = if number == 1 { self.path.clone() } else { numbered(&self.path, number - 1) };
            match std::fs::rename(&from, numbered(&self.path, number)) {
                Ok(()) => {}
                // There are fewer files than the maximum, or this one was moved away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        if files == 1 {
            std::fs::remove_file(&self.path)?;
        }
        self.file = append(&self.path)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    /// Whether the file still has a name, possibly another one.
    pub fn is_somewhere(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }

    /// Whether the path still names this file. Nobody reads a removed file, and a file that was moved away (logrotate)
    /// must not grow.
    pub fn is_there(&self) -> bool {
        let place = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let named = std::fs::metadata(&self.path).map(place);
        named.is_ok_and(|named| self.file.metadata().is_ok_and(|metadata| place(metadata) == named))
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("drover-log-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_new_file_begins_at_its_size_and_no_line_is_torn_or_lost() {
        let folder = Folder::new("rotation");
        let path = folder.0.join("drover.log");
        let mut log = LogFile::open(&path, Some(Rotation { size: 10, files: 3 })).unwrap();
        log.write(b"one\ntwo\nthree\n").unwrap();
        assert_eq!((text(&numbered(&path, 1)).as_str(), text(&path).as_str()), ("one\ntwo\n", "three\n"));
        log.write(b"longer than a whole file\n4\n").unwrap();
        assert_eq!(text(&numbered(&path, 2)), "three\n");
        assert_eq!(text(&numbered(&path, 1)), "longer than a whole file\n");
        assert_eq!(text(&path), "4\n");
        assert!(!numbered(&path, 3).exists());
        drop(log);
        let mut again = LogFile::open(&path, Some(Rotation { size: 10, files: 1 })).unwrap();
        again.write(b"12345678\n").unwrap();
        assert_eq!(text(&path), "12345678\n", "one file: what was is gone");
    }

    #[test]
    fn what_could_not_be_written_is_told_in_whole_lines() {
        let mut full = LogFile::open(Path::new("/dev/full"), None).unwrap();
        let failed = full.write(b"one\n").unwrap_err();
        assert_eq!(failed.written, 0);
    }

    #[test]
    fn a_file_that_has_lost_its_name_or_its_folder_is_missed() {
        let folder = Folder::new("gone");
        let path = folder.0.join("drover.log");
        let mut log = LogFile::open(&path, Some(Rotation { size: 4, files: 2 })).unwrap();
        log.write(b"one\n").unwrap();
        assert!(log.is_there());
        std::fs::rename(&path, folder.0.join("moved")).unwrap();
        assert!(!log.is_there());
        std::fs::write(&path, "another").unwrap();
        assert!(!log.is_there(), "another file has its name");
        assert!(log.is_somewhere());
        std::fs::rename(folder.0.join("moved"), &path).unwrap();
        assert!(log.is_there());
        std::fs::remove_dir_all(&folder.0).unwrap();
        assert!(!log.is_there() && !log.is_somewhere());
        assert_eq!(log.write(b"two\nmore\n").unwrap_err().written, 0);
    }
}
