//! Attaches a classic BPF program to a group of SO_REUSEPORT sockets (socket(7), SO_ATTACH_REUSEPORT_CBPF).
//! Needs no privilege; replacing a program is atomic for the connections that arrive meanwhile.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction as the kernel reads it: operation, two jump offsets, operand.
pub type RawInstruction = (u16, u8, u8, u32);

/// Steers the whole group that `member` belongs to by `program`; the value it returns is a member's index.
pub fn attach(member: BorrowedFd<'_>, program: &[RawInstruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let fprog = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: `fprog` and the instructions it points to live until the call returns; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            member.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const fprog).cast(),
            size_of_val(&fprog) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
