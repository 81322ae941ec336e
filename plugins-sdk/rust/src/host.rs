//! Host functions. What they refuse is an `Err`, which `?` passes through with its code.

use crate::{Error, Json, Object, Result, abi};

/// Calls a host function by name. The typed functions of this crate are made of it.
pub fn call(name: &str, request: impl Into<Json>) -> Result<Json> {
    call_bytes(name, request.into().to_string().as_bytes())
}

pub(crate) fn call_bytes(name: &str, request: &[u8]) -> Result<Json> {
    let answer = Json::parse(&abi::call_host(name, request))
        .map_err(|e| Error::new("host_error", format!("the answer to {name} is not JSON: {}", e.message)))?;
    match answer {
        Json::Object(ref object) if object.get("error").is_some_and(|e| !e.is_null()) => {
            Err(Error::from_json(answer.get("error")))
        }
        _ => Ok(answer.get("ok").clone()),
    }
}

/// Saves where this run is: after a crash or a retry the next attempt gets `cursor` back and keeps every row that was
/// emitted before. Flush your emitter first.
pub fn checkpoint(cursor: impl Into<Json>) -> Result<()> {
    call("checkpoint", Object::new().with("cursor", cursor)).map(drop)
}

/// How far this run is, for people who watch it.
pub fn progress(done: f64, total: f64, message: &str) -> Result<()> {
    call("progress", Object::new().with("done", done).with("total", total).with("message", message)).map(drop)
}

/// A line of this run's log: level is debug, info, warn or error.
pub fn log(level: &str, message: &str) {
    // A log that is full is no reason to fail.
    let _ = call("log", Object::new().with("level", level).with("message", message));
}

/// Read-only SQL on granted tables; gives `columns` and `rows`. Placeholders are ClickHouse's, `{city:String}`: never
/// build SQL from input. `max_rows` 0: the host's default.
pub fn query(sql: &str, params: Object, max_rows: u32) -> Result<Json> {
    let mut request = Object::new().with("sql", sql).with("params", params);
    if max_rows > 0 {
        request.set("max_rows", max_rows);
    }
    call("query", request)
}

/// A secret's value, for secrets that plugin.json lists with `!`. In HTTP requests write `{{secret:name}}` instead.
pub fn secret(name: &str) -> Result<String> {
    let found = call("secret", Object::new().with("name", name))?;
    Ok(found.get("value").as_str().unwrap_or_default().to_owned())
}

/// Calls a function of another instance; gives its output.
pub fn call_function(instance: &str, function: &str, input: impl Into<Json>) -> Result<Json> {
    let request = Object::new().with("instance", instance).with("function", function).with("input", input);
    Ok(call("call", request)?.get("output").clone())
}

/// Tells whoever listens below this instance's own subjects.
pub fn publish(subject: &str, body: impl Into<Json>) -> Result<()> {
    call("publish", Object::new().with("subject", subject).with("body", body)).map(drop)
}

/// The plugin's own key-value store: small values, compare-and-set by revision.
pub mod kv {
    use crate::{Json, Object, Result};

    /// `value` is null when there is no such key; `revision` is for `update`.
    pub fn get(key: &str) -> Result<Json> {
        super::call("kv", operation("get", key))
    }
    /// Writes whatever is there.
    pub fn put(key: &str, value: impl Into<Json>) -> Result<Json> {
        super::call("kv", operation("put", key).with("value", value))
    }
    /// Fails with `exists` when there is a value: of many racers one succeeds.
    pub fn create(key: &str, value: impl Into<Json>) -> Result<Json> {
        super::call("kv", operation("create", key).with("value", value))
    }
    /// Fails with `conflict` when somebody wrote since `revision`.
    pub fn update(key: &str, value: impl Into<Json>, revision: &Json) -> Result<Json> {
        super::call("kv", operation("update", key).with("value", value).with("revision", revision))
    }
    pub fn delete(key: &str) -> Result<Json> {
        super::call("kv", operation("delete", key))
    }
    /// All entries below a prefix, in `entries`.
    pub fn list(prefix: &str) -> Result<Json> {
        super::call("kv", operation("list", prefix))
    }

    fn operation(name: &str, key: &str) -> Object {
        Object::new().with("op", name).with("key", key)
    }
}
