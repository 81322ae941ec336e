/** A test guest that shows how the SDK reads and writes: JSON, numbers, UTF-8, base64, times. */
import {
  answer, answerWith, decodeBase64, decodeUtf8, encodeBase64, encodeUtf8, fail, formatDate, formatTime, Json, JsonWriter,
  NO_TIME, parseTime, readBytes, readCall, sendBytes,
} from "@millrace/assemblyscript";

/** Any text in; the same value, written anew, or the reason why it is not JSON. */
export function roundtrip(): i32 {
  const value = Json.parse(decodeUtf8(readBytes()));
  if (value == null) return fail("refused", Json.problem);
  return answer(value);
}

/** Bytes in, the same text out: what is malformed shows as U+FFFD. */
export function utf8(): i32 {
  return sendBytes(encodeUtf8(decodeUtf8(readBytes())));
}

/** Number literals in; for each the bits of its double, and the double written anew. */
export function doubles(): i32 {
  const literals = readCall();
  const out = new JsonWriter().openArray();
  for (let i = 0; i < literals.length; i++) {
    const value = literals.at(i).asNumber();
    out.openArray().addText(reinterpret<u64>(value).toString(16)).addNumber(value).closeArray();
  }
  return answerWith(out.closeArray());
}

/** Literals in; for each its 64 bits as text, or null when it is no whole number of 64 bits. */
export function integers(): i32 {
  const literals = readCall();
  const out = Json.array();
  for (let i = 0; i < literals.length; i++) {
    const literal = literals.at(i);
    out.add(literal.isInteger ? Json.text(literal.asInteger().toString()) : Json.null());
  }
  return answer(out);
}

/** Base64 texts in; the same by way of bytes, or null when it is none. */
export function base64(): i32 {
  const texts = readCall();
  const out = Json.array();
  for (let i = 0; i < texts.length; i++) {
    const bytes = decodeBase64(texts.at(i).asText());
    out.add(bytes == null ? Json.null() : Json.text(encodeBase64(bytes)));
  }
  return answer(out);
}

/** Times in; for each its time and day in UTC, or null when it is none. */
export function times(): i32 {
  const texts = readCall();
  const out = Json.array();
  for (let i = 0; i < texts.length; i++) {
    const us = parseTime(texts.at(i).asText());
    if (us == NO_TIME) out.add(Json.null());
    else out.add(Json.array().add(Json.text(formatTime(us))).add(Json.text(formatDate(us))));
  }
  return answer(out);
}

/** Parses and writes one text a thousand times with garbage in between: collection must not touch what is in use. */
export function churn(): i32 {
  const text = decodeUtf8(readBytes());
  const kept: Json[] = [];
  for (let i = 0; i < 1000; i++) {
    const value = Json.parse(text);
    if (value == null) return fail("refused", Json.problem);
    if (i % 100 == 0) kept.push(value);
  }
  const out = Json.array();
  for (let i = 0; i < kept.length; i++) out.add(kept[i]);
  return answer(out);
}

/** Looks at what is not there. */
export function missing(): i32 {
  const nothing = Json.parse("[1]")!.get("a").at(3).get("b");
  return answer(
    Json.object()
      .set("missing", Json.bool(nothing.isMissing))
      .set("null", Json.bool(nothing.isNull))
      .set("text", Json.text(nothing.asText("fallback")))
      .set("number", Json.number(nothing.asNumber()))
      .set("integer", Json.integer(nothing.asInteger(-7)))
      .set("written", nothing),
  );
}

/** A failed assertion. */
export function broken(): i32 {
  assert(false, 'a "broken" promise: é☃');
  return 0;
}

export function dice(): i32 {
  return answer(Json.array().add(Json.number(Math.random())).add(Json.number(Math.random())));
}
