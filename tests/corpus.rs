//! Replays the corpus of each fuzz target: a regression test that needs no fuzzer.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Runs `run` with every input in the corpus of a target.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(inputs.len() >= 5, "{target} has {} inputs", inputs.len());
    for input in inputs {
        // The output names the input that fails.
        println!("{}", input.display());
        run(&fs::read(input).unwrap());
    }
}

#[test]
fn frames_survive_every_cut() {
    replay("frames", targets::frames);
}

#[test]
fn a_sealed_channel_reads_nothing_but_its_peer() {
    replay("handshake", targets::handshake);
}

#[test]
fn messages_find_their_way_or_are_refused() {
    replay("router", targets::router);
}

#[test]
fn lines_of_workers_become_lines_of_the_log() {
    replay("log_lines", targets::log_lines);
}

#[test]
fn control_messages_are_understood_or_refused() {
    replay("control", targets::control);
}

#[test]
fn first_bytes_never_surprise() {
    replay("first_bytes", targets::first_bytes);
}

#[test]
fn affinity_cookies_are_drovers_own_or_nobodys() {
    replay("affinity_cookie", targets::affinity_cookie);
}

#[test]
fn a_connection_stands_where_its_bytes_say() {
    replay("http_wire", targets::http_wire);
}

#[test]
fn a_cache_survives_every_request() {
    replay("cache", targets::cache);
}

#[test]
fn a_cache_survives_every_image() {
    replay("cache_image", targets::cache_image);
}

#[test]
fn what_machines_tell_each_other_is_whole_or_refused() {
    replay("fleet", targets::fleet);
}
