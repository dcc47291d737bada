//! The most recent lines and the most frequent messages, for the monitoring API. PURE, and of bounded size.

use std::collections::VecDeque;

use super::frequent::{Frequent, Table};
use crate::event::head;

/// Maximum lines and bytes that are kept.
const MAX_LINES: usize = 2000;
const MAX_BYTES: usize = 1024 * 1024;
/// Maximum bytes of one line; a longer message is truncated, and longer members are omitted.
const MAX_LENGTH: usize = 8 * 1024;
/// Memory of a line besides its texts.
const BESIDE: usize = 96;

#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Increases by one with each line of the cluster, starting from 1.
    pub id: u64,
    /// Milliseconds since 1970.
    pub time: u64,
    /// pino's number.
    pub level: u8,
    /// The worker that wrote the line, or that a line of drover's own is about; None if there is none.
    pub worker: Option<u16>,
    /// A line of drover's own.
    pub is_own: bool,
    pub request_id: Option<Box<str>>,
    pub msg: Box<str>,
    /// The JSON object of the line, or the one with its members.
    pub members: Option<Box<[u8]>>,
}

/// A new line.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    pub time: u64,
    pub level: u8,
    pub worker: Option<u16>,
    pub is_own: bool,
    pub request_id: Option<&'a str>,
    pub msg: &'a str,
    pub members: Option<&'a [u8]>,
}

/// The origin of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Drover,
    Worker(u16),
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// pino's number of the minimum level.
    pub least: u8,
    pub whose: Option<Whose>,
    /// A text in the message or the members, ignoring case.
    pub text: Option<String>,
    /// Milliseconds since 1970.
    pub since: u64,
    pub request_id: Option<String>,
    /// Only lines with a greater id, the oldest ones; None: the newest ones.
    pub after: Option<u64>,
    pub limit: usize,
}

#[derive(Debug)]
pub struct Found {
    pub lines: Vec<Line>,
    pub frequent: Vec<Frequent>,
    pub dropped: u64,
    /// The `after` of the next query: with it no line is missed or repeated.
    pub next: u64,
}

#[derive(Default)]
pub struct Tail {
    lines: VecDeque<Line>,
    bytes: usize,
    last: u64,
    frequent: Table,
    dropped: u64,
}

/// How many of the most frequent messages are returned.
const TOP: usize = 20;

impl Tail {
    pub fn add(&mut self, fresh: Fresh<'_>) {
        self.frequent.count(fresh.msg, fresh.level, fresh.time);
        self.last += 1;
        let line = Line {
            id: self.last,
            time: fresh.time,
            level: fresh.level,
            worker: fresh.worker,
            is_own: fresh.is_own,
            request_id: fresh.request_id.map(Into::into),
            msg: head(fresh.msg, MAX_LENGTH).into(),
            members: fresh.members.filter(|members| members.len() <= MAX_LENGTH).map(Into::into),
        };
        self.bytes += size(&line);
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= size(&oldest);
        }
    }

    /// Number of lines that were dropped.
    pub fn drop_one(&mut self) {
        self.dropped += 1;
    }

    pub fn find(&self, filter: &Filter) -> Found {
        let text = filter.text.as_ref().map(|text| text.to_lowercase());
        let fits = |line: &&Line| filter.fits(line, text.as_deref());
        let newer = |line: &&Line| filter.after.is_none_or(|after| line.id > after);
        let mut lines: Vec<Line>;
        let mut next = self.last;
        if filter.after.is_some() {
            lines = self.lines.iter().filter(newer).filter(fits).take(filter.limit).cloned().collect();
            if lines.len() == filter.limit {
                next = lines.last().map_or(next, |line| line.id);
            }
        } else {
            lines = self.lines.iter().rev().filter(fits).take(filter.limit).cloned().collect();
            lines.reverse();
        }
        Found { lines, frequent: self.frequent.top(TOP), dropped: self.dropped, next }
    }
}

impl Filter {
    fn fits(&self, line: &Line, text: Option<&str>) -> bool {
        line.level >= self.least
            && line.time >= self.since
            && self.whose.is_none_or(|whose| match whose {
                Whose::Drover => line.is_own,
                Whose::Worker(slot) => line.worker == Some(slot),
            })
            && self.request_id.as_deref().is_none_or(|id| line.request_id.as_deref() == Some(id))
            && text.is_none_or(|text| {
                line.msg.to_lowercase().contains(text)
                    || line
                        .members
                        .as_deref()
                        .is_some_and(|members| String::from_utf8_lossy(members).to_lowercase().contains(text))
            })
    }
}

fn size(line: &Line) -> usize {
    let optional = line.request_id.as_ref().map_or(0, |id| id.len());
    line.msg.len() + line.members.as_ref().map_or(0, |members| members.len()) + optional + BESIDE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(msg: &str, time: u64) -> Fresh<'_> {
        Fresh { time, level: 30, worker: Some(0), is_own: false, request_id: None, msg, members: None }
    }

    fn ids(found: &Found) -> Vec<u64> {
        found.lines.iter().map(|line| line.id).collect()
    }

    #[test]
    fn it_is_bounded_in_lines_and_bytes() {
        let mut tail = Tail::default();
        for at in 0..5000 {
            tail.add(fresh("short", at));
        }
        assert_eq!(tail.lines.len(), MAX_LINES);
        let long = "ü".repeat(MAX_LENGTH);
        for at in 0..1000 {
            tail.add(fresh(&long, at));
        }
        assert!(tail.bytes <= MAX_BYTES && tail.lines.len() < 200);
        assert_eq!(tail.bytes, tail.lines.iter().map(size).sum::<usize>());
        assert_eq!(tail.lines.back().map(|line| line.msg.len()), Some(MAX_LENGTH));
    }

    #[test]
    fn who_asks_for_what_comes_after_misses_and_repeats_nothing() {
        let mut tail = Tail::default();
        for at in 1..=10 {
            tail.add(fresh(if at % 2 == 0 { "even" } else { "odd" }, at));
        }
        let find = |tail: &Tail, after, limit, text: Option<&str>| {
            tail.find(&Filter { after, limit, text: text.map(str::to_owned), ..Filter::default() })
        };
        let last = find(&tail, None, 3, None);
        assert_eq!((ids(&last), last.next), (vec![8, 9, 10], 10));
        let first = find(&tail, Some(0), 2, Some("EVEN"));
        assert_eq!((ids(&first), first.next), (vec![2, 4], 4));
        let rest = find(&tail, Some(4), 100, Some("even"));
        assert_eq!((ids(&rest), rest.next), (vec![6, 8, 10], 10));
        assert_eq!(find(&tail, Some(10), 5, None).next, 10);
        tail.add(fresh("later", 11));
        assert_eq!(ids(&find(&tail, Some(10), 5, None)), [11]);
    }

    #[test]
    fn every_filter_filters() {
        let mut tail = Tail::default();
        tail.add(fresh("one", 5));
        tail.add(Fresh { worker: None, is_own: true, level: 50, ..fresh("two", 6) });
        tail.add(Fresh { request_id: Some("r"), members: Some(br#"{"user":"Ann"}"#), ..fresh("three", 7) });
        let all = Filter { limit: 10, ..Filter::default() };
        for (filter, expected) in [
            (Filter { least: 40, ..all.clone() }, 2),
            (Filter { whose: Some(Whose::Drover), ..all.clone() }, 2),
            (Filter { since: 7, ..all.clone() }, 3),
            (Filter { request_id: Some("r".into()), ..all.clone() }, 3),
            (Filter { text: Some("ann".into()), ..all.clone() }, 3),
            (Filter { whose: Some(Whose::Worker(0)), limit: 1, after: Some(0), ..all }, 1),
        ] {
            assert_eq!(ids(&tail.find(&filter)), [expected], "{filter:?}");
        }
    }
}
