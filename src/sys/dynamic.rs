//! Looks up the runtime's symbols at run time, so that test binaries link without a runtime, and a runtime that lacks a
//! symbol can still load the addon.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// The address of `name` in this process, or None if the runtime has no such symbol.
pub fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: dlsym reads the NUL-terminated name and returns an address or null; nothing is called here.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

/// As `symbol`, for one version of the name.
pub fn versioned(name: &CStr, version: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: dlvsym reads the two NUL-terminated names and returns an address or null; nothing is called here.
    NonNull::new(unsafe { libc::dlvsym(libc::RTLD_DEFAULT, name.as_ptr(), version.as_ptr()) })
}

/// A function of the runtime, as the function pointer type `F`.
///
/// # Safety
/// `F` is the function pointer type of that function as its header declares it.
pub unsafe fn function<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let address = symbol(name)?.as_ptr();
    // SAFETY: a code address is a function pointer of the right type per the contract; the sizes agree.
    Some(unsafe { std::mem::transmute_copy::<*mut c_void, F>(&address) })
}
