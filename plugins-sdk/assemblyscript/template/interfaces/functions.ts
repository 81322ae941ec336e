// Functions that other plugins may call.
import { FunctionCall, Json } from "@millrace/assemblyscript";

export function function_summarize(): i32 {
  const run = FunctionCall.read();
  const values = run.input.get("values");
  let sum: f64 = 0, min: f64 = Infinity, max: f64 = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values.at(i).asNumber();
    sum += value;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  const summary = Json.object().set("count", Json.integer(values.length));
  summary.set("min", Json.number(min)).set("max", Json.number(max));
  return run.ok(summary.set("mean", Json.number(sum / values.length)));
}
