//! Looks symbols of the runtime up at run time, so that test binaries link without a runtime and a runtime
//! that lacks a symbol can still load the addon.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// The address of `name` in this process, or None where the runtime has no such symbol.
pub fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: dlsym reads the NUL-terminated name and returns an address or null; nothing is called here.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}
