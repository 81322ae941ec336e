/** Reads JSON (RFC 8259, strictly, at most 128 levels). Looking into it never fails: what is not there is missing. */
#ifndef MILLRACE_JSON_H
#define MILLRACE_JSON_H

#include "abi.h"

#define MR_JSON_MAX_DEPTH 128

typedef enum mr_kind { MR_MISSING, MR_NULL, MR_BOOL, MR_NUMBER, MR_TEXT, MR_ARRAY, MR_OBJECT } mr_kind;

/** Walk what is inside by `for (const mr_json *one = list->first; one; one = one->next)`. */
typedef struct mr_json {
  mr_kind kind;
  /** Of an entry of an object: its name. */
  const char *key;
  /** Decoded text, or a number as it was written. */
  const char *text;
  size_t length;
  bool truth;
  /** Of an array or object: how many are inside. */
  size_t count;
  struct mr_json *first;
  struct mr_json *next;
} mr_json;

static const mr_json mr_nothing = {MR_MISSING, 0, "", 0, false, 0, 0, 0};

/** The entry of this name, of many the last. */
MR_API const mr_json *mr_get(const mr_json *object, const char *key) {
  const mr_json *found = &mr_nothing;
  if (object->kind != MR_OBJECT) return found;
  for (const mr_json *one = object->first; one; one = one->next) {
    if (strcmp(one->key, key) == 0) found = one;
  }
  return found;
}

/** The element at an index; walks there, so use a loop for all of them. */
MR_API const mr_json *mr_at(const mr_json *array, size_t index) {
  const mr_json *one = array->kind == MR_ARRAY ? array->first : 0;
  for (; one && index; index--) one = one->next;
  return one ? one : &mr_nothing;
}

/** Whether there is nothing, or null. */
MR_API bool mr_is_null(const mr_json *json) { return json->kind <= MR_NULL; }

MR_API const char *mr_text(const mr_json *json, const char *fallback) {
  return json->kind == MR_TEXT ? json->text : fallback;
}

/** The nearest double. */
MR_API double mr_number(const mr_json *json, double fallback) {
  return json->kind == MR_NUMBER ? strtod(json->text, 0) : fallback;
}

/** A whole number of 64 bits, exactly; the fallback when it has a fraction or does not fit. */
MR_API int64_t mr_integer(const mr_json *json, int64_t fallback) {
  if (json->kind != MR_NUMBER) return fallback;
  bool negative = json->text[0] == '-';
  uint64_t most = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, value = 0;
  for (const char *at = json->text + negative; *at; at++) {
    if (*at < '0' || *at > '9') return fallback;
    uint64_t digit = (uint64_t)(*at - '0');
    if (value > (most - digit) / 10) return fallback;
    value = value * 10 + digit;
  }
  return (int64_t)(negative ? 0 - value : value);
}

MR_API bool mr_bool(const mr_json *json, bool fallback) { return json->kind == MR_BOOL ? json->truth : fallback; }

typedef struct mr_reader {
  const char *at;
  const char *end;
  int depth;
} mr_reader;

MR_API void mr_skip_space(mr_reader *in) {
  while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) in->at++;
}

/** Four hexadecimal digits; -1 when they are not. */
MR_API int32_t mr_read_hex(mr_reader *in) {
  int32_t value = 0;
  if (in->end - in->at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = *in->at++;
    int32_t digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

MR_API char *mr_put_utf8(char *to, uint32_t point) {
  if (point < 0x80) {
    *to++ = (char)point;
    return to;
  }
  int tail = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  static const uint8_t leads[] = {0, 0xc0, 0xe0, 0xf0};
  *to++ = (char)(leads[tail] | point >> (6 * tail));
  while (tail--) *to++ = (char)(0x80 | (point >> (6 * tail) & 0x3f));
  return to;
}

/** After the opening quote. A lone surrogate becomes U+FFFD. */
MR_API bool mr_read_text(mr_reader *in, const char **text, size_t *length) {
  const char *close = in->at;
  while (close < in->end && *close != '"') close += *close == '\\' ? 2 : 1;
  if (close >= in->end) return false;
  char *out = mr_bytes_of((size_t)(close - in->at)).at, *to = out;
  while (in->at < close) {
    uint8_t c = (uint8_t)*in->at++;
    if (c < 0x20) return false;
    if (c != '\\') {
      *to++ = (char)c;
      continue;
    }
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char escape = *in->at++;
    const char *named = escape ? strchr(names, escape) : 0;
    if (named) {
      *to++ = values[named - names];
      continue;
    }
    int32_t unit = escape == 'u' ? mr_read_hex(in) : -1;
    if (unit < 0) return false;
    uint32_t point = (uint32_t)unit;
    if (point >= 0xd800 && point < 0xdc00 && close - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u') {
      mr_reader ahead = {in->at + 2, close, 0};
      int32_t low = mr_read_hex(&ahead);
      if (low >= 0xdc00 && low < 0xe000) {
        point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        in->at = ahead.at;
      }
    }
    to = mr_put_utf8(to, point >= 0xd800 && point < 0xe000 ? 0xfffd : point);
  }
  *to = 0;
  *text = out;
  *length = (size_t)(to - out);
  in->at = close + 1;
  return true;
}

MR_API bool mr_read_digits(mr_reader *in) {
  const char *from = in->at;
  while (in->at < in->end && *in->at >= '0' && *in->at <= '9') in->at++;
  return in->at > from;
}

MR_API bool mr_read_number(mr_reader *in, mr_json *json) {
  const char *from = in->at;
  if (*in->at == '-') in->at++;
  bool zero = in->at < in->end && *in->at == '0';
  const char *digits = in->at;
  if (!mr_read_digits(in) || (zero && in->at - digits > 1)) return false;
  if (in->at < in->end && *in->at == '.') {
    in->at++;
    if (!mr_read_digits(in)) return false;
  }
  if (in->at < in->end && (*in->at | 32) == 'e') {
    in->at++;
    if (in->at < in->end && (*in->at == '+' || *in->at == '-')) in->at++;
    if (!mr_read_digits(in)) return false;
  }
  mr_bytes text = mr_bytes_of((size_t)(in->at - from));
  memcpy(text.at, from, text.length);
  json->kind = MR_NUMBER;
  json->text = text.at;
  json->length = text.length;
  return true;
}

MR_API bool mr_read_word(mr_reader *in, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(in->end - in->at) < length || memcmp(in->at, word, length) != 0) return false;
  in->at += length;
  return true;
}

MR_API bool mr_read_value(mr_reader *in, mr_json *json);

/** After the opening bracket. */
MR_API bool mr_read_inside(mr_reader *in, mr_json *json, char close) {
  json->kind = close == '}' ? MR_OBJECT : MR_ARRAY;
  mr_json **link = &json->first;
  if (++in->depth > MR_JSON_MAX_DEPTH) return false;
  mr_skip_space(in);
  for (bool more = in->at < in->end && *in->at != close; more; json->count++) {
    mr_json *one = (mr_json *)mr_alloc(sizeof(mr_json));
    *one = mr_nothing;
    *link = one;
    link = &one->next;
    mr_skip_space(in);
    if (json->kind == MR_OBJECT) {
      size_t length;
      if (in->at >= in->end || *in->at++ != '"' || !mr_read_text(in, &one->key, &length)) return false;
      mr_skip_space(in);
      if (in->at >= in->end || *in->at++ != ':') return false;
    }
    if (!mr_read_value(in, one)) return false;
    mr_skip_space(in);
    more = in->at < in->end && *in->at == ',';
    if (more) in->at++;
  }
  in->depth--;
  return in->at < in->end && *in->at++ == close;
}

MR_API bool mr_read_value(mr_reader *in, mr_json *json) {
  mr_skip_space(in);
  if (in->at >= in->end) return false;
  switch (*in->at) {
    case '{':
      in->at++;
      return mr_read_inside(in, json, '}');
    case '[':
      in->at++;
      return mr_read_inside(in, json, ']');
    case '"':
      in->at++;
      json->kind = MR_TEXT;
      return mr_read_text(in, &json->text, &json->length);
    case 'n':
      json->kind = MR_NULL;
      return mr_read_word(in, "null");
    case 't':
    case 'f':
      json->kind = MR_BOOL;
      json->truth = *in->at == 't';
      return mr_read_word(in, json->truth ? "true" : "false");
    default:
      return mr_read_number(in, json);
  }
}

/** NULL when it is not JSON; then `*problem_at`, where given, is the byte at which that shows. */
MR_API const mr_json *mr_parse(const char *bytes, size_t length, size_t *problem_at) {
  mr_reader in = {bytes, bytes + length, 0};
  mr_json *json = (mr_json *)mr_alloc(sizeof(mr_json));
  *json = mr_nothing;
  bool good = mr_read_value(&in, json);
  mr_skip_space(&in);
  if (good && in.at == in.end) return json;
  if (problem_at) *problem_at = (size_t)(in.at - bytes);
  return 0;
}

#endif
