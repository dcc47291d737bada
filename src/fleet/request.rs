//! What the clients of the fleet's thread ask, and what they are told. PURE. Requests, answers and notices are
//! [`parts`](super::parts); numbers are in decimal digits.
//!
//! A client's request has a number, which its answer names; an answer begins with a [`status`]. What the thread tells by
//! itself is a [`notice`]; a message of another machine is one with a number, which the client's [`ANSWER`] names.

/// The operations of a request, and their parts.
pub mod operation {
    /// message type, format, timeout in ms, body. The answer: for each worker of another machine, in a part of its own: machine,
    /// worker, '1' if its handler has answered, format, body.
    pub const BROADCAST: u8 = 0;
    /// The response to a message of another machine: '1' if its handler has answered, format, body.
    pub const ANSWER: u8 = 1;
    /// what (0 pattern, 1 key, 2 tag), text.
    pub const INVALIDATE: u8 = 2;
    /// The answer: the members as JSON.
    pub const MEMBERS: u8 = 3;
    /// A namespace of the cache whose contents other machines do not have.
    pub const LOCAL: u8 = 4;
    /// Resolves when this machine knows who leads: the answer is a token, or nothing.
    pub const LEADER: u8 = 5;

    // Values that are kept in Redis: a space, a name, and what follows.

    /// The answer: version, value; nothing: there is none.
    pub const LOAD: u8 = 16;
    /// value, ms of its life or 0, the version that is replaced ('' any, '0' none). The answer: '1' and the new version,
    /// or '0' and the version that is there.
    pub const STORE: u8 = 17;
    /// The answer: '1' if it was there.
    pub const REMOVE: u8 = 18;
    /// what is added, ms of a new counter's life or 0. The answer: count, ms of its life that are left or -1.
    pub const COUNT: u8 = 19;
    /// The answer: as of `COUNT`; nothing: there is no counter.
    pub const PEEK: u8 = 20;
    /// count, ms of its life or 0.
    pub const ASSIGN: u8 = 21;
    /// Takes one from a counter above 0. The answer: the count.
    pub const TAKE: u8 = 22;
    /// A space without a name. The answer: for each value, in a part of its own: name, version, value.
    pub const LIST: u8 = 23;
    /// A space without a name. The answer: how many were removed.
    pub const CLEAR: u8 = 24;
}

/// Maximum bytes of a frame, of which a message's body may have `max_message`: the members of a large fleet fit too.
pub fn max_frame(max_message: usize) -> usize {
    const LEAST: usize = 4 << 20;
    const BESIDE: usize = 64 * 1024;
    max_message.max(LEAST) + BESIDE
}

/// How an answer begins.
pub mod status {
    pub const DONE: u8 = 0;
    /// Redis cannot be reached, or refuses; why.
    pub const UNAVAILABLE: u8 = 1;
    /// The request cannot be read.
    pub const INVALID: u8 = 2;
    /// `security.ipc` does not allow it: the error as JSON.
    pub const REFUSED: u8 = 3;
    /// A part of the answer: others follow.
    pub const PART: u8 = 4;
}

/// What a client is told.
pub mod notice {
    /// The machine's id, '1' if Redis is reached, the token of the leader's lease or '', and when that ends in
    /// milliseconds on the clock of the machine.
    pub const STATE: u8 = 32;
    /// A message: the machine that has sent it, type, format, body.
    pub const MESSAGE: u8 = 33;
    /// '1' if it has joined, '0' if it has left; the member as JSON.
    pub const MEMBER: u8 = 34;
}
