//! The guest side of ABI v1: blocks in and out, eight bytes at a time, and the two ways a call can end badly.

use crate::json::BAD_JSON;
use crate::{Call, Error, Output, Result};

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "extism:host/env")]
    unsafe extern "C" {
        pub safe fn input_length() -> i64;
        pub safe fn input_load_u8(offset: i64) -> i32;
        pub safe fn input_load_u64(offset: i64) -> i64;
        pub safe fn length(block: i64) -> i64;
        pub safe fn alloc(bytes: i64) -> i64;
        pub safe fn free(block: i64);
        pub safe fn load_u8(address: i64) -> i32;
        pub safe fn load_u64(address: i64) -> i64;
        pub safe fn store_u8(address: i64, value: i32);
        pub safe fn store_u64(address: i64, value: i64);
        pub safe fn output_set(block: i64, length: i64);
        pub safe fn error_set(block: i64);
    }
    #[link(wasm_import_module = "extism:host/user")]
    unsafe extern "C" {
        pub safe fn host_call(name: i64, request: i64) -> i64;
        pub safe fn now() -> f64;
        pub safe fn random(count: i32) -> i64;
    }
}

/// There is no host outside of WebAssembly: editors see the crate whole, and tests of pure code link and run.
#[cfg(not(target_arch = "wasm32"))]
#[rustfmt::skip]
mod host {
    const NONE: &str = "the host is only there in a plugin that runs in Millrace";
    pub fn input_length() -> i64 { panic!("{NONE}") }
    pub fn input_load_u8(_: i64) -> i32 { panic!("{NONE}") }
    pub fn input_load_u64(_: i64) -> i64 { panic!("{NONE}") }
    pub fn length(_: i64) -> i64 { panic!("{NONE}") }
    pub fn alloc(_: i64) -> i64 { panic!("{NONE}") }
    pub fn free(_: i64) { panic!("{NONE}") }
    pub fn load_u8(_: i64) -> i32 { panic!("{NONE}") }
    pub fn load_u64(_: i64) -> i64 { panic!("{NONE}") }
    pub fn store_u8(_: i64, _: i32) { panic!("{NONE}") }
    pub fn store_u64(_: i64, _: i64) { panic!("{NONE}") }
    pub fn output_set(_: i64, _: i64) { panic!("{NONE}") }
    pub fn error_set(_: i64) { panic!("{NONE}") }
    pub fn host_call(_: i64, _: i64) -> i64 { panic!("{NONE}") }
    pub fn now() -> f64 { panic!("{NONE}") }
    pub fn random(_: i32) -> i64 { panic!("{NONE}") }
}

/// The whole input of this call.
pub fn input() -> Vec<u8> {
    copy_in(host::input_length(), |at| host::input_load_u64(at), |at| host::input_load_u8(at))
}

/// Milliseconds since the epoch, by the host's clock. It stands still while the guest computes.
pub fn now_ms() -> f64 {
    host::now()
}

/// Random bytes from the host, at most 1 MiB.
pub fn random(count: usize) -> Vec<u8> {
    take_block(host::random(count as i32))
}

/// Runs one export: reads its input, calls `function`, sets its output or its error. `export!` is made of this.
pub fn run_export<C: Call, O: Output>(function: impl FnOnce(C) -> Result<O>) -> i32 {
    std::panic::set_hook(Box::new(|info| {
        let said = info.payload_as_str().unwrap_or("panicked");
        let place = info.location().map(|at| at.to_string()).unwrap_or_default();
        set_error(&Error::new("panicked", format!("{said} (at {place})")).detail("at", place));
    }));
    match C::read(input()).map_err(refused).and_then(function).and_then(O::write) {
        Ok(output) => {
            host::output_set(block(&output), output.len() as i64);
            0
        }
        Err(error) => {
            set_error(&error);
            1
        }
    }
}

/// Not the plugin's doing: the caller sent what is no JSON.
fn refused(error: Error) -> Error {
    if error.code != BAD_JSON {
        return error;
    }
    Error { code: "refused".to_owned(), message: format!("the input is {}", error.message), ..error }
}

pub(crate) fn call_host(name: &str, request: &[u8]) -> Vec<u8> {
    let (named, asked) = (block(name.as_bytes()), block(request));
    let answer = take_block(host::host_call(named, asked));
    host::free(named);
    host::free(asked);
    answer
}

fn set_error(error: &Error) {
    host::error_set(block(error.to_json().to_string().as_bytes()));
}

fn block(bytes: &[u8]) -> i64 {
    let block = host::alloc(bytes.len() as i64);
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = block;
    for word in words {
        host::store_u64(at, i64::from_le_bytes(*word));
        at += 8;
    }
    for byte in tail {
        host::store_u8(at, i32::from(*byte));
        at += 1;
    }
    block
}

fn take_block(block: i64) -> Vec<u8> {
    let bytes = copy_in(host::length(block), |at| host::load_u64(block + at), |at| host::load_u8(block + at));
    host::free(block);
    bytes
}

fn copy_in(length: i64, word: impl Fn(i64) -> i64, byte: impl Fn(i64) -> i32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length as usize);
    let whole = length & !7;
    for at in (0..whole).step_by(8) {
        bytes.extend_from_slice(&word(at).to_le_bytes());
    }
    bytes.extend((whole..length).map(|at| byte(at) as u8));
    bytes
}
