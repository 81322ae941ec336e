//! Millrace plugins in Zig. Memory lives as long as a call: free nothing.
//!
//!     const millrace = @import("millrace");
//!     pub const panic = millrace.panic;
//!     comptime {
//!         millrace.exports(.{ .fetch = fetch });
//!     }
//!     fn fetch(run: *millrace.Fetch) !void { … }

const std = @import("std");
const abi = @import("abi.zig");
const calls = @import("calls.zig");
const host = @import("host.zig");
const values = @import("json.zig");
const network = @import("network.zig");
const synced = @import("sync.zig");
const time = @import("time.zig");

pub const gpa = abi.gpa;
pub const input = abi.input;
pub const keep = abi.keep;
pub const nowMs = abi.nowMs;
pub const random = abi.random;

pub const Json = values.Json;
pub const Raw = values.Raw;
pub const Writer = values.Writer;
pub const toJson = values.toJson;

pub const Time = time.Time;
pub const second_us = time.second_us;
pub const day_us = time.day_us;

pub const Error = host.Error;
pub const fail = host.fail;
pub const failRetryable = host.failRetryable;
pub const failedCode = host.failedCode;

pub const call = host.call;
pub const callFunction = host.callFunction;
pub const callFunctionWithin = host.callFunctionWithin;
pub const checkpoint = host.checkpoint;
pub const emitArrow = host.emitArrow;
pub const emitCsv = host.emitCsv;
pub const log = host.log;
pub const logWith = host.logWith;
pub const metric = host.metric;
pub const placeholder = host.placeholder;
pub const progress = host.progress;
pub const publish = host.publish;
pub const query = host.query;
pub const secret = host.secret;
pub const sleep = host.sleep;
pub const context = @import("context.zig");
pub const kv = @import("kv.zig");

pub const Response = network.Response;
pub const SocketReply = network.SocketReply;
pub const fromBase64 = network.fromBase64;
pub const http = network.http;
pub const ping = network.ping;
pub const snmp = network.snmp;
pub const socket = network.socket;
pub const toBase64 = network.toBase64;

pub const AfterSync = synced.AfterSync;
pub const BeforeSync = synced.BeforeSync;
pub const Discover = calls.Discover;
pub const Enrich = calls.Enrich;
pub const Fetch = calls.Fetch;
pub const IntegerRange = calls.IntegerRange;
pub const Poll = calls.Poll;
pub const Register = calls.Register;
pub const Route = calls.Route;
pub const Sync = synced.Sync;
pub const Value = calls.Value;
pub const counter = calls.counter;
pub const gauge = calls.gauge;

/// Exports functions by name. They take what they are called with (`*Fetch`, `*Sync`, `*Poll`, …) and give `!void`; any
/// other takes `Json` (or `[]const u8`, the input as it is) and gives what is to be written: `.@"function:x"`.
pub fn exports(comptime functions: anytype) void {
    inline for (comptime std.meta.fieldNames(@TypeOf(functions))) |name| {
        const Exported = struct {
            fn run() callconv(.c) i32 {
                return finish(answerOf(@field(functions, name)));
            }
        };
        @export(&Exported.run, .{ .name = name });
    }
}

fn answerOf(comptime function: anytype) anyerror![]const u8 {
    abi.beginCall();
    host.fault = null;
    const Param = @FieldType(std.meta.ArgsTuple(@TypeOf(function)), "0");
    const bytes = try input();
    if (Param == []const u8) return toJson(try function(bytes));
    const json = try Json.parseInput(bytes);
    if (Param == Json) return toJson(try function(json));
    var run = try @typeInfo(Param).pointer.child.read(json);
    try function(&run);
    return run.answer();
}

fn finish(answer: anyerror![]const u8) i32 {
    if (answer) |output| {
        abi.env.output_set(abi.block(output), @intCast(output.len));
        return 0;
    } else |problem| {
        const known = if (problem == error.Failed) host.fault else null;
        setError(known orelse .{ .code = "failed", .message = @errorName(problem) });
        return 1;
    }
}

fn setError(known: host.Fault) void {
    abi.env.error_set(abi.block(toJson(known) catch "{\"code\":\"out_of_memory\",\"message\":\"out of memory\"}"));
}

/// `pub const panic = millrace.panic;` in your root file: a panic ends the call with the code `panicked`.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(message: []const u8, _: ?usize) noreturn {
    setError(.{ .code = "panicked", .message = message });
    @trap();
}
