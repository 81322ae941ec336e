/** Functions: what a plugin offers to others (`export function function_convert(): i32`), and calls of theirs. */
import { answer, readCall } from "./call";
import { call, Reply } from "./host";
import { Json } from "./json";

/** One call of a function of this plugin. Input and output are as plugin.json's JSON Schemas say. */
export class FunctionCall {
  constructor(public readonly input: Json) {}

  static read(): FunctionCall {
    return new FunctionCall(readCall());
  }
  ok(output: Json): i32 {
    return answer(output);
  }
}

/**
 * Calls a function of an instance; its answer is `ok.get("output")`. It gets what is left of this call's own time, or
 * `timeoutMs` when that is less.
 */
export function callFunction(instance: string, name: string, input: Json, timeoutMs: i32 = 0): Reply {
  const request = Json.object().set("instance", Json.text(instance)).set("function", Json.text(name));
  if (timeoutMs > 0) request.set("timeout_ms", Json.integer(timeoutMs));
  return call("call", request.set("input", input));
}
