//! The import table of the running program: where it keeps the addresses of functions of shared libraries (ELF gABI,
//! "Dynamic Linking"; <https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html>).

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The types of relocations by which a call finds its function, with and without lazy binding.
#[cfg(target_arch = "x86_64")]
const CALLS: [u32; 2] = [7, 6];
#[cfg(target_arch = "aarch64")]
const CALLS: [u32; 2] = [1026, 1025];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CALLS: [u32; 0] = [];

/// Tags of the dynamic section.
const PLT_RELOCATION_BYTES: u64 = 2;
const STRINGS: u64 = 5;
const SYMBOLS: u64 = 6;
const RELOCATIONS: u64 = 7;
const RELOCATION_BYTES: u64 = 8;
const PLT_RELOCATIONS: u64 = 23;

/// Elf64_Dyn.
#[repr(C)]
struct Dynamic {
    tag: u64,
    value: u64,
}

/// Elf64_Rela.
#[repr(C)]
struct Relocation {
    offset: u64,
    info: u64,
    addend: i64,
}

/// Elf64_Sym.
#[repr(C)]
struct Symbol {
    name: u32,
    _info: u8,
    _other: u8,
    _section: u16,
    _value: u64,
    _size: u64,
}

/// Addresses of tables in the dynamic section; 0: there is none.
#[derive(Default)]
struct Tables {
    strings: usize,
    symbols: usize,
    relocations: [(usize, usize); 2],
}

/// Where the program keeps one function's address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(usize);

pub(super) struct ImportTable(HashMap<CString, Entry>);

impl ImportTable {
    /// # Errors
    /// The program has none that can be read.
    pub fn of_program() -> io::Result<Self> {
        let mut found = HashMap::new();
        // SAFETY: `read` gets the address of `found`, which lives longer than the call, and treats it as what it is.
        unsafe { libc::dl_iterate_phdr(Some(read), (&raw mut found).cast()) };
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the program has no import table"));
        }
        Ok(Self(found))
    }

    pub fn entry(&self, name: &CStr) -> Option<Entry> {
        self.0.get(name).copied()
    }
}

/// Reads the table of the first object, which is the program itself (dl_iterate_phdr(3)).
///
/// # Safety
/// Called by dl_iterate_phdr, with a map for what is found.
unsafe extern "C" fn read(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr passes a valid record, and `of_program` this map, exclusively.
    let (info, found) = unsafe { (&*info, &mut *found.cast::<HashMap<CString, Entry>>()) };
    let base = info.dlpi_addr as usize;
    // SAFETY: the program's own headers, as many as the record says.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let Some(dynamic) = headers.iter().find(|header| header.p_type == libc::PT_DYNAMIC) else { return 1 };
    let tables = tables(base, base + dynamic.p_vaddr as usize);
    if tables.strings == 0 || tables.symbols == 0 {
        return 1;
    }
    for (first, bytes) in tables.relocations.into_iter().filter(|(first, _)| *first != 0) {
        // SAFETY: the dynamic section of a running program describes its relocations, which stay mapped.
        let relocations = unsafe {
            std::slice::from_raw_parts(first as *const Relocation, bytes / size_of::<Relocation>())
        };
        for relocation in relocations.iter().filter(|one| CALLS.contains(&(one.info as u32))) {
            let symbol = tables.symbols + (relocation.info >> 32) as usize * size_of::<Symbol>();
            // SAFETY: as above, for the symbol of a relocation and its NUL-terminated name.
            let name = unsafe {
                let symbol = &*(symbol as *const Symbol);
                CStr::from_ptr((tables.strings + symbol.name as usize) as *const c_char)
            };
            found.insert(name.to_owned(), Entry(base + relocation.offset as usize));
        }
    }
    1
}

fn tables(base: usize, dynamic: usize) -> Tables {
    let mut found = Tables::default();
    // Some C libraries relocate the addresses in this section (glibc), others leave them relative (musl).
    let address = |value: usize| if value < base { base + value } else { value };
    for at in 0.. {
        // SAFETY: the section is mapped and ends with a null tag.
        let Dynamic { tag, value } = unsafe { &*((dynamic + at * size_of::<Dynamic>()) as *const Dynamic) };
        let value = *value as usize;
        match *tag {
            0 => break,
            STRINGS => found.strings = address(value),
            SYMBOLS => found.symbols = address(value),
            RELOCATIONS => found.relocations[0].0 = address(value),
            RELOCATION_BYTES => found.relocations[0].1 = value,
            PLT_RELOCATIONS => found.relocations[1].0 = address(value),
            PLT_RELOCATION_BYTES => found.relocations[1].1 = value,
            _ => {}
        }
    }
    found
}

impl Entry {
    /// Calls through this entry reach `function` from now on.
    ///
    /// # Errors
    /// The table's page cannot be made writable.
    ///
    /// # Safety
    /// `function` has the type of the function that this entry is for, and does what its callers rely on.
    pub unsafe fn replace(self, function: *const c_void) -> io::Result<()> {
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let page = usize::try_from(page).unwrap_or(4096);
        let first = self.0 & !(page - 1);
        // A program linked with RELRO has a read-only table.
        // SAFETY: the page of a table that stays mapped; what is written elsewhere in it stays possible.
        let changed =
            unsafe { libc::mprotect(first as *mut c_void, page, libc::PROT_READ | libc::PROT_WRITE) };
        if changed != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an aligned pointer of the import table, which other threads only read, in one access.
        let entry = unsafe { AtomicPtr::from_ptr(self.0 as *mut *mut c_void) };
        entry.store(function.cast_mut(), Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_finds_where_it_calls_the_c_library() {
        let table = ImportTable::of_program().unwrap();
        assert!(table.entry(c"write").is_some(), "every program of Rust's writes");
        assert!(table.entry(c"no_such_function").is_none());
    }
}
