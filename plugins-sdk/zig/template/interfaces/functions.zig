//! Functions that other plugins may call.

const millrace = @import("millrace");
const std = @import("std");

pub const panic = millrace.panic;

comptime {
    millrace.exports(.{ .@"function:summarize" = summarize });
}

const Summary = struct { count: usize, min: f64, max: f64, mean: f64 };

fn summarize(asked: millrace.Json) !Summary {
    const values = asked.get("values");
    const count: f64 = @floatFromInt(values.len());
    var summary = Summary{ .count = values.len(), .min = std.math.inf(f64), .max = -std.math.inf(f64), .mean = 0 };
    var sum: f64 = 0;
    for (0..values.len()) |i| {
        const value = values.at(i).number(0);
        sum += value;
        summary.min = @min(summary.min, value);
        summary.max = @max(summary.max, value);
    }
    summary.mean = sum / count;
    return summary;
}
