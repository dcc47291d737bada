//! The scripts that Redis runs: each is one step for everybody.

use redis::Script;

pub struct Scripts {
    pub beat: Script,
    pub leave: Script,
    pub invalidate: Script,
    pub store: Script,
    pub count: Script,
    pub take: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            beat: Script::new(include_str!("scripts/beat.lua")),
            leave: Script::new(include_str!("scripts/leave.lua")),
            invalidate: Script::new(include_str!("scripts/invalidate.lua")),
            store: Script::new(include_str!("scripts/store.lua")),
            count: Script::new(include_str!("scripts/count.lua")),
            take: Script::new(include_str!("scripts/take.lua")),
        }
    }
}
