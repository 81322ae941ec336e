//! Makes a gauge of each number in the JSON of an endpoint.

const std = @import("std");
const millrace = @import("millrace");
const Json = millrace.Json;

pub const panic = millrace.panic;
/// Deeper values are passed over.
const max_depth = 8;

comptime {
    millrace.exports(.{ .poll = poll });
}

fn poll(run: *millrace.Poll) !void {
    const url = run.resource.get("endpoint").text("");
    const timeout_ms = run.config.get("timeout_ms").integer(5_000);
    const got = millrace.http(.{ .url = url, .timeout_ms = timeout_ms }) catch |problem| {
        // A service that is down is what we came to measure. Everything else is our own trouble.
        const code = millrace.failedCode();
        if (!std.mem.eql(u8, code, "unavailable") and !std.mem.eql(u8, code, "deadline")) return problem;
        return run.add(.{ .group = "health", .dimensions = .{ .url = url }, .values = .{ .up = millrace.gauge(0) } });
    };
    const up: f64 = if (got.status >= 200 and got.status < 300) 1 else 0;
    var values = millrace.Writer{};
    try values.put("{\"up\":");
    try values.write(millrace.gauge(up));
    try gauges(&values, "", try Json.parse(got.body), 0);
    try values.put("}");
    try run.add(.{
        .group = "health",
        .dimensions = .{ .url = url },
        .values = millrace.Raw{ .json = values.bytes.items },
    });
}

fn gauges(out: *millrace.Writer, path: []const u8, json: Json, depth: usize) !void {
    switch (json.value) {
        .object => |entries| if (depth < max_depth) {
            for (entries.keys(), entries.values()) |name, value| {
                const dot = if (path.len > 0) "." else "";
                const below = try std.fmt.allocPrint(millrace.gpa, "{s}{s}{s}", .{ path, dot, name });
                try gauges(out, below, .{ .value = value }, depth + 1);
            }
        },
        .number_string => try put(out, path, json.number(0)),
        .bool => |truth| try put(out, path, if (truth) 1 else 0),
        else => {},
    }
}

fn put(out: *millrace.Writer, path: []const u8, value: f64) !void {
    if (path.len == 0) return;
    try out.put(",");
    try out.write(path);
    try out.put(":");
    try out.write(millrace.gauge(value));
}
