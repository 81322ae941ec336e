//! Host functions. What they refuse is an `Err`, which `?` passes through with its code.

use crate::{Error, Json, Object, Result, Time, abi};
use std::time::Duration;

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

/// Rows as CSV with a header, which the store reads as they are: some MiB at a time, 16 at most. Gives their count once
/// they are durable. Flush your emitter first.
pub fn emit_csv(text: &str) -> Result<i64> {
    emit_as("emit:csv", text.as_bytes())
}

/// The same with an Arrow stream: the IPC streaming format, schema first.
pub fn emit_arrow(stream: &[u8]) -> Result<i64> {
    emit_as("emit:arrow", stream)
}

fn emit_as(name: &str, rows: &[u8]) -> Result<i64> {
    Ok(call_bytes(name, rows)?.get("rows").as_i64().unwrap_or(0))
}

/// How far this run is, for people who watch it.
pub fn progress(done: f64, total: f64, message: &str) -> Result<()> {
    call("progress", Object::new().with("done", done).with("total", total).with("message", message)).map(drop)
}

/// A line of this run's log: level is debug, info, warn or error.
pub fn log(level: &str, message: &str) {
    log_with(level, message, Object::new());
}

/// With fields that can be searched for.
pub fn log_with(level: &str, message: &str, fields: Object) {
    let line = Object::new().with("level", level).with("message", message);
    // A log that is full is no reason to fail.
    let _ = call("log", if fields.is_empty() { line } else { line.with("fields", fields) });
}

/// Waits, and others run meanwhile. Fails with `deadline` at once when the call would be over before.
pub fn sleep(time: Duration) -> Result<()> {
    call("sleep", Object::new().with("ms", time.as_secs_f64() * 1000.0)).map(drop)
}

/// A value of the plugin's own in the dataset `metrics`, kept if and when the run is:
/// `Metric::counter("pages", 3.0).dimension("site", "north").send()?`
#[derive(Debug, Clone)]
pub struct Metric {
    request: Object,
    dimensions: Object,
}

impl Metric {
    /// A value that goes up and down.
    pub fn gauge(name: &str, value: f64) -> Metric {
        Metric::new(name, value, "gauge")
    }
    /// A value that only grows, save for restarts: rates are made of it.
    pub fn counter(name: &str, value: f64) -> Metric {
        Metric::new(name, value, "counter")
    }
    fn new(name: &str, value: f64, kind: &str) -> Metric {
        let request = Object::new().with("name", name).with("value", value).with("type", kind);
        Metric { request, dimensions: Object::new() }
    }
    pub fn dimension(mut self, name: &str, value: &str) -> Metric {
        self.dimensions.set(name, value);
        self
    }
    /// Without one: now.
    pub fn at(mut self, time: Time) -> Metric {
        self.request.set("time", time);
        self
    }
    pub fn send(self) -> Result<()> {
        call("metric", self.request.with("dimensions", self.dimensions)).map(drop)
    }
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

/// Stands for a secret in HTTP requests: the host puts the value in, and the plugin never sees it.
pub fn placeholder(secret: &str) -> String {
    format!("{{{{secret:{secret}}}}}")
}

/// A secret's value, for secrets that plugin.json lists with `!`. Mostly `placeholder` is what you want.
pub fn secret(name: &str) -> Result<String> {
    let found = call("secret", Object::new().with("name", name))?;
    Ok(found.get("value").as_str().unwrap_or_default().to_owned())
}

/// Calls a function of another instance; gives its output. It has what is left of this call's own time.
pub fn call_function(instance: &str, function: &str, input: impl Into<Json>) -> Result<Json> {
    call_function_within(Duration::ZERO, instance, function, input)
}

/// Gives it no more than `timeout`.
pub fn call_function_within(timeout: Duration, instance: &str, function: &str, input: impl Into<Json>) -> Result<Json> {
    let mut request = Object::new().with("instance", instance).with("function", function).with("input", input);
    if !timeout.is_zero() {
        request.set("timeout_ms", timeout.as_millis() as i64);
    }
    Ok(call("call", request)?.get("output").clone())
}

/// Tells whoever listens below this instance's own subjects.
pub fn publish(subject: &str, body: impl Into<Json>) -> Result<()> {
    call("publish", Object::new().with("subject", subject).with("body", body)).map(drop)
}
