//! Times: microseconds since the epoch inside, RFC 3339 outside.

const std = @import("std");
const gpa = @import("abi.zig").gpa;

pub const second_us: i64 = 1_000_000;
pub const day_us: i64 = 86_400 * second_us;

/// Microseconds since the epoch; RFC 3339 outside.
pub const Time = struct {
    us: i64,

    /// `2012-01-31T00:00:00.5Z`, with an offset, or a bare date (midnight UTC).
    pub fn parse(text: []const u8) ?Time {
        if (text.len < 10 or text[4] != '-' or text[7] != '-') return null;
        const year = digits(text[0..4]) orelse return null;
        const month = digits(text[5..7]) orelse return null;
        const day = digits(text[8..10]) orelse return null;
        if (month < 1 or month > 12 or day < 1 or day > daysOf(year, month)) return null;
        const midnight = daysFromEpoch(year, month, day) * day_us;
        if (text.len == 10) return .{ .us = midnight };
        if (text.len < 20 or text[13] != ':' or text[16] != ':') return null;
        const hour = digits(text[11..13]) orelse return null;
        const minute = digits(text[14..16]) orelse return null;
        const second = digits(text[17..19]) orelse return null;
        if (hour > 23 or minute > 59 or second > 59) return null;
        var at: usize = 19;
        var fraction: i64 = 0;
        if (text[at] == '.') {
            var unit = second_us;
            at += 1;
            while (at < text.len and std.ascii.isDigit(text[at])) : (at += 1) {
                unit = @divTrunc(unit, 10);
                fraction += unit * (text[at] - '0');
            }
        }
        const zone = text[at..];
        var offset: i64 = 0;
        if (zone.len == 6 and (zone[0] == '+' or zone[0] == '-') and zone[3] == ':') {
            const hours = digits(zone[1..3]) orelse return null;
            const minutes = digits(zone[4..6]) orelse return null;
            offset = (hours * 60 + minutes) * @as(i64, if (zone[0] == '-') -1 else 1);
        } else if (zone.len != 1 or (zone[0] != 'Z' and zone[0] != 'z')) return null;
        return .{ .us = midnight + ((hour * 60 + minute - offset) * 60 + second) * second_us + fraction };
    }

    pub fn plus(self: Time, us: i64) Time {
        return .{ .us = self.us + us };
    }

    /// `2012-01-31`, the UTC day.
    pub fn date(self: Time) ![]const u8 {
        const day = @divFloor(self.us, day_us) + 719_468;
        const era = @divFloor(day, 146_097);
        const doe = day - era * 146_097;
        const yoe = @divFloor(doe - @divFloor(doe, 1_460) + @divFloor(doe, 36_524) - @divFloor(doe, 146_096), 365);
        const doy = doe - (365 * yoe + @divFloor(yoe, 4) - @divFloor(yoe, 100));
        const shifted = @divFloor(5 * doy + 2, 153);
        const month = if (shifted < 10) shifted + 3 else shifted - 9;
        const year = yoe + era * 400 + @intFromBool(month <= 2);
        const of_month = doy - @divFloor(153 * shifted + 2, 5) + 1;
        const parts = .{ @as(u32, @intCast(year)), @as(u32, @intCast(month)), @as(u32, @intCast(of_month)) };
        return std.fmt.allocPrint(gpa, "{d:0>4}-{d:0>2}-{d:0>2}", parts);
    }

    /// RFC 3339 in UTC, with microseconds only where there are some.
    pub fn format(self: Time) ![]const u8 {
        const in_day: u64 = @intCast(@mod(self.us, day_us));
        const unit: u64 = @intCast(second_us);
        const seconds = in_day / unit;
        const fraction = in_day % unit;
        const clock = .{ try self.date(), seconds / 3600, seconds / 60 % 60, seconds % 60 };
        if (fraction == 0) return std.fmt.allocPrint(gpa, "{s}T{d:0>2}:{d:0>2}:{d:0>2}Z", clock);
        return std.fmt.allocPrint(gpa, "{s}T{d:0>2}:{d:0>2}:{d:0>2}.{d:0>6}Z", clock ++ .{fraction});
    }

    fn digits(text: []const u8) ?i64 {
        for (text) |c| if (!std.ascii.isDigit(c)) return null;
        return std.fmt.parseInt(i64, text, 10) catch null;
    }
    fn daysOf(year: i64, month: i64) i64 {
        const leap = @mod(year, 4) == 0 and (@mod(year, 100) != 0 or @mod(year, 400) == 0);
        return switch (month) {
            2 => if (leap) 29 else 28,
            4, 6, 9, 11 => 30,
            else => 31,
        };
    }
    fn daysFromEpoch(year: i64, month: i64, day: i64) i64 {
        const y = if (month <= 2) year - 1 else year;
        const era = @divFloor(y, 400);
        const yoe = y - era * 400;
        const doy = @divFloor(153 * (if (month > 2) month - 3 else month + 9) + 2, 5) + day - 1;
        return era * 146_097 + yoe * 365 + @divFloor(yoe, 4) - @divFloor(yoe, 100) + doy - 719_468;
    }
};
