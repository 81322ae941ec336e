/** What every kind of call shares: its input as JSON and its answer as bytes. */
import { readInput, writeOutput } from "./abi";
import { fail } from "./fault";
import { Json } from "./json";
import { JsonWriter } from "./json-writer";
import { decodeUtf8 } from "./utf8";

/** The input of this call. What is not JSON ends the call with the code `refused`, here and at once. */
export function readCall(): Json {
  const input = Json.parse(decodeUtf8(readInput()));
  if (input == null) {
    fail("refused", "the input is not JSON: " + Json.problem);
    unreachable();
  }
  return input!;
}

/** Sets the output and returns what the export returns. */
export function answer(json: Json): i32 {
  return answerWith(new JsonWriter().addJson(json));
}

export function answerWith(writer: JsonWriter): i32 {
  writeOutput(writer.start, writer.length);
  return 0;
}

/** The input of this call as bytes, for exports whose input is not JSON. */
export function readBytes(): ArrayBuffer {
  return readInput();
}

export function sendBytes(bytes: ArrayBuffer): i32 {
  writeOutput(changetype<usize>(bytes), bytes.byteLength);
  return 0;
}
