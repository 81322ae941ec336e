//! Windows that the plugin writes itself, and the hooks around them.

const std = @import("std");
const millrace = @import("millrace");

pub fn written(run: *millrace.Sync) !void {
    const mode = run.config.get("mode").text("");
    if (std.mem.eql(u8, mode, "no_data")) return run.noData();
    if (std.mem.eql(u8, mode, "not_modified")) return run.notModified();
    if (std.mem.eql(u8, mode, "partial")) return run.partial();
    var n = run.cursor.get("n").integer(0) + 1;
    while (n <= 3) : (n += 1) {
        try run.emit(.{ .n = n, .time = run.begin });
        if (n != 2) continue;
        try run.flush();
        try millrace.checkpoint(.{ .n = n });
    }
}

pub fn allowed(run: *millrace.BeforeSync) !void {
    const closed = run.config.get("closed").text("");
    if (closed.len == 0) return;
    const metric = run.pipe.get("metric").text("");
    if (run.range) |range| return run.veto("{s}: {s} from {d}", .{ closed, metric, range.begin });
    return run.veto("{s}: {s} from {s}", .{ closed, metric, (try millrace.toJson(run.begin))[1..11] });
}

pub fn told(run: *millrace.AfterSync) !void {
    millrace.log("info", "{s}: {d} rows of {s}: {s}", .{ run.outcome, run.rows, run.run, run.message });
}
