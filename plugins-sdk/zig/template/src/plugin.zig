//! Rows of one window: begin inclusive, end exclusive.

const millrace = @import("millrace");

pub const panic = millrace.panic;

const minute_us = 60 * millrace.second_us;

comptime {
    millrace.exports(.{ .fetch = fetch });
}

fn fetch(run: *millrace.Fetch) !void {
    const greeting = run.config.get("greeting").text("hello");
    var time = run.begin;
    while (time.us < run.end.us) : (time = time.plus(minute_us)) {
        const minute = @mod(@divFloor(time.us, minute_us), 60);
        try run.add(.{ .time = time, .greeting = greeting, .minute = minute });
    }
}
