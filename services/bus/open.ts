/** Chooses the bus: NATS where a URL is given, else one file. */
import { Fault } from "../kit/fault.ts";
import type { Logger } from "../kit/log.ts";
import { openEmbeddedBus } from "./embedded/bus.ts";
import { openNatsBus } from "./nats/bus.ts";
import type { Bus } from "./ports.ts";

export interface BusChoice {
  /** Wins over `file`; empty counts as absent. */
  readonly natsUrl?: string | undefined;
  /** Path of the embedded bus's file. */
  readonly file?: string | undefined;
  readonly log: Logger;
  /** What the NATS server calls this connection; default "millrace". */
  readonly name?: string | undefined;
}

/** Errors: those of the adapter; `invalid` when neither is given. */
export async function openBus({ natsUrl, file, log, name = "millrace" }: BusChoice): Promise<Bus> {
  if (natsUrl) return openNatsBus({ url: natsUrl, log, name });
  if (file) return openEmbeddedBus({ file, log });
  const fix = "set NATS_URL to nats://host:4222, or name a file for the embedded bus";
  throw Fault.invalid("bus", [{ field: "natsUrl", problem: "neither a NATS URL nor a file is given", fix }]);
}
