//! The address of a socket, kept without the socket.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Clone, Copy)]
pub struct SocketName {
    address: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl SocketName {
    /// # Errors
    /// It is no socket.
    pub fn of(socket: &OwnedFd) -> io::Result<Self> {
        // SAFETY: a plain C record, for which zeros are a value.
        let mut address: libc::sockaddr_storage = unsafe { zeroed() };
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // SAFETY: the record has room for `length` bytes.
        let done =
            unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
        if done == 0 { Ok(Self { address, length }) } else { Err(io::Error::last_os_error()) }
    }

    /// Writes it as getsockname(2) does.
    ///
    /// # Safety
    /// The pointers are those of a getsockname(2).
    pub(super) unsafe fn write(&self, name: *mut libc::sockaddr, length: *mut libc::socklen_t) {
        // SAFETY: by contract `name` has room for `*length` bytes; the record has as many as are copied.
        unsafe {
            let count = (*length).min(self.length) as usize;
            name.cast::<u8>().copy_from_nonoverlapping((&raw const self.address).cast(), count);
            *length = self.length;
        }
    }
}
