/** Commands about the functions that plugins offer. */
import { FunctionMessage, FunctionsService } from "../../proto/gen/millrace/executor/v1/function_service.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, named } from "./api.ts";
import type { Command } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { table } from "./terminal.ts";

/** A function has a minute at most, and a place must come free. */
const CALL_MS = 65_000;

export const functionCommands: readonly Command[] = [
  {
    path: "function list",
    args: "[instance]",
    doc: "Lists the functions of all instances, or of one.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = named("instances", invocation.args[0] ?? "-");
      const { functions } = await api.call(FunctionsService.listFunctions, { parent });
      const rows = functions.map(({ name, timeout, description }) => {
        const [, instance, , fn] = name.split("/");
        return [instance, fn, timeout, description];
      });
      const json = () => functions.map((fn) => restJson("millrace.executor.v1.Function", FunctionMessage, fn));
      invocation.terminal.result(json, () => table(["instance", "function", "timeout", "what it does"], rows));
    },
  },
  {
    path: "function call",
    args: "<instance> <function> [json]",
    doc: "Calls a function and prints what it answers. Without JSON its input is null.",
    flags: {},
    async run(invocation) {
      const [instance, fn = "", json = "null"] = invocation.args;
      const input = parse(json);
      using api = apiOf(invocation);
      const request = { name: named("instances", instance), function: fn, input };
      const { output } = await api.call(FunctionsService.callFunction, request, CALL_MS);
      invocation.terminal.result(
        () => output,
        () => JSON.stringify(output, undefined, 2),
      );
    },
  },
];

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (thrown) {
    const problem = `${JSON.stringify(json)} is not JSON: ${(thrown as Error).message}`;
    throw Fault.invalid("function call", [{ field: "json", problem, fix: `write '{"city": "Oslo"}'` }]);
  }
}
