//! The CSV of each day, which the store reads as it is.

const millrace = @import("millrace");
const std = @import("std");

pub const panic = millrace.panic;

comptime {
    millrace.exports(.{ .sync = sync });
}

fn sync(run: *millrace.Sync) !void {
    const url = run.config.get("url").text("");
    var time = run.begin;
    while (time.us < run.end.us) : (time = time.plus(millrace.day_us)) {
        const words = .{ url, try time.date() };
        const reply = try millrace.http(.{ .url = try std.fmt.allocPrint(millrace.gpa, "{s}?day={s}", words) });
        if (reply.status != 200) return millrace.fail("bad_status", "the source answered {d}", .{reply.status});
        _ = try millrace.emitCsv(reply.body);
    }
}
