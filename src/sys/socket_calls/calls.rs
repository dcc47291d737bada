//! The replacements. Each does what the call of the same name does, except for a virtual listener and its connections.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, IntoRawFd};

use libc::{size_t, ssize_t};

use super::followed::{BOUND, NEXT, POLLED, PollEntry, Role, role, set_role, with_sockets};

/// What is replaced, by name.
pub(super) const REPLACEMENTS: [(&CStr, *const c_void); 11] = [
    (c"bind", bind as *const c_void),
    (c"listen", listen as *const c_void),
    (c"getsockname", getsockname as *const c_void),
    (c"accept4", accept4 as *const c_void),
    (c"recv", recv as *const c_void),
    (c"send", send as *const c_void),
    (c"sendmsg", sendmsg as *const c_void),
    (c"writev", writev as *const c_void),
    (c"epoll_ctl", epoll_ctl as *const c_void),
    (c"unlink", unlink as *const c_void),
    (c"close", close as *const c_void),
];

/// The virtual listener takes the place of the runtime's socket, under the same number.
///
/// # Safety
/// As for bind(2): the runtime calls it.
unsafe extern "C" fn bind(fd: c_int, name: *const libc::sockaddr, length: libc::socklen_t) -> c_int {
    let next = NEXT.try_with(|next| next.try_borrow_mut().ok()?.take()).ok().flatten();
    let Some((virtual_listener, poll)) = next else {
        // SAFETY: the runtime's own call.
        return unsafe { libc::bind(fd, name, length) };
    };
    // SAFETY: both are descriptors, and the runtime knows its own by number only.
    if unsafe { libc::dup3(poll.as_raw_fd(), fd, libc::O_CLOEXEC) } < 0 {
        return -1;
    }
    if !set_role(fd, Role::VirtualListener(virtual_listener)) {
        set_errno(libc::EMFILE);
        return -1;
    }
    BOUND.set(true);
    0
}

/// # Safety
/// As for listen(2): the runtime calls it.
unsafe extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    match role(fd) {
        Role::VirtualListener(_) => 0,
        // SAFETY: the runtime's own call.
        Role::None | Role::Connection | Role::Datagrams | Role::Unread => unsafe {
            libc::listen(fd, backlog)
        },
    }
}

/// # Safety
/// As for getsockname(2): the runtime calls it.
unsafe extern "C" fn getsockname(
    fd: c_int,
    name: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> c_int {
    if let Role::VirtualListener(virtual_listener) = role(fd)
        && let Some(address) = with_sockets(|sockets| sockets.address_of(virtual_listener)).flatten()
    {
        // SAFETY: the runtime's own pointers.
        unsafe { address.write(name, length) };
        return 0;
    }
    // SAFETY: the runtime's own call.
    unsafe { libc::getsockname(fd, name, length) }
}

/// # Safety
/// As for accept4(2): the runtime calls it.
unsafe extern "C" fn accept4(
    fd: c_int,
    name: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
    flags: c_int,
) -> c_int {
    let Role::VirtualListener(virtual_listener) = role(fd) else {
        // SAFETY: the runtime's own call.
        return unsafe { libc::accept4(fd, name, length, flags) };
    };
    let Some(connection) = with_sockets(|sockets| sockets.accept(virtual_listener)).flatten() else {
        set_errno(libc::EAGAIN);
        return -1;
    };
    let connection = connection.into_raw_fd();
    if !set_role(connection, Role::Connection) {
        with_sockets(|sockets| sockets.closed(connection));
    }
    // SAFETY: the caller's buffers, as for accept4.
    unsafe { write_peer(connection, name, length) };
    connection
}

/// Writes the client's address as accept4 does; no address if the client has gone meanwhile.
///
/// # Safety
/// The pointers are null or those of an accept4.
unsafe fn write_peer(connection: c_int, name: *mut libc::sockaddr, length: *mut libc::socklen_t) {
    if name.is_null() || length.is_null() {
        return;
    }
    // SAFETY: by contract `name` has room for `length` bytes, of which the first two are its family.
    unsafe {
        if libc::getpeername(connection, name, length) != 0 {
            (*name).sa_family = libc::AF_UNSPEC as libc::sa_family_t;
            *length = size_of::<libc::sa_family_t>() as libc::socklen_t;
        }
    }
}

/// # Safety
/// As for recv(2): the runtime calls it.
unsafe extern "C" fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the runtime's own call.
    let received = unsafe { libc::recv(fd, buffer, length, flags) };
    if role(fd) == Role::Connection
        && flags & libc::MSG_PEEK == 0
        && let Ok(count) = usize::try_from(received)
    {
        // SAFETY: the kernel has written so many bytes to the runtime's buffer.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), count) };
        with_sockets(|sockets| sockets.received(fd, bytes));
    }
    received
}

/// # Safety
/// As for send(2): the runtime calls it.
unsafe extern "C" fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the runtime's own call.
    let sent = unsafe { libc::send(fd, buffer, length, flags) };
    if role(fd) == Role::Connection {
        // SAFETY: the runtime's buffer, of this length.
        unsafe { report_sent(fd, &[libc::iovec { iov_base: buffer.cast_mut(), iov_len: length }], sent) };
    }
    sent
}

/// # Safety
/// As for sendmsg(2): the runtime calls it.
unsafe extern "C" fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the runtime's own call.
    let sent = unsafe { libc::sendmsg(fd, message, flags) };
    if role(fd) == Role::Connection && sent > 0 {
        // SAFETY: the message that the kernel has just read, with buffers of the runtime.
        unsafe {
            #[allow(clippy::unnecessary_cast, reason = "musl's is a c_int")]
            let parts = std::slice::from_raw_parts((*message).msg_iov, (*message).msg_iovlen as usize);
            report_sent(fd, parts, sent);
        }
    }
    sent
}

/// # Safety
/// As for writev(2): the runtime calls it.
unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> ssize_t {
    // SAFETY: the runtime's own call.
    let sent = unsafe { libc::writev(fd, parts, count) };
    if role(fd) == Role::Connection && sent > 0 {
        // SAFETY: as many buffers of the runtime as the kernel has just read.
        unsafe { report_sent(fd, std::slice::from_raw_parts(parts, count as usize), sent) };
    }
    sent
}

/// Reports the first `sent` bytes of `parts`.
///
/// # Safety
/// Each part is a readable buffer.
unsafe fn report_sent(fd: c_int, parts: &[libc::iovec], sent: ssize_t) {
    let mut left = usize::try_from(sent).unwrap_or(0);
    for part in parts {
        let length = part.iov_len.min(left);
        if length == 0 {
            continue;
        }
        // SAFETY: by contract, for no more than its length.
        let bytes = unsafe { std::slice::from_raw_parts(part.iov_base.cast::<u8>(), length) };
        with_sockets(|sockets| sockets.sent(fd, bytes));
        left -= length;
    }
}

/// # Safety
/// As for epoll_ctl(2): the runtime calls it.
unsafe extern "C" fn epoll_ctl(
    poll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut libc::epoll_event,
) -> c_int {
    let role = role(fd);
    if operation == libc::EPOLL_CTL_DEL || event.is_null() || role == Role::None {
        // SAFETY: the runtime's own call.
        return unsafe { libc::epoll_ctl(poll, operation, fd, event) };
    }
    // SAFETY: the runtime's record, which the kernel would read.
    let libc::epoll_event { events, u64: data } = unsafe { event.read() };
    let events = if role == Role::Unread { events & !READABLE } else { events };
    let entry = PollEntry { poll, events, data };
    let done = control(operation, fd, entry);
    if done == 0 {
        match role {
            Role::Connection => {
                with_sockets(|sockets| sockets.polled(fd, entry));
            }
            Role::Datagrams => POLLED.with_borrow_mut(|polled| {
                polled.insert(fd, entry);
            }),
            Role::None | Role::Unread | Role::VirtualListener(_) => {}
        }
    }
    done
}

#[allow(clippy::cast_sign_loss, reason = "bits")]
const READABLE: u32 = libc::EPOLLIN as u32;

fn control(operation: c_int, fd: c_int, entry: PollEntry) -> c_int {
    let mut event = libc::epoll_event { events: entry.events, u64: entry.data };
    // SAFETY: descriptors by number, and a record of this function.
    unsafe { libc::epoll_ctl(entry.poll, operation, fd, &raw mut event) }
}

/// The descriptor's entry is as before, but it is never readable.
pub(super) fn mute(fd: c_int, entry: PollEntry) -> io::Result<()> {
    let unread = PollEntry { events: entry.events & !READABLE, ..entry };
    if control(libc::EPOLL_CTL_MOD, fd, unread) == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts the socket `dead` in the place of a connection, polled as that was.
pub(super) fn end(fd: c_int, dead: c_int, entry: PollEntry) -> io::Result<()> {
    let mut event = libc::epoll_event { events: entry.events, u64: entry.data };
    // SAFETY: descriptors of this process by number; the runtime knows `fd` by its number only.
    let done = unsafe {
        libc::epoll_ctl(entry.poll, libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut());
        libc::dup3(dead, fd, libc::O_CLOEXEC) < 0
            || libc::epoll_ctl(entry.poll, libc::EPOLL_CTL_ADD, fd, &raw mut event) != 0
    };
    if done { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// # Safety
/// As for unlink(2): the runtime calls it.
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the runtime's NUL-terminated path.
    let is_kept = with_sockets(|sockets| sockets.keeps(unsafe { CStr::from_ptr(path) }));
    if is_kept == Some(true) {
        return 0;
    }
    // SAFETY: the runtime's own call.
    unsafe { libc::unlink(path) }
}

/// # Safety
/// As for close(2): the runtime calls it.
unsafe extern "C" fn close(fd: c_int) -> c_int {
    let was = role(fd);
    if was != Role::None {
        // Before the number can be used again.
        set_role(fd, Role::None);
        match was {
            Role::Connection => {
                with_sockets(|sockets| sockets.closed(fd));
            }
            Role::Datagrams | Role::Unread => POLLED.with_borrow_mut(|polled| {
                polled.remove(&fd);
            }),
            Role::None | Role::VirtualListener(_) => {}
        }
    }
    // SAFETY: the runtime's own call.
    unsafe { libc::close(fd) }
}

fn set_errno(errno: c_int) {
    // SAFETY: errno is the thread's own.
    unsafe { *libc::__errno_location() = errno };
}
