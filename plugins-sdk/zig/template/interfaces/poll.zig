//! Whether an HTTP endpoint answers, with what status and how fast.

const millrace = @import("millrace");
const std = @import("std");

pub const panic = millrace.panic;

const timeout_ms = 5_000;

comptime {
    millrace.exports(.{ .poll = poll });
}

fn poll(run: *millrace.Poll) !void {
    const url = run.resource.get("endpoint").text("");
    const reply = millrace.http(.{ .url = url, .timeout_ms = timeout_ms }) catch |problem| {
        // An endpoint that is down is what we came to measure; anything else is our own trouble.
        const code = millrace.failedCode();
        if (!std.mem.eql(u8, code, "unavailable") and !std.mem.eql(u8, code, "deadline")) return problem;
        return run.add(.{ .group = "http", .dimensions = .{ .url = url }, .values = .{ .up = millrace.gauge(0) } });
    };
    const values = .{
        .up = millrace.gauge(if (reply.status >= 200 and reply.status < 300) 1 else 0),
        .status = millrace.gauge(@floatFromInt(reply.status)),
        .latency_ms = millrace.gauge(reply.json.get("elapsed_ms").number(0)),
    };
    try run.add(.{ .group = "http", .dimensions = .{ .url = url }, .values = values });
}
