/** What an export is given when the author does not say: what the platform would give, for the manifest's defaults. */
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { pipeInput } from "../executor/kinds/pipe-input.ts";
import { Fault } from "../kit/fault.ts";
import { axisAmong, formatPosition, parseDistance, parsePosition } from "../kit/time.ts";
import { filled } from "../registry/parameters.ts";
import { checkConfig } from "../registry/settling.ts";
import type { LocalPlugin } from "./local-plugin.ts";

export type Json = Readonly<Record<string, unknown>>;

/** Where the window lies of a fetch that has no `begin`: a day that every source should know. */
const SOME_DAY = "2026-01-01T00:00:00Z";
const FUNCTION = "function:";

/** The config with the manifest's defaults. Errors: `invalid` with every mistake. */
export function configOf({ release }: LocalPlugin, given: Json): Json {
  const { value, mistakes } = checkConfig(release, { ...given });
  if (mistakes.length) throw Fault.invalid("config", mistakes);
  return value;
}

/** The export that is meant: a function may be named without its prefix. Errors: `invalid`, naming what there is. */
export function exportOf({ release }: LocalPlugin, name: string): string {
  const found = [name, `${FUNCTION}${name}`].find((one) => release.exports.includes(one));
  if (found) return found;
  const fix = `one of ${release.exports.filter((one) => !one.startsWith("_")).join(", ") || "none"}`;
  throw Fault.invalid("plugin call", [{ field: "export", problem: `the plugin does not export "${name}"`, fix }]);
}

/** What is given wins, field by field; a function takes only what is given. */
export function inputOf(plugin: LocalPlugin, name: string, config: Json, given: Json): Json {
  if (name.startsWith(FUNCTION)) return given;
  return { ...DEFAULTS[name]?.(plugin, config), ...given };
}

const ofWindow = (plugin: LocalPlugin, config: Json): Json => ({
  ...{ pipe: pipeOf(plugin), config, ...windowOf(plugin), cursor: null, attempt: 1 },
});

const DEFAULTS: Readonly<Record<string, (plugin: LocalPlugin, config: Json) => Json>> = {
  fetch: ofWindow,
  sync: ofWindow,
  before_sync: ofWindow,
  after_sync: ofWindow,
  register: (plugin, config) => ({ pipe: pipeOf(plugin), config }),
  poll: (_, config) => ({ resource: RESOURCE, config, previous: null, context: {}, attempt: 1 }),
  discover: (_, config) => ({ config, site: "" }),
  enrich: (_, config) => ({ resource: RESOURCE, config, attempt: 1 }),
  route: () => ({ method: "GET", path: "/", params: {}, query: {}, headers: {} }),
};

const RESOURCE = {
  ...{ name: "local", id: "local", type: "", endpoint: "", site: "", class: "", subclass: "" },
  labels: {},
};

const parametersOf = ({ manifest }: LocalPlugin) => filled(manifest.interfaces?.fetch);

function pipeOf(plugin: LocalPlugin): Json {
  const { name } = plugin.manifest;
  const pipe = { name: `pipes/${name}.local`, instance: `instances/${name}`, metric: "local", location: "" };
  return pipeInput(Pipe.fromPartial({ ...pipe, effective: parametersOf(plugin) }));
}

/** The first window of the pipe's grid. */
function windowOf(plugin: LocalPlugin): Json {
  const { begin, chunk, columns, datetime } = parametersOf(plugin);
  const axis = axisAmong(columns, datetime);
  const from = parsePosition(axis, begin || (axis === "time" ? SOME_DAY : "0"), "interfaces.fetch.begin");
  const to = from + parseDistance(axis, chunk, "interfaces.fetch.chunk");
  return { begin: formatPosition(axis, from), end: formatPosition(axis, to) };
}
