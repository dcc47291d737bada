//! What the primary and a worker say to each other: frames (bytes), control messages (meaning), the
//! channel that carries them, and parcels of accepted connections. User code never sees a control message; nothing here decides anything.

pub mod channel;
pub mod control;
pub mod frame;
pub mod parcel;
