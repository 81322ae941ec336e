//! Calls of host functions, how they fail, and how a call of the plugin fails.

const std = @import("std");
const abi = @import("abi.zig");
const json = @import("json.zig");
const gpa = abi.gpa;
const Json = json.Json;
const Raw = json.Raw;
const toJson = json.toJson;

/// `error.Failed` has its code and message beside it, see `fail`; any other error has the code `failed` and its name.
pub const Error = error{ Failed, OutOfMemory };

pub const Fault = struct { code: []const u8, message: []const u8, retryable: bool = false, details: ?Raw = null };
pub var fault: ?Fault = null;

/// `return millrace.fail("bad_answer", "no column {s}", .{name});`
pub fn fail(code: []const u8, comptime format: []const u8, values: anytype) Error {
    fault = .{ .code = code, .message = try std.fmt.allocPrint(gpa, format, values) };
    return error.Failed;
}

/// A failure that the retry policy tries again, not before `after_ms`; 0 leaves it to the policy.
pub fn failRetryable(code: []const u8, message: []const u8, after_ms: u32) Error {
    const written = try std.fmt.allocPrint(gpa, "{{\"retry_after_ms\":{d}}}", .{after_ms});
    const details = if (after_ms > 0) Raw{ .json = written } else null;
    fault = .{ .code = code, .message = message, .retryable = true, .details = details };
    return error.Failed;
}

/// The code of the `error.Failed` just caught: "denied", "unavailable", …
pub fn failedCode() []const u8 {
    return if (fault) |known| known.code else "";
}

/// Calls a host function by name; the request is anything that `Writer` writes. The others are made of this.
pub fn call(name: []const u8, request: anytype) Error!Json {
    return callBytes(name, try toJson(request));
}

pub fn callBytes(name: []const u8, request: []const u8) Error!Json {
    const named = abi.block(name);
    const asked = abi.block(request);
    const answer = try Json.parse(try abi.takeBlock(abi.user.host_call(named, asked)));
    abi.env.free(named);
    abi.env.free(asked);
    const refused = answer.get("error");
    if (refused.isNull()) return answer.get("ok");
    const details = refused.get("details");
    fault = .{
        .code = refused.get("code").text("host_error"),
        .message = refused.get("message").text("the host gave no reason"),
        .retryable = refused.get("retryable").boolean(false),
        .details = if (details.isNull()) null else .{ .json = try toJson(details) },
    };
    return error.Failed;
}

/// A line of this run's log: level is debug, info, warn or error.
pub fn log(level: []const u8, comptime format: []const u8, values: anytype) void {
    const message = std.fmt.allocPrint(gpa, format, values) catch return;
    _ = call("log", .{ .level = level, .message = message }) catch return;
}
/// With fields that can be searched for, a struct.
pub fn logWith(level: []const u8, message: []const u8, fields: anytype) void {
    _ = call("log", .{ .level = level, .message = message, .fields = fields }) catch return;
}
/// How far this run is, for people who watch it.
pub fn progress(done: f64, total: f64, message: []const u8) !void {
    _ = try call("progress", .{ .done = done, .total = total, .message = message });
}
/// Saves where this run is: after a crash the next attempt gets `cursor` back. Flush your rows first.
pub fn checkpoint(cursor: anytype) !void {
    _ = try call("checkpoint", .{ .cursor = cursor });
}
/// Rows as CSV with a header, which the store reads as they are: some MiB at a time, 16 at most. Gives their count once
/// they are durable. Flush your rows first.
pub fn emitCsv(text: []const u8) !i64 {
    return (try callBytes("emit:csv", text)).get("rows").integer(0);
}
/// The same with an Arrow stream: the IPC streaming format, schema first.
pub fn emitArrow(stream: []const u8) !i64 {
    return (try callBytes("emit:arrow", stream)).get("rows").integer(0);
}
/// Read-only SQL on granted tables. Placeholders are ClickHouse's, `{city:String}`: never build SQL from input.
pub fn query(sql: []const u8, params: anytype, max_rows: u32) !Json {
    return call("query", .{ .sql = sql, .params = params, .max_rows = max_rows });
}
/// Stands for a secret in HTTP requests: the host puts the value in, and the plugin never sees it.
pub inline fn placeholder(comptime name: []const u8) []const u8 {
    return "{{secret:" ++ name ++ "}}";
}
/// A secret's value, for secrets that plugin.json lists with `!`. Mostly `placeholder` is what you want.
pub fn secret(name: []const u8) ![]const u8 {
    return (try call("secret", .{ .name = name })).get("value").text("");
}
/// Calls a function of another instance; gives its output. It has what is left of this call's own time.
pub fn callFunction(instance: []const u8, function: []const u8, value: anytype) !Json {
    return (try call("call", .{ .instance = instance, .function = function, .input = value })).get("output");
}
/// Gives it no more than `timeout_ms`.
pub fn callFunctionWithin(timeout_ms: u32, instance: []const u8, function: []const u8, value: anytype) !Json {
    const request = .{ .instance = instance, .function = function, .input = value, .timeout_ms = timeout_ms };
    return (try call("call", request)).get("output");
}
/// Tells whoever listens below this instance's own subjects.
pub fn publish(subject: []const u8, body: anytype) !void {
    _ = try call("publish", .{ .subject = subject, .body = body });
}
/// A value of the plugin's own in the dataset `metrics`, kept if and when the run is:
/// `.{ .name = "pages", .value = 3 }`, also `.type = "counter"`, `dimensions` (a struct), `time`.
pub fn metric(request: anytype) !void {
    _ = try call("metric", request);
}
/// Waits, and others run meanwhile. Fails with `deadline` at once when the call would be over before.
pub fn sleep(ms: u32) !void {
    _ = try call("sleep", .{ .ms = ms });
}
