//! Attaches classic BPF programs to sockets (socket(7)): one that steers a group of SO_REUSEPORT sockets
//! (SO_ATTACH_REUSEPORT_CBPF), or one that filters what comes to a socket (SO_ATTACH_FILTER). Needs no privilege;
//! replacing a program is atomic for what arrives meanwhile.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// One instruction as the kernel reads it: operation, two jump offsets, operand.
pub type RawInstruction = (u16, u8, u8, u32);

/// Steers the whole group that `member` belongs to by `program`; the value it returns is a member's index.
pub fn attach(member: BorrowedFd<'_>, program: &[RawInstruction]) -> io::Result<()> {
    set(member, libc::SO_ATTACH_REUSEPORT_CBPF, program)
}

/// From now on `socket` gets of each packet as many bytes as `program` returns, 0: the packet is dropped. That is true
/// for every descriptor of the socket, whichever process has it, and for connections that it accepts from then on.
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
