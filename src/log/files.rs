//! A log file that begins anew at a size: `drover.log` becomes `drover.log.1`, that one `drover.log.2`, and the oldest goes.
//! Only whole lines stand in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::{memchr, memrchr};

/// When a new file begins, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes; only a longer line makes a larger file.
    pub size: u64,
    /// Files, the one that is written to among them.
    pub files: u32,
}

pub struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    file: File,
    size: u64,
}

/// What was written before it failed: whole lines, so many bytes of them.
#[derive(Debug)]
pub struct Failed {
    pub written: usize,
    pub error: io::Error,
}

impl LogFile {
    /// Goes on at the end of a file that is there.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn open(path: &Path, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), rotation, file, size })
    }

    /// Writes whole lines.
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

    /// So many bytes of whole lines fit into this file; 0: a new one begins.
    fn fitting(&self, lines: &[u8]) -> usize {
        let Some(Rotation { size, .. }) = self.rotation else { return lines.len() };
        let room = usize::try_from(size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        match memrchr(b'\n', &lines[..room]) {
            Some(end) => end + 1,
            None if self.size > 0 => 0,
            // Longer than a file may be: it gets one for itself.
            None => memchr(b'\n', lines).map_or(lines.len(), |end| end + 1),
        }
    }

    /// All of `lines` or none of them.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(lines) {
            // A disk that is full may have taken a part; it is written elsewhere, as a whole. What cannot even be
            // shortened (a device) has taken none.
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
                // Fewer files than are kept, or somebody moved this one.
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

    /// Has it a name, be it another?
    pub fn is_somewhere(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }

    /// Is it still the one of its name? What is written to a file that was removed nobody reads, and one that somebody
    /// moved away (logrotate) is to end.
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
