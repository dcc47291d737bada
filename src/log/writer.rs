//! The log thread: reads the workers' pipes, and writes their lines and drover's own. It never blocks on the reader of the
//! output: while that reader is slow, the pipes are not read and the workers wait.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::inbox::{Followed, Inbox, Pending};
use super::levels::Levels;
use super::output::{Output, Trouble, complain};
use super::rate::Rate;
use super::render::{Own, Renderer, Source};
use super::split::{MAX_LENGTH, Splitter};
use super::tail::Tail;
use crate::component::Component;
use crate::event::{Level, Subject};
use crate::sys::local_time::now_ms;

/// Maximum bytes read from one pipe before the others: at least all that it contained when drover's own lines were sent.
const A_TURN: usize = 1024 * 1024;
const CHUNK: usize = 128 * 1024;
/// How long the end of the log waits for a reader that makes no progress.
const TIMEOUT: Duration = Duration::from_secs(2);

struct Stream {
    source: Source,
    pipe: OwnedFd,
    splitter: Splitter,
}

pub struct Parts {
    pub inbox: Arc<Inbox>,
    pub levels: Arc<Levels>,
    pub tail: Arc<Mutex<Tail>>,
    pub renderer: Renderer,
    pub output: Output,
    /// Maximum lines per second of one worker.
    pub max_rate: Option<u32>,
}

pub struct Writer {
    parts: Parts,
    epoll: OwnedFd,
    streams: HashMap<u64, Stream>,
    next: u64,
    rates: HashMap<u16, Rate>,
    /// Workers for which cut lines were reported.
    cut: Vec<u16>,
    chunk: Vec<u8>,
    lines: Vec<u8>,
}

impl Writer {
    /// # Errors
    /// No descriptor is available.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self {
            parts,
            epoll,
            streams: HashMap::new(),
            next: 0,
            rates: HashMap::new(),
            cut: Vec::new(),
            chunk: Vec::with_capacity(CHUNK),
            lines: Vec::new(),
        })
    }

    pub fn run(mut self) {
        let mut end = None;
        let mut moved = (Instant::now(), 0);
        loop {
            let is_full = self.parts.output.is_full();
            let Pending { own, streams, lost, end: asked, .. } = self.parts.inbox.take(is_full);
            end = end.or(asked);
            streams.into_iter().for_each(|followed| self.follow(followed));
            // A worker's earlier output is written before drover's own lines.
            let read = if is_full { 0 } else { self.read_all() };
            own.iter().for_each(|line| self.own(line));
            if lost > 0 {
                let text = format!("Nobody read the output: {lost} of drover's own lines were dropped");
                self.say_of(Level::Warn, text, Some(Subject::LogDropped { worker: None, lines: lost }));
            }
            self.report_dropped();
            self.hand_over();
            let trouble = self.parts.output.flush();
            self.report_trouble(trouble);
            if end.is_some() {
                let waiting = self.parts.output.waiting();
                if read == 0 && waiting == 0 {
                    break;
                }
                if read > 0 || waiting != moved.1 {
                    moved = (Instant::now(), waiting);
                } else if moved.0.elapsed() > TIMEOUT {
                    let unread = self.parts.inbox.take(false);
                    self.parts.output.give_up_with(unread.own.len() as u64 + unread.lost);
                    break;
                }
            }
            self.wait(end.is_some());
        }
        self.finish();
        if let Some(ended) = end {
            // The receiver may have stopped waiting.
            let _ = ended.send(());
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, ends: bool) {
        let (output, stdout) = (&self.parts.output, io::stdout());
        let mut polled = vec![PollFd::new(&self.parts.inbox.wake, PollFlags::IN)];
        if !output.is_full() {
            polled.push(PollFd::new(&self.epoll, PollFlags::IN));
        }
        if !output.is_empty() {
            polled.push(PollFd::new(&stdout, PollFlags::OUT));
        }
        let has_dropped = self.rates.values().any(Rate::has_dropped);
        let timeout = match (ends, has_dropped) {
            // At the end no event may arrive: check again after a timeout.
            (true, _) if output.is_empty() => Some(Duration::ZERO),
            (true, _) => Some(Duration::from_millis(100)),
            (false, true) => Some(Duration::from_secs(1)),
            (false, false) => None,
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // Also if interrupted: the caller checks everything next.
        let _ = poll(&mut polled, timeout.as_ref());
    }

    fn follow(&mut self, Followed { source, stream: pipe, report_mark }: Followed) {
        let key = self.next;
        self.next += 1;
        if let Err(errno) = epoll::add(&self.epoll, &pipe, EventData::new_u64(key), EventFlags::IN) {
            let text = format!("The output of worker {} cannot be read: {errno}", source.slot);
            return self.say(Level::Error, text);
        }
        self.streams.insert(key, Stream { source, pipe, splitter: Splitter::with_report_mark(&report_mark) });
    }

    /// The number of streams that were readable or had ended.
    fn read_all(&mut self) -> usize {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let keys: Vec<u64> = match epoll::wait(&self.epoll, &mut events, Some(&now)) {
            Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
            Err(_) => return 0,
        };
        let mut ready = 0;
        for key in keys {
            let Some(mut stream) = self.streams.remove(&key) else { continue };
            ready += 1;
            if self.read(&mut stream) {
                // The worker also holds the pipe, so closing this end would not remove it from the epoll set.
                let _ = epoll::delete(&self.epoll, &stream.pipe);
                self.end(stream);
            } else {
                self.streams.insert(key, stream);
            }
            self.hand_over();
        }
        ready
    }

    /// Whether the stream has ended.
    fn read(&mut self, stream: &mut Stream) -> bool {
        let mut all = 0;
        while all < A_TURN && !self.parts.output.is_full() {
            self.chunk.clear();
            match rustix::io::read(&stream.pipe, spare_capacity(&mut self.chunk)) {
                Ok(0) => return true,
                Ok(read) => {
                    all += read;
                    self.write_lines(stream);
                    self.hand_over();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
        false
    }

    fn write_lines(&mut self, stream: &mut Stream) {
        let Self { parts, lines, rates, chunk, .. } = self;
        let (source, now, most) = (stream.source, now_ms(), parts.max_rate);
        let mut tail = lock(&parts.tail);
        let rate = most.map(|most| (most, rates.entry(source.slot).or_default()));
        let mut rate = rate;
        let split = stream.splitter.event_log(chunk, |line| {
            if let Some((most, rate)) = &mut rate
                && !rate.allows(*most, now)
            {
                return tail.drop_one();
            }
            parts.renderer.worker(source, line, now, lines, &mut tail);
        });
        drop(tail);
        if split.cut > 0 && !self.cut.contains(&source.slot) {
            self.cut.push(source.slot);
            let (slot, longest) = (source.slot, MAX_LENGTH / 1024);
            let text =
                format!("Worker {slot} writes lines longer than {longest} KiB: they go on in the next line");
            self.say(Level::Warn, text);
        }
    }

    /// The stream has ended, with or without a newline.
    fn end(&mut self, mut stream: Stream) {
        let Self { parts, lines, .. } = self;
        let mut tail = lock(&parts.tail);
        stream.splitter.end(|line| parts.renderer.worker(stream.source, line, now_ms(), lines, &mut tail));
    }

    fn own(&mut self, line: &Own) {
        let Self { parts, lines, .. } = self;
        parts.renderer.own(line, lines, &mut lock(&parts.tail));
    }

    /// A line about the log itself.
    fn say(&mut self, level: Level, text: String) {
        self.say_of(level, text, None);
    }

    fn say_of(&mut self, level: Level, text: String, subject: Option<Subject>) {
        if self.parts.levels.allows(Component::Log, level) {
            let members = subject.as_ref().map(Subject::members);
            self.own(&Own { level, text, members, time: now_ms() });
        }
    }

    fn report_dropped(&mut self) {
        let now = now_ms();
        let dropped: Vec<(u16, u64)> = self
            .rates
            .iter_mut()
            .filter_map(|(slot, rate)| rate.settle(now).map(|dropped| (*slot, dropped)))
            .collect();
        dropped.into_iter().for_each(|(slot, dropped)| self.say_dropped(slot, dropped));
    }

    fn say_dropped(&mut self, slot: u16, dropped: u64) {
        let text =
            format!("Worker {slot} wrote more than logging.maxRate allows: {dropped} lines were dropped");
        let subject = Subject::LogDropped { worker: Some(slot.to_string()), lines: dropped };
        self.say_of(Level::Warn, text, Some(subject));
    }

    /// Passes the lines to the output.
    fn hand_over(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let trouble = self.parts.output.take(&self.lines);
        self.lines.clear();
        self.report_trouble(trouble);
    }

    fn report_trouble(&mut self, trouble: Option<Trouble>) {
        match trouble {
            Some(Trouble::Broken(text)) => self.say(Level::Error, text),
            Some(Trouble::Recovered(text)) => self.say(Level::Info, text),
            None => return,
        }
        self.hand_over();
    }

    /// Writes incomplete lines, and reports dropped ones.
    fn finish(&mut self) {
        let streams: Vec<Stream> = self.streams.drain().map(|(_, stream)| stream).collect();
        streams.into_iter().for_each(|stream| self.end(stream));
        let dropped: Vec<(u16, u64)> =
            self.rates.iter_mut().map(|(slot, rate)| (*slot, rate.take_dropped())).collect();
        for (slot, dropped) in dropped.into_iter().filter(|(_, dropped)| *dropped > 0) {
            self.say_dropped(slot, dropped);
        }
        self.hand_over();
        let trouble = self.parts.output.flush();
        self.report_trouble(trouble);
        self.parts.output.flush();
        if !self.parts.output.is_empty() {
            self.parts.output.give_up();
        }
        if let Some(loss) = self.parts.output.loss() {
            complain(&loss);
        }
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::super::render::{Format, Style};
    use super::super::{FileSettings, pipe};
    use super::*;

    /// A writer to a file in the test's own folder.
    fn writer_of(test: &str) -> (Writer, Arc<Inbox>, FileSettings) {
        let folder = std::env::temp_dir().join(format!("drover-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let settings = FileSettings { path: folder.join("log"), rotation: None };
        let opened = settings.open().unwrap();
        let inbox = Arc::new(Inbox::new().unwrap());
        let style =
            Style { format: Format::Pretty, color: false, hostname: String::new(), env: String::new() };
        let writer = Writer::new(Parts {
            inbox: inbox.clone(),
            levels: Arc::new(Levels::new(Level::Info, &[])),
            tail: Arc::default(),
            renderer: Renderer::new(style),
            output: Output::new(Some((settings.clone(), opened))),
            max_rate: None,
        });
        (writer.unwrap(), inbox, settings)
    }

    fn followed(slot: u16, stream: OwnedFd) -> Followed {
        Followed { source: Source { slot, pid: 1, is_error: false }, stream, report_mark: String::new() }
    }

    /// Returns the written text and removes the folder.
    fn written(settings: &FileSettings) -> String {
        let text = std::fs::read_to_string(&settings.path).unwrap();
        std::fs::remove_dir_all(settings.path.parent().unwrap()).unwrap();
        text
    }

    #[test]
    fn the_last_words_of_many_workers_that_end_at_once_are_all_written() {
        let (writer, inbox, settings) = writer_of("last-words");
        let (ended, end) = std::sync::mpsc::channel();
        // More streams end without output than are read in one pass, and the last ones have output.
        for number in 0..200_u16 {
            let (read, write) = pipe().unwrap();
            if number >= 190 {
                let mut write = std::fs::File::from(write.as_fd().try_clone_to_owned().unwrap());
                write.write_all(format!("the last words of {number}\n").as_bytes()).unwrap();
            }
            drop(write);
            inbox.follow(followed(number, read));
        }
        inbox.end(ended);
        writer.run();
        end.recv().unwrap();
        let written = written(&settings);
        assert_eq!(written.matches("the last words of").count(), 10, "{written}");
    }

    #[test]
    fn a_pipe_that_has_ended_wakes_nobody_though_its_worker_has_it_as_well() {
        let (mut writer, _inbox, settings) = writer_of("ended-pipe");
        let (read, write) = pipe().unwrap();
        let its = read.try_clone().unwrap();
        let mut stream = std::fs::File::from(write);
        stream.write_all(b"the end\n").unwrap();
        drop(stream);
        writer.follow(followed(0, read));
        assert_eq!(writer.read_all(), 1);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&writer.epoll, PollFlags::IN)], Some(&now)).unwrap(), 0);
        drop((its, writer));
        assert!(written(&settings).contains("the end"));
    }
}
