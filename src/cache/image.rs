//! The cache's contents as a file, for the time between two primaries: what was written at a stop is read at the next
//! start.
//!
//! The file begins with [`MAGIC`]; each entry follows as the [`super::request`] that sets it, after its length (u32,
//! little-endian); then the length 0 and the SHA-256 of everything before. A file that is not whole is not read at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

use super::request::{Operation, Request};
use super::store::{Millis, Store, Write as Value};

const MAGIC: &[u8] = b"drover cache 1\n";

/// Bytes of an entry that are read at a time if it is too large to be stored.
const SKIPPED: usize = 64 * 1024;

/// Writes the entries that have not ended; returns how many. The file is replaced when it is whole, and only its owner
/// can read it.
///
/// # Errors
/// It cannot be written; a file that was there is unchanged.
pub fn save(store: &Store, path: &Path, now: Millis) -> io::Result<usize> {
    let staging = staging(path);
    let saved = write_to(store, &staging, now).and_then(|entries| {
        fs::rename(&staging, path)?;
        Ok(entries)
    });
    if saved.is_err() {
        // It may not exist.
        let _ = fs::remove_file(&staging);
    }
    saved
}

fn staging(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn write_to(store: &Store, path: &Path, now: Millis) -> io::Result<usize> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut file = Digested { file: BufWriter::new(file), digest: Context::new(&SHA256) };
    file.write(MAGIC)?;
    let mut entries = 0;
    store.for_each(now, |request| {
        entries += 1;
        let parts = request.parts();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let head = request.head();
        file.write(&((head.len() + length) as u32).to_le_bytes())?;
        file.write(&head)?;
        parts.iter().try_for_each(|part| file.write(part))
    })?;
    file.write(&[0; 4])?;
    let Digested { file: mut writer, digest } = file;
    writer.write_all(digest.finish().as_ref())?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    Ok(entries)
}

struct Digested {
    file: BufWriter<File>,
    digest: Context,
}

impl Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.file.write_all(bytes)
    }
}

/// Reads the entries of a file that is whole; returns how many there are. None: there is no file.
///
/// # Errors
/// It cannot be read, or is not whole; nothing was stored then.
pub fn load(store: &mut Store, path: &Path, now: Millis) -> io::Result<Option<usize>> {
    match File::open(path) {
        Ok(file) => each(file, store.max_request(), |_| {})?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut entries = 0;
    each(File::open(path)?, store.max_request(), |request| {
        let Request { key, kind, value, expires, grace, early, .. } = *request;
        let ended = expires != 0 && expires + u64::from(grace) <= now;
        // What has no room any more was evicted in the same way before.
        if !ended && store.set(Value { key, kind, value, expires, grace, early }, request.each_tag()).is_ok()
        {
            entries += 1;
        }
    })?;
    Ok(Some(entries))
}

/// Calls `act` with each entry of a file, and checks that the file is whole.
fn each(file: impl Read, most: usize, mut act: impl FnMut(&Request<'_>)) -> io::Result<()> {
    let damaged = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut file = BufReader::new(file);
    let mut digest = Context::new(&SHA256);
    let mut bytes = vec![0; MAGIC.len()];
    file.read_exact(&mut bytes)?;
    if bytes != MAGIC {
        return Err(damaged("it is no image of a cache, or one of another version"));
    }
    digest.update(&bytes);
    loop {
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        digest.update(&length);
        let length = u32::from_le_bytes(length) as usize;
        if length == 0 {
            break;
        }
        if length > most {
            // It was written by a cache of a larger size, and has no room in this one.
            let mut left = length;
            while left > 0 {
                bytes.resize(left.min(SKIPPED), 0);
                file.read_exact(&mut bytes)?;
                digest.update(&bytes);
                left -= bytes.len();
            }
            continue;
        }
        bytes.resize(length, 0);
        file.read_exact(&mut bytes)?;
        digest.update(&bytes);
        match Request::read(&bytes) {
            Some(request) if request.operation == Operation::Set => act(&request),
            _ => return Err(damaged("an entry is damaged")),
        }
    }
    let mut expected = [0; SHA256_OUTPUT_LEN];
    file.read_exact(&mut expected)?;
    if digest.finish().as_ref() != expected || file.read(&mut [0])? != 0 {
        return Err(damaged("its checksum differs"));
    }
    Ok(())
}

/// For the fuzz target: reads bytes as a file.
pub fn check(bytes: &[u8]) -> io::Result<()> {
    each(bytes, 1 << 20, |_| {})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::layout::{Key, Kind};
    use crate::cache::store::Limits;

    const LIMITS: Limits = Limits { bytes: 1 << 20, entries: usize::MAX };

    fn store() -> Store {
        Store::new(LIMITS, 5).unwrap()
    }

    fn key(text: &str) -> Key<'_> {
        Key { bytes: text.as_bytes(), is_wide: false }
    }

    fn text<'a>(name: &'a str, value: &'a [u8]) -> Value<'a> {
        Value { key: key(name), kind: Kind::Text, value, expires: 0, grace: 0, early: 0 }
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("drover-image-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("cache")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_saved_is_loaded_with_its_times_tags_and_counts() {
        let folder = Folder::new("whole");
        let mut before = store();
        let large = vec![b'x'; 50_000];
        before.set(text("a\0large", &large), [b"tag".as_slice()]).unwrap();
        before.set(Value { expires: 100, grace: 50, ..text("a\0stale", b"1") }, []).unwrap();
        before.set(Value { expires: 90, ..text("a\0ended", b"1") }, []).unwrap();
        before.increment(key("a\0count"), 41, 0, 0).unwrap();
        assert_eq!(save(&before, &folder.file(), 120).unwrap(), 3);
        let mut after = store();
        assert_eq!(load(&mut after, &folder.file(), 120).unwrap(), Some(3));
        assert_eq!(after.get(key("a\0large"), 120), Some((Kind::Text, large)));
        assert_eq!(after.get(key("a\0stale"), 99), Some((Kind::Text, b"1".into())));
        assert_eq!(after.increment(key("a\0count"), 1, 0, 120), Ok(42));
        assert_eq!(after.invalidate_tag(b"tag"), 1);
        assert_eq!(load(&mut store(), &folder.file(), 200).unwrap(), Some(2), "its grace is over");
    }

    #[test]
    fn a_smaller_cache_loads_what_it_has_room_for() {
        let folder = Folder::new("smaller");
        let mut before = store();
        before.set(text("a\0large", &[1; 100_000]), []).unwrap();
        before.set(text("a\0small", b"1"), []).unwrap();
        assert_eq!(save(&before, &folder.file(), 0).unwrap(), 2);
        let mut after = Store::new(Limits { bytes: 64 * 1024, ..LIMITS }, 5).unwrap();
        assert_eq!(load(&mut after, &folder.file(), 0).unwrap(), Some(1));
        assert_eq!(after.get(key("a\0small"), 0), Some((Kind::Text, b"1".into())));
    }

    #[test]
    fn only_its_owner_can_read_it_and_nothing_else_is_left() {
        use std::os::unix::fs::MetadataExt;
        let folder = Folder::new("mode");
        save(&store(), &folder.file(), 0).unwrap();
        assert_eq!(fs::metadata(folder.file()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        assert!(save(&store(), &folder.0.join("no/such/folder"), 0).is_err());
        assert_eq!(load(&mut store(), &folder.0.join("none"), 0).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_not_whole_is_not_read() {
        let folder = Folder::new("damaged");
        let mut before = store();
        before.set(text("a\0b", b"value"), []).unwrap();
        save(&before, &folder.file(), 0).unwrap();
        let whole = fs::read(folder.file()).unwrap();
        check(&whole).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            assert!(check(&bytes).is_err(), "byte {at}");
            assert!(check(&whole[..at]).is_err(), "{at} bytes");
        }
        assert!(check(&[&whole[..], b"x"].concat()).is_err());
        fs::write(folder.file(), &whole[..whole.len() - 1]).unwrap();
        let mut after = store();
        assert!(load(&mut after, &folder.file(), 0).is_err());
        assert_eq!(after.entries(), 0);
    }
}
