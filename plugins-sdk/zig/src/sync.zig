//! `sync`: a window whose rows the plugin writes itself. `before_sync` and `after_sync`: hooks around each window.

const std = @import("std");
const gpa = @import("abi.zig").gpa;
const calls = @import("calls.zig");
const json_module = @import("json.zig");
const Batch = calls.Batch;
const Fetch = calls.Fetch;
const IntegerRange = calls.IntegerRange;
const Json = json_module.Json;
const Time = @import("time.zig").Time;
const toJson = json_module.toJson;

/// One call for a window whose rows the plugin writes itself: by `emit`, `emitCsv` or `emitArrow`. How far it is goes by
/// `checkpoint`: flush before.
pub const Sync = struct {
    pipe: Json,
    config: Json,
    begin: Time,
    end: Time,
    /// On an axis of integers, where `begin` and `end` are 1970; null on an axis of time.
    range: ?IntegerRange,
    /// What the last checkpoint saved; null at the start.
    cursor: Json,
    status: []const u8 = "ok",
    batch: Batch = .{},

    pub fn read(json: Json) !Sync {
        const run = try Fetch.read(json);
        return .{
            .pipe = run.pipe,
            .config = run.config,
            .begin = run.begin,
            .end = run.end,
            .range = run.range,
            .cursor = run.cursor,
        };
    }
    /// Sends a row, in batches: right for any number.
    pub fn emit(self: *Sync, row: anytype) !void {
        try self.batch.add(row);
    }
    /// Sends the emitted rows that wait; the end of the call does it too.
    pub fn flush(self: *Sync) !void {
        try self.batch.send();
    }
    pub fn noData(self: *Sync) void {
        self.status = "no_data";
    }
    pub fn notModified(self: *Sync) void {
        self.status = "not_modified";
    }
    pub fn partial(self: *Sync) void {
        self.status = "partial";
    }
    pub fn answer(self: *Sync) ![]const u8 {
        try self.flush();
        return toJson(.{ .status = self.status });
    }
};

/// One call before a window: it goes ahead, unless `veto` was called.
pub const BeforeSync = struct {
    pipe: Json,
    config: Json,
    begin: Time,
    end: Time,
    /// On an axis of integers, where `begin` and `end` are 1970; null on an axis of time.
    range: ?IntegerRange,
    reason: ?[]const u8 = null,

    pub fn read(json: Json) !BeforeSync {
        const run = try Fetch.read(json);
        return .{ .pipe = run.pipe, .config = run.config, .begin = run.begin, .end = run.end, .range = run.range };
    }
    /// The window stays as it is, and people read why: `return run.veto("closed on {s}", .{day});`
    pub fn veto(self: *BeforeSync, comptime format: []const u8, values: anytype) !void {
        self.reason = try std.fmt.allocPrint(gpa, format, values);
    }
    pub fn answer(self: *BeforeSync) ![]const u8 {
        return if (self.reason) |reason| toJson(.{ .veto = reason }) else "{}";
    }
};

/// One call after a window that is done, or has failed for good. What it does changes nothing about the window.
pub const AfterSync = struct {
    pipe: Json,
    config: Json,
    begin: Time,
    end: Time,
    /// On an axis of integers, where `begin` and `end` are 1970; null on an axis of time.
    range: ?IntegerRange,
    /// `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed.
    outcome: []const u8,
    /// Rows of the window that are seen now.
    rows: i64,
    /// Why it failed, or "".
    message: []const u8,
    /// Id of the run.
    run: []const u8,

    pub fn read(json: Json) !AfterSync {
        const window = try Fetch.read(json);
        return .{
            .pipe = window.pipe,
            .config = window.config,
            .begin = window.begin,
            .end = window.end,
            .range = window.range,
            .outcome = json.get("outcome").text(""),
            .rows = json.get("rows").integer(0),
            .message = json.get("message").text(""),
            .run = json.get("run").text(""),
        };
    }
    pub fn answer(_: *AfterSync) ![]const u8 {
        return "{}";
    }
};
