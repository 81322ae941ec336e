/** Calls of hostile guests for tests: generous limits, and what an executor does when a lane is lost. */
import {
  type EngineName,
  type GuestCall,
  type GuestResult,
  openSandbox,
  type Sandbox,
} from "../../services/executor/sandbox.ts";
import { Fault } from "../../services/kit/fault.ts";
import { silentLog } from "../../services/kit/log.ts";
import { watModule } from "./wat.ts";

export const encode = (text: string) => new TextEncoder().encode(text);
export const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
export const forEver = () => new Promise<never>(() => {});

/** 16 MiB guests with generous limits; a test names what it changes. */
export async function call(plugin: string, name: string, over: Partial<GuestCall> = {}): Promise<GuestCall> {
  return {
    module: await watModule(plugin),
    export: name,
    input: encode("input"),
    deadlineMs: 10_000,
    cpuMs: 5_000,
    memoryMaxPages: 512,
    maxOutputBytes: 1 << 20,
    maxHostCalls: 1_000,
    host: async () => encode('{"ok":{}}'),
    label: `${plugin}/${name}`,
    ...over,
  };
}

export const open = (lanes: number, callsPerLane = 256, engine: EngineName = "kernel") =>
  openSandbox({ lanes, callsPerLane, engine, log: silentLog });

/** What an executor does with an innocent call whose lane was ended. */
export async function redispatch(sandbox: Sandbox, guest: GuestCall, onDispatch = () => {}): Promise<GuestResult> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      onDispatch();
      return await sandbox.call(guest);
    } catch (thrown) {
      if (Fault.from(thrown).code !== "unavailable" || attempt === 20) throw thrown;
    }
  }
}
