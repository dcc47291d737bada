//! Attaches classic BPF programs to sockets (socket(7)): one that steers a group of SO_REUSEPORT sockets
//! (SO_ATTACH_REUSEPORT_CBPF), or one that filters a socket's incoming packets (SO_ATTACH_FILTER). Needs no privilege;
//! a program is replaced atomically.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction in the kernel's form: operation, two jump offsets, operand.
pub type RawInstruction = (u16, u8, u8, u32);

/// Steers the whole group that `member` belongs to by `program`; the value it returns is a member's index.
pub fn attach(member: BorrowedFd<'_>, program: &[RawInstruction]) -> io::Result<()> {
    set(member, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

/// From now on `socket` gets as many bytes of each packet as `program` returns, 0: the packet is dropped. This applies
/// to every descriptor of the socket in every process, and to connections that it accepts from then on.
pub fn filter(socket: BorrowedFd<'_>, program: &[RawInstruction]) -> io::Result<()> {
    set(socket, libc::SO_ATTACH_FILTER, program)
}

fn set(socket: BorrowedFd<'_>, option: libc::c_int, program: &[RawInstruction]) -> io::Result<()> {
    let mut filter: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let fprog = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: `fprog` and the instructions it points to live until the call returns; the kernel copies both.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const fprog).cast(),
            size_of_val(&fprog) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
