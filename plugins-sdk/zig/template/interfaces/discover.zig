//! What there is to poll: the sites of the config.

const millrace = @import("millrace");

pub const panic = millrace.panic;

comptime {
    millrace.exports(.{ .discover = discover });
}

const Site = struct { id: []const u8, type: []const u8 = "http", endpoint: []const u8 };
const Sites = struct { resources: []const Site, complete: bool };

fn discover(run: millrace.Json) !Sites {
    const sites = run.get("config").get("sites");
    const resources = try millrace.gpa.alloc(Site, sites.len());
    for (resources, 0..) |*site, i| {
        site.* = .{ .id = sites.at(i).get("id").text(""), .endpoint = sites.at(i).get("url").text("") };
    }
    return .{ .resources = resources, .complete = true };
}
