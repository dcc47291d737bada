//! The destination of lines: a file, or standard output, whose reader may be slow or gone.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memchr::{memchr_iter, memrchr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::files::{Failed, LogFile, Rotation};

/// Maximum bytes queued for a slow reader; above it the workers' pipes fill.
const FULL: usize = 4 * 1024 * 1024;
/// Maximum bytes of an atomic write to a pipe (PIPE_BUF): lines of the primary's program cannot come in between.
const PIECE: usize = 4096;
/// Interval of the checks whether a file can be written again, or was removed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The settings of a log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub path: PathBuf,
    pub rotation: Option<Rotation>,
}

impl FileSettings {
    /// # Errors
    /// The file cannot be created or written.
    pub fn open(&self) -> io::Result<LogFile> {
        LogFile::open(&self.path, self.rotation)
    }
}

/// A problem, or its end, that the writer must log.
#[derive(Debug)]
pub enum Trouble {
    Broken(String),
    Recovered(String),
}

struct Filed {
    settings: FileSettings,
    /// None if it could not be written.
    file: Option<LogFile>,
    is_broken: bool,
    looked: Instant,
}

pub struct Output {
    filed: Option<Filed>,
    /// Queued lines for standard output; `sent` bytes were already written.
    pending: Vec<u8>,
    sent: usize,
    /// Standard output is a file and accepts everything at once.
    takes_all: bool,
    /// The reader of standard output is gone.
    is_closed: bool,
    /// Number of lines that nobody read.
    lost: u64,
    /// Number of lines that were not accepted, by a file on a full disk; None while it accepts lines.
    refused: Option<u64>,
    /// The last write was the beginning of a line whose rest was dropped.
    is_torn: bool,
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
            refused: None,
            is_torn: false,
        }
    }

    /// Writes or queues complete lines.
    pub fn take(&mut self, lines: &[u8]) -> Option<Trouble> {
        let (written, trouble) = self.filed.as_mut().map_or((0, None), |filed| filed.write(lines));
        self.pending.extend_from_slice(&lines[written..]);
        trouble
    }

    /// Writes what standard output accepts now. Lines that a file on a full disk does not accept are dropped.
    pub fn flush(&mut self) -> Option<Trouble> {
        self.flush_to(io::stdout().as_fd())
    }

    fn flush_to(&mut self, stdout: BorrowedFd<'_>) -> Option<Trouble> {
        let (mut takes, mut refuses) = (false, false);
        while !self.is_empty() {
            if self.is_closed {
                self.give_up();
                break;
            }
            if !self.takes_all && !is_writable() {
                break;
            }
            let rest = &self.pending[self.sent..];
            let next = if self.takes_all { rest } else { piece(rest) };
            match rustix::io::write(stdout, if self.is_torn { b"\n" } else { next }) {
                Ok(_) if self.is_torn => self.is_torn = false,
                Ok(written) => {
                    self.sent += written;
                    takes = true;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) if self.takes_all && error != Errno::BADF => {
                    self.refuse(error);
                    refuses = true;
                }
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
        // A partial write means that the disk is full again.
        let lost = (takes && !refuses && self.is_empty()).then(|| self.refused.take()).flatten()?;
        Some(Trouble::Recovered(format!("Standard output can be written again: {lost} lines are lost")))
    }

    /// Counts the queued lines, and `more` lines that were not queued, as lost.
    pub fn give_up_with(&mut self, more: u64) {
        self.lost += self.waiting_lines() + more;
        self.pending.clear();
        self.sent = 0;
    }

    pub fn give_up(&mut self) {
        self.give_up_with(0);
    }

    /// The file that standard output is accepts nothing now. Reported on standard error, which may be elsewhere.
    fn refuse(&mut self, error: Errno) {
        if self.refused.is_none() {
            complain(&format!("standard output: {error}. Log lines are lost until it can be written again"));
        }
        self.refused = Some(self.refused.unwrap_or(0) + self.waiting_lines());
        self.is_torn |= self.sent > 0 && self.pending[self.sent - 1] != b'\n';
        self.pending.clear();
        self.sent = 0;
    }

    fn waiting_lines(&self) -> u64 {
        memchr_iter(b'\n', &self.pending[self.sent..]).count() as u64
    }

    /// A text about lost lines, at the end.
    pub fn loss(&self) -> Option<String> {
        let unread = (self.lost > 0)
            .then(|| format!("nobody read the output: at least its last {} lines are lost", self.lost));
        let refused =
            self.refused.map(|lost| format!("standard output could not be written: {lost} lines are lost"));
        unread.or(refused)
    }

    /// Number of queued bytes.
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
    /// The number of bytes written, and a problem to log.
    fn write(&mut self, lines: &[u8]) -> (usize, Option<Trouble>) {
        let looked = self.look();
        let Some(file) = self.file.as_mut() else {
            return (0, looked.err().and_then(|error| self.broke(&error)));
        };
        match file.write(lines) {
            Ok(()) => {
                let path = self.settings.path.display();
                let recovered = std::mem::take(&mut self.is_broken);
                (
                    lines.len(),
                    recovered.then(|| Trouble::Recovered(format!("{path}: it can be written again"))),
                )
            }
            Err(Failed { written, error }) => {
                self.file = None;
                (written, self.broke(&error))
            }
        }
    }

    /// Reported once, until the file can be written again.
    fn broke(&mut self, error: &io::Error) -> Option<Trouble> {
        let path = self.settings.path.display();
        let text = format!("{path}: {error}. Log lines go to standard output until it can be written again");
        (!std::mem::replace(&mut self.is_broken, true)).then_some(Trouble::Broken(text))
    }

    /// Checks from time to time whether the file still exists or can be created again.
    fn look(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < LOOK_INTERVAL {
            return Ok(());
        }
        self.looked = Instant::now();
        if self.file.as_ref().is_some_and(LogFile::is_there) {
            return Ok(());
        }
        match self.settings.open() {
            Ok(file) => self.file = Some(file),
            // If no new file can be created, a moved one is better than none.
            Err(_) if self.file.as_ref().is_some_and(LogFile::is_somewhere) => {}
            Err(error) => {
                self.file = None;
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Creates the folder of a log file if it is missing.
///
/// # Errors
/// It cannot be created.
pub fn make_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder),
        None => Ok(()),
    }
}

/// Reports a problem of the log itself on standard error.
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

/// Complete lines for one write, or the beginning of a long line.
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
    fn a_file_that_was_full_takes_lines_again_and_none_is_glued_to_half_of_another() {
        let mut output = Output::new(None);
        (output.takes_all, output.is_closed) = (true, false);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        output.take(b"one\ntwo\n");
        assert!(output.flush_to(full.as_fd()).is_none() && output.is_empty());
        assert_eq!(output.loss().unwrap(), "standard output could not be written: 2 lines are lost");
        // The disk accepted half of the next line before it was full.
        (output.pending, output.sent) = (b"three\n".to_vec(), 2);
        output.flush_to(full.as_fd());

        let path = std::env::temp_dir().join(format!("drover-was-full-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        output.take(b"four\n");
        let recovered = output.flush_to(file.as_fd());
        assert!(
            matches!(recovered, Some(Trouble::Recovered(text)) if text.ends_with("again: 3 lines are lost"))
        );
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((text.as_str(), output.loss()), ("\nfour\n", None));
    }

    #[test]
    fn a_piece_is_whole_lines_unless_one_is_too_long() {
        assert_eq!(piece(b"one\ntwo\n"), b"one\ntwo\n");
        let long = [b"one\n".to_vec(), vec![b'x'; PIECE], b"\n".to_vec()].concat();
        assert_eq!(piece(&long), b"one\n");
        assert_eq!(piece(&long[4..]).len(), PIECE);
    }
}
