/** `sleep`: waiting without a lane. What a timer or a pause between requests in a guest comes down to. */
import { setTimeout as after } from "node:timers/promises";
import { Fault } from "../../kit/fault.ts";
import { type Capability, readRequest } from "./functions.ts";

/** Errors of the result: `invalid`; `deadline` at once when the call would be over before. */
export const sleep: Capability = async (bytes, { signal, remainingMs }) => {
  const { ms } = readRequest("sleep", bytes);
  if (typeof ms !== "number" || !(ms >= 0)) {
    throw Fault.invalid("sleep", [{ field: "ms", problem: "is not a time", fix: "0 or more milliseconds" }]);
  }
  if (ms >= remainingMs()) throw new Fault("deadline", `${ms} ms is more than the call has left`);
  await after(ms, undefined, { signal });
};
