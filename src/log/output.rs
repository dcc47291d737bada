//! Where lines go: a file, or standard output, which may be read slowly or by nobody.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memrchr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::files::{Failed, LogFile, Rotation};

/// So much waits for a slow reader; then the workers' pipes fill.
const FULL: usize = 4 * 1024 * 1024;
/// Into a pipe so much goes in one piece (PIPE_BUF): the program's own lines never come in between.
const PIECE: usize = 4096;
/// Between two looks at a file that cannot be written, or that might have been removed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A log file, and when a new one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub path: PathBuf,
    pub rotation: Option<Rotation>,
}

impl FileSettings {
    /// # Errors
    /// The file cannot be made or written.
    pub fn open(&self) -> io::Result<LogFile> {
        LogFile::open(&self.path, self.rotation)
    }
}

/// What the writer should tell about the file.
#[derive(Debug)]
pub enum Trouble {
    Broken(String),
    Mended(String),
}

struct Filed {
    settings: FileSettings,
    /// None: it could not be written.
    file: Option<LogFile>,
    is_broken: bool,
    looked: Instant,
}

pub struct Output {
    filed: Option<Filed>,
    /// Lines for standard output, from `sent` on.
    pending: Vec<u8>,
    sent: usize,
    /// Takes everything at once: a file.
    takes_all: bool,
    /// The reader of standard output is gone.
    is_closed: bool,
    lost: u64,
}

impl Output {
    pub fn new(file: Option<(FileSettings, LogFile)>) -> Self {
        let kind = rustix::fs::fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let looked = Instant::now();
        Self {
            filed: file.map(|(settings, file)| Filed {
                settings,
                file: Some(file),
                is_broken: false,
                looked,
            }),
            pending: Vec::new(),
            sent: 0,
            takes_all: matches!(kind, Ok(FileType::RegularFile | FileType::BlockDevice)),
            is_closed: kind.is_err(),
            lost: 0,
        }
    }

    /// Takes whole lines.
    pub fn take(&mut self, lines: &[u8]) -> Option<Trouble> {
        let (written, trouble) = self.filed.as_mut().map_or((0, None), |filed| filed.write(lines));
        self.pending.extend_from_slice(&lines[written..]);
        trouble
    }

    /// Writes what standard output takes now.
    pub fn flush(&mut self) {
        while !self.is_empty() {
            if self.is_closed {
                self.give_up();
                break;
            }
            if !self.takes_all && !is_writable() {
                break;
            }
            let rest = &self.pending[self.sent..];
            match rustix::io::write(io::stdout(), if self.takes_all { rest } else { piece(rest) }) {
                Ok(written) => self.sent += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.is_closed = true,
            }
        }
        if self.is_empty() {
            self.pending.clear();
            self.sent = 0;
        } else if self.sent > FULL {
            self.pending.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Counts what waits as lost.
    pub fn give_up(&mut self) {
        self.lost += memchr_iter(b'\n', &self.pending[self.sent..]).count() as u64;
        self.pending.clear();
        self.sent = 0;
    }

    /// Lines that were lost because nobody read them.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.pending.len() - self.sent
    }

    pub fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    pub fn is_full(&self) -> bool {
        self.waiting() >= FULL
    }
}

impl Filed {
    /// How many bytes were written, and what there is to tell about it.
    fn write(&mut self, lines: &[u8]) -> (usize, Option<Trouble>) {
        let looked = self.look();
        let Some(file) = self.file.as_mut() else {
            return (0, looked.err().and_then(|error| self.broke(&error)));
        };
        match file.write(lines) {
            Ok(()) => {
                let path = self.settings.path.display();
                let mended = std::mem::take(&mut self.is_broken);
                (lines.len(), mended.then(|| Trouble::Mended(format!("{path}: it can be written again"))))
            }
            Err(Failed { written, error }) => {
                self.file = None;
                (written, self.broke(&error))
            }
        }
    }

    /// Said once, until it can be written again.
    fn broke(&mut self, error: &io::Error) -> Option<Trouble> {
        let path = self.settings.path.display();
        let text = format!("{path}: {error}. Log lines go to standard output until it can be written again");
        (!std::mem::replace(&mut self.is_broken, true)).then_some(Trouble::Broken(text))
    }

    /// Now and then: is the file still there, or can it be made again?
    fn look(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        if !self.file.as_ref().is_some_and(LogFile::is_there) {
            self.file = None;
            self.file = Some(self.settings.open()?);
        }
        Ok(())
    }
}

/// The folder of a log file is made when it is not there.
///
/// # Errors
/// It cannot be made.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder),
        None => Ok(()),
    }
}

/// Says something where the log itself cannot: whoever reads the log reads standard error too.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "drover: {text}");
}

fn is_writable() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::OUT)];
    match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => !polled[0].revents().is_empty(),
        Err(_) => false,
    }
}

/// Whole lines that go in one write, or the beginning of a long one.
fn piece(lines: &[u8]) -> &[u8] {
    let most = &lines[..lines.len().min(PIECE)];
    match memrchr(b'\n', most) {
        Some(end) => &most[..=end],
        None => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_whole_lines_unless_one_is_too_long() {
        assert_eq!(piece(b"one\ntwo\n"), b"one\ntwo\n");
        let long = [b"one\n".to_vec(), vec![b'x'; PIECE], b"\n".to_vec()].concat();
        assert_eq!(piece(&long), b"one\n");
        assert_eq!(piece(&long[4..]).len(), PIECE);
    }
}
