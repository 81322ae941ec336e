//! Millrace plugins in Rust. An export is a function that takes a call and gives a `Result`:
//!
//! ```ignore
//! use millrace::{FetchCall, Fetched, Result, export};
//!
//! export!(fetch: prices);
//!
//! fn prices(run: FetchCall) -> Result<Fetched> {
//!     let prices = millrace::get("https://example.org/prices")?.json()?;
//!     let mut rows = run.rows();
//!     for price in prices.items() {
//!         rows.add(price);
//!     }
//!     rows.ok()
//! }
//! ```
//!
//! Every call runs on a fresh instance: statics do not outlive it. Keep state in `kv` or in cursors.

mod abi;
pub mod context;
mod error;
mod fetch;
#[cfg(target_arch = "wasm32")]
mod heap;
mod host;
mod http;
mod json;
pub mod kv;
mod network;
mod poll;
mod route;
mod sync;
mod time;

pub use abi::{input, now_ms, random, run_export};
pub use context::{Document, Documents, EnrichCall};
pub use error::{Error, Result};
pub use fetch::{Emitter, FetchCall, Fetched, IntegerRange, Pipe, RegisterCall, Registered, Rows};
pub use host::{Metric, call, call_function, call_function_within, checkpoint, emit_arrow, emit_csv, log, log_with};
pub use host::{placeholder, progress, publish, query, secret, sleep};
pub use http::{Request, Response, get};
pub use json::{Json, Object};
pub use network::{Snmp, Socket, SocketReply, ping};
pub use poll::{DiscoverCall, Discovered, Metrics, PollCall, Resource};
pub use route::{Answer, RouteCall};
pub use sync::{AfterSyncCall, BeforeSyncCall, SyncCall, Synced, Verdict};
pub use time::{DAY_US, SECOND_US, Time};

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// What an export can be called with: made of the call's input.
pub trait Call: Sized {
    fn read(input: Vec<u8>) -> Result<Self>;
}

/// What an export can give: the bytes of the call's output.
pub trait Output {
    fn write(self) -> Result<Vec<u8>>;
}

impl Call for Json {
    fn read(input: Vec<u8>) -> Result<Json> {
        Json::parse(&input)
    }
}

impl Output for Json {
    fn write(self) -> Result<Vec<u8>> {
        Ok(self.to_string().into_bytes())
    }
}

/// Defines exports: `export!(fetch: prices, poll: measure, "function:convert": convert);`
#[macro_export]
macro_rules! export {
    ($($name:ident : $function:path),+ $(,)?) => {$(
        const _: () = {
            #[unsafe(export_name = stringify!($name))]
            extern "C" fn exported() -> i32 {
                $crate::run_export($function)
            }
        };
    )+};
    ($($name:literal : $function:path),+ $(,)?) => {$(
        const _: () = {
            #[unsafe(export_name = $name)]
            extern "C" fn exported() -> i32 {
                $crate::run_export($function)
            }
        };
    )+};
}
