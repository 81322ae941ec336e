//! Answers over HTTP: `GET /greet/{name}?with=hei`.

const millrace = @import("millrace");
const std = @import("std");

pub const panic = millrace.panic;

comptime {
    millrace.exports(.{ .route = route });
}

fn route(call: *millrace.Route) !void {
    const words = .{ call.ask("with", "hello"), call.param("name") };
    try call.sendJson(200, .{ .greeting = try std.fmt.allocPrint(millrace.gpa, "{s}, {s}", words) });
}
