//! The plugin's own key-value store: small values, compare-and-set by revision, a time to live.

use crate::{Json, Object, Result, call};
use std::time::Duration;

/// `value` is null when there is no such key; `revision` is for `update`.
pub fn get(key: &str) -> Result<Json> {
    call("kv", operation("get", key))
}

/// Writes whatever is there. It stays until it is deleted; gives `revision`.
pub fn put(key: &str, value: impl Into<Json>) -> Result<Json> {
    call("kv", operation("put", key).with("value", value))
}

/// Fails with `exists` when there is a value: of many racers one succeeds.
pub fn create(key: &str, value: impl Into<Json>) -> Result<Json> {
    call("kv", operation("create", key).with("value", value))
}

/// Fails with `conflict` when somebody wrote since `revision`.
pub fn update(key: &str, value: impl Into<Json>, revision: &Json) -> Result<Json> {
    call("kv", operation("update", key).with("value", value).with("revision", revision))
}

/// As `put`, and gone after that time unless it is written again.
pub fn put_for(ttl: Duration, key: &str, value: impl Into<Json>) -> Result<Json> {
    call("kv", living(operation("put", key).with("value", value), ttl))
}

/// As `create`, and gone after that time.
pub fn create_for(ttl: Duration, key: &str, value: impl Into<Json>) -> Result<Json> {
    call("kv", living(operation("create", key).with("value", value), ttl))
}

/// As `update`, and gone after that time.
pub fn update_for(ttl: Duration, key: &str, value: impl Into<Json>, revision: &Json) -> Result<Json> {
    call("kv", living(operation("update", key).with("value", value).with("revision", revision), ttl))
}

pub fn delete(key: &str) -> Result<Json> {
    call("kv", operation("delete", key))
}

/// All entries below a prefix, in `entries`. Fails with `too_large` over 4 MiB: ask for pages then.
pub fn list(prefix: &str) -> Result<Json> {
    call("kv", operation("list", prefix))
}

/// At most `limit` of them; while there is more, `next` is what to give as `after` for the next page. "" is the first.
pub fn page(prefix: &str, limit: u32, after: &str) -> Result<Json> {
    let mut request = operation("list", prefix).with("limit", limit);
    if !after.is_empty() {
        request.set("after", after);
    }
    call("kv", request)
}

fn operation(name: &str, key: &str) -> Object {
    Object::new().with("op", name).with("key", key)
}

fn living(request: Object, ttl: Duration) -> Object {
    request.with("ttl_ms", ttl.as_millis() as i64)
}
