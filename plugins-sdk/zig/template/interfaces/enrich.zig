//! What is behind an HTTP endpoint, kept as context of the resource.

const millrace = @import("millrace");

pub const panic = millrace.panic;

comptime {
    millrace.exports(.{ .enrich = enrich });
}

fn enrich(run: *millrace.Enrich) !void {
    const reply = try millrace.http(.{ .url = run.resource.get("endpoint").text("") });
    const server = .{ .software = reply.header("server"), .content_type = reply.header("content-type") };
    try run.add(.{ .namespace = "server", .key = "http", .value = server });
}
