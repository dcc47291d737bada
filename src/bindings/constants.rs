//! Constants that JavaScript shares with the core, which defines them.

use napi_derive::napi;
use serde_json::{Value, json};

use super::worker::kind;
use super::{cache, messages};
use crate::cache::layout::{self, Kind, entry, figure, header, more};
use crate::cache::request::{Operation, Status, notice};
use crate::ipc::message::{Format, What};
use crate::ipc::ticket_keys;
use crate::log::{GOES_ON, ID_BEGINS, ID_ENDS};
use crate::metrics::histogram::{BUCKETS, STEPS};
use crate::metrics::layout::{page, segment};
use crate::worker::Notice;

/// The cells of a process's page that JavaScript writes (see [`page`]), with the layout of a histogram; and the cell of
/// dropped values of a program's metrics (see [`segment`]).
#[napi(object, object_from_js = false)]
pub struct Cells {
    #[napi(js_name = "CLOSED")]
    pub closed: u32,
    #[napi(js_name = "REQUESTS")]
    pub requests: u32,
    #[napi(js_name = "RESPONSES")]
    pub responses: u32,
    #[napi(js_name = "DURATION")]
    pub duration: u32,
    #[napi(js_name = "LATENCY")]
    pub latency: u32,
    #[napi(js_name = "AFFINITY_MISMATCH")]
    pub affinity_mismatch: u32,
    #[napi(js_name = "CLOCK")]
    pub clock: u32,
    #[napi(js_name = "ABORTED")]
    pub aborted: u32,
    #[napi(js_name = "STATUS")]
    pub status: u32,
    #[napi(js_name = "HEAP_USED")]
    pub heap_used: u32,
    #[napi(js_name = "HEAP_TOTAL")]
    pub heap_total: u32,
    #[napi(js_name = "EXTERNAL")]
    pub external: u32,
    #[napi(js_name = "FAILED")]
    pub failed: u32,
    #[napi(js_name = "STREAK")]
    pub streak: u32,
    #[napi(js_name = "RECEIVED")]
    pub received: u32,
    #[napi(js_name = "SENT")]
    pub sent: u32,
    #[napi(js_name = "REFUSED")]
    pub refused: u32,
    #[napi(js_name = "ARRIVED_AFTER")]
    pub arrived_after: u32,
    #[napi(js_name = "HISTOGRAM")]
    pub histogram: u32,
    #[napi(js_name = "BUCKETS")]
    pub buckets: u32,
    /// Buckets per doubling.
    #[napi(js_name = "STEPS")]
    pub steps: u32,
    #[napi(js_name = "METRICS_DROPPED")]
    pub metrics_dropped: u32,
}

/// The kinds of notifications that a worker's JavaScript gets.
#[napi(object, object_from_js = false)]
pub struct Notifications {
    pub drain: u32,
    pub shutdown_notice: u32,
    pub gone: u32,
    pub time_up: u32,
    pub command_result: u32,
    pub unready: u32,
    pub rebalance: u32,
    pub lead: u32,
    pub event: u32,
    pub check: u32,
    pub diagnose: u32,
    pub close_server: u32,
    pub late: u32,
    pub memory: u32,
    pub admission: u32,
}

/// Numbers of messages and of processes (see [`messages`]).
#[napi(object, object_from_js = false)]
pub struct Messages {
    #[napi(js_name = "NOTIFICATION")]
    pub notification: u32,
    #[napi(js_name = "REQUEST")]
    pub request: u32,
    #[napi(js_name = "RESPONSE")]
    pub response: u32,
    #[napi(js_name = "FAILURE")]
    pub failure: u32,
    #[napi(js_name = "JSON_TEXT")]
    pub json_text: u32,
    #[napi(js_name = "CLONE")]
    pub clone: u32,
    #[napi(js_name = "JSON_AND_BUFFERS")]
    pub json_and_buffers: u32,
    #[napi(js_name = "PRIMARY")]
    pub primary: f64,
    #[napi(js_name = "REFUSED")]
    pub refused: f64,
    #[napi(js_name = "NOBODY")]
    pub nobody: f64,
    /// A worker's id as a number is its generation times this, plus its slot.
    #[napi(js_name = "GENERATION")]
    pub generation: f64,
}

/// The memory of the keys of TLS session tickets (see [`ticket_keys`]).
#[napi(object, object_from_js = false)]
pub struct Tickets {
    pub keys: u32,
    /// Bytes of a key: its name, its HMAC key and its cipher key, of equal length.
    pub key_bytes: u32,
    /// Bytes before the first key.
    pub offset: u32,
}

/// Marks in a worker's output, which the log removes.
#[napi(object, object_from_js = false)]
pub struct LogMarks {
    /// Before the end of a line whose record continues in the next one.
    pub continues: String,
    /// Around the id of a request, at the beginning of a line.
    pub id_begins: String,
    pub id_ends: String,
}

#[napi(object, object_from_js = false)]
pub struct Constants {
    pub cells: Cells,
    pub notifications: Notifications,
    pub messages: Messages,
    pub tickets: Tickets,
    pub log_marks: LogMarks,
    /// The layout of the shared cache's memory in bytes, with the numbers of requests and answers.
    #[napi(ts_type = "any")]
    pub cache: Value,
    /// The numbers of requests to the fleet, of its answers and notices.
    #[napi(ts_type = "any")]
    pub fleet: Value,
}

fn cell(number: usize) -> u32 {
    u32::try_from(number).expect("a page has few cells")
}

/// All shared constants.
#[napi(js_name = "constants")]
pub fn constants() -> Constants {
    Constants {
        cells: Cells {
            closed: cell(page::CLOSED),
            requests: cell(page::REQUESTS),
            responses: cell(page::RESPONSES),
            duration: cell(page::DURATION),
            latency: cell(page::LATENCY),
            affinity_mismatch: cell(page::AFFINITY_MISMATCH),
            clock: cell(page::CLOCK),
            aborted: cell(page::ABORTED),
            status: cell(page::STATUS),
            heap_used: cell(page::HEAP_USED),
            heap_total: cell(page::HEAP_TOTAL),
            external: cell(page::EXTERNAL),
            failed: cell(page::FAILED),
            streak: cell(page::STREAK),
            received: cell(page::RECEIVED),
            sent: cell(page::SENT),
            refused: cell(page::REFUSED),
            arrived_after: cell(page::ARRIVED_AFTER),
            histogram: cell(page::HISTOGRAM),
            buckets: cell(BUCKETS),
            steps: STEPS as u32,
            metrics_dropped: cell(segment::DROPPED),
        },
        notifications: Notifications {
            drain: kind(Notice::Drain),
            shutdown_notice: kind(Notice::ShutdownNotice),
            gone: kind(Notice::Gone),
            time_up: kind(Notice::TimeUp),
            command_result: kind(Notice::CommandResult),
            unready: kind(Notice::Unready),
            rebalance: kind(Notice::HandoffRequested),
            lead: kind(Notice::Lead),
            event: kind(Notice::Event),
            check: kind(Notice::Check),
            diagnose: kind(Notice::Diagnose),
            close_server: kind(Notice::CloseServer),
            late: kind(Notice::Late),
            memory: kind(Notice::Memory),
            admission: kind(Notice::Admission),
        },
        messages: Messages {
            notification: What::Notify as u32,
            request: What::Request as u32,
            response: What::Answer as u32,
            failure: What::Failure as u32,
            json_text: Format::Json as u32,
            clone: Format::Clone as u32,
            json_and_buffers: Format::JsonAndBuffers as u32,
            primary: messages::PRIMARY,
            refused: messages::REFUSED,
            nobody: messages::NOBODY,
            generation: messages::GENERATIONS,
        },
        tickets: Tickets {
            keys: ticket_keys::KEYS,
            key_bytes: cell(ticket_keys::KEY_BYTES),
            offset: cell((ticket_keys::EPOCH + 1) * 8),
        },
        log_marks: LogMarks {
            continues: char::from(GOES_ON).to_string(),
            id_begins: char::from(ID_BEGINS).to_string(),
            id_ends: char::from(ID_ENDS).to_string(),
        },
        cache: cache_constants(),
        fleet: fleet_constants(),
    }
}

fn fleet_constants() -> Value {
    use crate::fleet::request::{notice, operation, status};
    json!({
        "operation": {
            "BROADCAST": operation::BROADCAST,
            "ANSWER": operation::ANSWER,
            "INVALIDATE": operation::INVALIDATE,
            "MEMBERS": operation::MEMBERS,
            "LOCAL": operation::LOCAL,
            "LEADER": operation::LEADER,
            "LOAD": operation::LOAD,
            "STORE": operation::STORE,
            "REMOVE": operation::REMOVE,
            "COUNT": operation::COUNT,
            "PEEK": operation::PEEK,
            "ASSIGN": operation::ASSIGN,
            "TAKE": operation::TAKE,
            "LIST": operation::LIST,
            "CLEAR": operation::CLEAR,
        },
        "status": {
            "DONE": status::DONE,
            "UNAVAILABLE": status::UNAVAILABLE,
            "INVALID": status::INVALID,
            "REFUSED": status::REFUSED,
            "PART": status::PART,
        },
        "notice": { "STATE": notice::STATE, "MESSAGE": notice::MESSAGE, "MEMBER": notice::MEMBER },
    })
}

fn cache_constants() -> Value {
    json!({
        "layout": {
            // Cells of 32 bits.
            "MASK": header::MASK,
            "SEED": header::SEED,
            "ARENA": header::ARENA,
            "END": header::END,
            "RETIRED": header::RETIRED,
            // Bytes.
            "APPLIED": layout::APPLIED,
            "BUCKETS": layout::BUCKETS,
            "UNIT": layout::UNIT,
            "HINT_SPAN": layout::HINT_SPAN,
            // Within an entry.
            "NEXT": entry::NEXT,
            "HASH": entry::HASH,
            "SHAPE": entry::SHAPE,
            "EXPIRES": entry::EXPIRES,
            "VALUE_BYTES": entry::VALUE_BYTES,
            "MORE": entry::MORE,
            "GRACE": entry::GRACE,
            "EARLY": entry::EARLY,
            "KEY": entry::KEY,
            // Within a further block.
            "MORE_NEXT": more::NEXT,
            "MORE_BYTES": more::BYTES,
            "MORE_DATA": more::DATA,
        },
        "kind": {
            "TEXT": Kind::Text as u8,
            "WIDE_TEXT": Kind::WideText as u8,
            "BYTES": Kind::Bytes as u8,
            "JSON_TEXT": Kind::Json as u8,
            "WIDE_JSON": Kind::WideJson as u8,
            "CLONE": Kind::Clone as u8,
            "COUNTER": Kind::Counter as u8,
        },
        "operation": {
            "SET": Operation::Set as u8,
            "DELETE": Operation::Delete as u8,
            "INCREMENT": Operation::Increment as u8,
            "COMPARE_AND_SET": Operation::CompareAndSet as u8,
            "INVALIDATE": Operation::Invalidate as u8,
            "INVALIDATE_TAG": Operation::InvalidateTag as u8,
            "CLAIM": Operation::Claim as u8,
            "RELEASE": Operation::Release as u8,
            "SYNC": Operation::Sync as u8,
            "NAMESPACE": Operation::Namespace as u8,
            "FOLLOW": Operation::Follow as u8,
            "ONCE": Operation::Once as u8,
            "FINISH": Operation::Finish as u8,
        },
        "flag": {
            "AWAITED": cache::flag::AWAITED << 16,
            "LANDS": cache::flag::LANDS << 16,
            "HAS_VALUE": cache::flag::HAS_VALUE << 16,
            "HAS_TAGS": cache::flag::HAS_TAGS << 16,
            "HAS_EXPECTED": cache::flag::HAS_EXPECTED << 16,
        },
        "notice": {
            "NOTICE": cache::NOTICE,
            "REMAPPED": cache::REMAPPED,
            "EVICTED": notice::EVICTED,
            "INVALIDATED": notice::INVALIDATED,
            "UNTAGGED": notice::UNTAGGED,
            "DROPPED": notice::DROPPED,
        },
        // The cells of a row of the statistics.
        "figure": {
            "NEAR_HITS": figure::NEAR_HITS,
            "FAR_HITS": figure::FAR_HITS,
            "MISSES": figure::MISSES,
            "COMPUTED": figure::COMPUTED,
            "WAITED": figure::WAITED,
            "ENTRIES": figure::ENTRIES,
            "BYTES": figure::BYTES,
            "SETS": figure::SETS,
            "EVICTED": figure::EVICTED,
            "EXPIRED": figure::EXPIRED,
            "INVALIDATED": figure::INVALIDATED,
            "REFUSED": figure::REFUSED,
            "COUNT": figure::COUNT,
        },
        "status": {
            "DONE": Status::Done as u8,
            "NO": Status::No as u8,
            "OWNED": Status::Owned as u8,
            "LANDED": Status::Landed as u8,
            "KEY_TOO_LONG": Status::KeyTooLong as u8,
            "VALUE_TOO_LARGE": Status::ValueTooLarge as u8,
            "NO_ROOM": Status::NoRoom as u8,
            "NOT_A_NUMBER": Status::NotANumber as u8,
            "OUT_OF_RANGE": Status::OutOfRange as u8,
            "CLOSED": cache::CLOSED,
        },
    })
}
