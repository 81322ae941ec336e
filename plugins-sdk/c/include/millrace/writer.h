/** Writes JSON straight into bytes. Commas and nesting are the writer's: open, set, close. Zero it before use. */
#ifndef MILLRACE_WRITER_H
#define MILLRACE_WRITER_H

#include <math.h>
#include <stdio.h>

#include "json.h"

typedef struct mr_writer {
  char *bytes;
  size_t length;
  size_t room;
  /** Whether something stands before the next value on this level. */
  bool follows;
  int depth;
  /** How each level closes. */
  char closes[MR_JSON_MAX_DEPTH];
} mr_writer;

/** Room for so many bytes more; where they go. */
MR_API char *mr_reserve(mr_writer *out, size_t count) {
  if (out->length + count > out->room) {
    out->room = (out->length + count) * 2 + 256;
    out->bytes = (char *)mr_grow(out->bytes, out->length, out->room);
  }
  return out->bytes + out->length;
}

/** Bytes as they are. */
MR_API void mr_put(mr_writer *out, const char *bytes, size_t count) {
  if (!count) return;
  memcpy(mr_reserve(out, count), bytes, count);
  out->length += count;
}

MR_API void mr_put_byte(mr_writer *out, char byte) {
  *mr_reserve(out, 1) = byte;
  out->length++;
}

MR_API void mr_separate(mr_writer *out) {
  if (out->follows) mr_put_byte(out, ',');
  out->follows = true;
}

MR_API void mr_open(mr_writer *out, char open, char close) {
  mr_separate(out);
  mr_put_byte(out, open);
  if (out->depth >= MR_JSON_MAX_DEPTH) __builtin_trap();
  out->closes[out->depth++] = close;
  out->follows = false;
}

MR_API void mr_open_object(mr_writer *out) { mr_open(out, '{', '}'); }
MR_API void mr_open_array(mr_writer *out) { mr_open(out, '[', ']'); }

/** Closes the innermost object or array. */
MR_API void mr_close(mr_writer *out) {
  if (!out->depth) __builtin_trap();
  mr_put_byte(out, out->closes[--out->depth]);
  out->follows = true;
}

/** How many bytes a valid UTF-8 character has that begins here; 0 when none does. */
MR_API size_t mr_utf8_length(const uint8_t *at, size_t left) {
  uint8_t lead = at[0];
  size_t length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : (lead & 0xf0) == 0xe0 ? 3 : 4;
  if (length > left || (length == 4 && (lead < 0xf0 || lead > 0xf4))) return 0;
  for (size_t i = 1; i < length; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  bool overlong = (lead == 0xe0 && at[1] < 0xa0) || (lead == 0xf0 && at[1] < 0x90);
  bool outside = (lead == 0xed && at[1] > 0x9f) || (lead == 0xf4 && at[1] > 0x8f);
  return overlong || outside ? 0 : length;
}

MR_API bool mr_is_utf8(const char *text, size_t length) {
  size_t at = 0, whole = 1;
  while (at < length && whole) at += whole = mr_utf8_length((const uint8_t *)text + at, length - at);
  return whole != 0;
}

MR_API void mr_put_escape(mr_writer *out, uint8_t c) {
  static const char hex[] = "0123456789abcdef";
  char *to = mr_reserve(out, 6);
  bool short_form = c == '"' || c == '\\' || c == '\n';
  to[0] = '\\';
  to[1] = c == '\n' ? 'n' : short_form ? (char)c : 'u';
  if (!short_form) {
    to[2] = to[3] = '0';
    to[4] = hex[c >> 4];
    to[5] = hex[c & 15];
  }
  out->length += short_form ? 2 : 6;
}

/** Text in quotes; what is not UTF-8 becomes U+FFFD. */
MR_API void mr_put_quoted(mr_writer *out, const char *text, size_t length) {
  const uint8_t *at = (const uint8_t *)text;
  mr_put_byte(out, '"');
  size_t from = 0, i = 0;
  while (i < length) {
    size_t whole = mr_utf8_length(at + i, length - i);
    if (whole > 1 || (whole == 1 && at[i] >= 0x20 && at[i] != '"' && at[i] != '\\')) {
      i += whole;
      continue;
    }
    mr_put(out, text + from, i - from);
    if (whole) mr_put_escape(out, at[i]);
    else mr_put(out, "\xef\xbf\xbd", 3);
    from = ++i;
  }
  mr_put(out, text + from, length - from);
  mr_put_byte(out, '"');
}

/** The name of the next value. */
MR_API void mr_key(mr_writer *out, const char *key) {
  mr_separate(out);
  mr_put_quoted(out, key, strlen(key));
  mr_put_byte(out, ':');
  out->follows = false;
}

MR_API void mr_add_bytes(mr_writer *out, const char *text, size_t length) {
  mr_separate(out);
  mr_put_quoted(out, text, length);
}
/** NULL is written as null. */
MR_API void mr_add_text(mr_writer *out, const char *text) {
  mr_separate(out);
  if (text) mr_put_quoted(out, text, strlen(text));
  else mr_put(out, "null", 4);
}
/** JSON that is written already. */
MR_API void mr_add_raw(mr_writer *out, const char *json, size_t length) {
  mr_separate(out);
  mr_put(out, json, length);
}
MR_API void mr_add_bool(mr_writer *out, bool value) { mr_add_raw(out, value ? "true" : "false", value ? 4 : 5); }
MR_API void mr_add_null(mr_writer *out) { mr_add_raw(out, "null", 4); }

MR_API void mr_put_unsigned(mr_writer *out, uint64_t value, int at_least) {
  char digits[20];
  int from = 20;
  for (; value || 20 - from < at_least; value /= 10) digits[--from] = (char)('0' + value % 10);
  mr_put(out, digits + from, (size_t)(20 - from));
}

MR_API void mr_add_integer(mr_writer *out, int64_t value) {
  mr_separate(out);
  if (value < 0) mr_put_byte(out, '-');
  mr_put_unsigned(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 1);
}

/** The shortest of a few forms that reads back as the same double. NaN and the infinities are null. */
MR_API void mr_add_number(mr_writer *out, double value) {
  static const double powers[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
  if (value - value != 0) {
    mr_add_null(out);
    return;
  }
  mr_separate(out);
  double size = fabs(value);
  // Both whole numbers are exact below 2^53, so their quotient is what a reader makes of the digits.
  for (int places = 0; places < 10 && size * powers[places] < 9e15; places++) {
    double scaled = nearbyint(size * powers[places]);
    if (scaled / powers[places] != size) continue;
    if (signbit(value)) mr_put_byte(out, '-');
    uint64_t digits = (uint64_t)scaled, unit = (uint64_t)powers[places];
    mr_put_unsigned(out, digits / unit, 1);
    if (places) mr_put_byte(out, '.');
    if (places) mr_put_unsigned(out, digits % unit, places);
    return;
  }
  char text[32];
  for (int precision = 15; precision <= 17; precision++) {
    snprintf(text, sizeof text, "%.*g", precision, value);
    if (strtod(text, 0) == value) break;
  }
  mr_put(out, text, strlen(text));
}

/** What was read, written again: every digit of a number is kept. */
MR_API void mr_add_json(mr_writer *out, const mr_json *json) {
  switch (json->kind) {
    case MR_ARRAY:
    case MR_OBJECT:
      mr_open(out, json->kind == MR_OBJECT ? '{' : '[', json->kind == MR_OBJECT ? '}' : ']');
      for (const mr_json *one = json->first; one; one = one->next) {
        if (json->kind == MR_OBJECT) mr_key(out, one->key);
        mr_add_json(out, one);
      }
      mr_close(out);
      break;
    case MR_TEXT: mr_add_bytes(out, json->text, json->length); break;
    case MR_NUMBER: mr_add_raw(out, json->text, json->length); break;
    case MR_BOOL: mr_add_bool(out, json->truth); break;
    default: mr_add_null(out);
  }
}

MR_API void mr_set_text(mr_writer *out, const char *key, const char *text) {
  mr_key(out, key);
  mr_add_text(out, text);
}
MR_API void mr_set_bytes(mr_writer *out, const char *key, const char *text, size_t length) {
  mr_key(out, key);
  mr_add_bytes(out, text, length);
}
MR_API void mr_set_number(mr_writer *out, const char *key, double value) {
  mr_key(out, key);
  mr_add_number(out, value);
}
MR_API void mr_set_integer(mr_writer *out, const char *key, int64_t value) {
  mr_key(out, key);
  mr_add_integer(out, value);
}
MR_API void mr_set_bool(mr_writer *out, const char *key, bool value) {
  mr_key(out, key);
  mr_add_bool(out, value);
}
MR_API void mr_set_null(mr_writer *out, const char *key) {
  mr_key(out, key);
  mr_add_null(out);
}
MR_API void mr_set_json(mr_writer *out, const char *key, const mr_json *json) {
  mr_key(out, key);
  mr_add_json(out, json);
}
/** JSON that is written already, terminated by a zero byte. */
MR_API void mr_set_raw(mr_writer *out, const char *key, const char *json) {
  mr_key(out, key);
  mr_add_raw(out, json, strlen(json));
}
/** A time in microseconds since the epoch, as RFC 3339. */
MR_API void mr_set_time(mr_writer *out, const char *key, int64_t us) { mr_set_text(out, key, mr_format_time(us)); }

#endif
