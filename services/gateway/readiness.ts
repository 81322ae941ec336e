/** Whether what the gateway needs is there: asked anew each time, each part with its state and the reason. */
import { connectivityState } from "@grpc/grpc-js";
import type { Bus } from "../bus/ports.ts";
import { Fault } from "../kit/fault.ts";
import type { Channel } from "../kit/grpc.ts";
import { within } from "../kit/lifecycle.ts";
import type { Results } from "../results/records.ts";
import type { ExecutorsState } from "./executors.ts";

export interface PartState {
  readonly state: "ok" | "away";
  /** Without it the gateway is not ready: nothing at all can be answered. */
  readonly needed: boolean;
  readonly reason?: string;
}

export interface Readiness {
  /** `degraded`: ready, but a part is away that some requests need. */
  readonly status: "ok" | "degraded" | "unready" | "draining";
  readonly parts: Readonly<Record<string, PartState>>;
}

export interface ReadinessPorts {
  readonly registry: Channel;
  readonly scheduler: Channel;
  readonly bus: Bus;
  readonly results: Results;
  readonly catalog: { readonly synced: boolean };
  readonly executors: { state(): ExecutorsState };
}

const ASK_MS = 1_000;

export async function readiness(ports: ReadinessPorts, draining: boolean): Promise<Readiness> {
  const { bus, results, catalog, executors } = ports;
  const [registry, scheduler, busState, clickhouse] = await Promise.all([
    part(true, async () => {
      await connected(ports.registry, "the registry");
      if (!catalog.synced) throw new Fault("unavailable", "the catalogue is not complete yet");
    }),
    part(false, () => connected(ports.scheduler, "the scheduler")),
    part(true, () => bus.ping()),
    part(false, () => results.ping()),
  ]);
  const count = executors.state().executors;
  const parts = {
    registry,
    scheduler,
    bus: busState,
    clickhouse,
    executors: await part(false, async () => {
      if (count === 0) throw new Fault("unavailable", "no executor is connected");
    }),
  };
  const away = Object.values(parts).filter(({ state }) => state === "away");
  const status = away.some(({ needed }) => needed) ? "unready" : away.length > 0 ? "degraded" : "ok";
  return { status: draining ? "draining" : status, parts };
}

async function part(needed: boolean, ask: () => Promise<void>): Promise<PartState> {
  try {
    await within(ASK_MS, "the answer", ask());
    return { state: "ok", needed };
  } catch (thrown) {
    return { state: "away", needed, reason: Fault.from(thrown).message };
  }
}

async function connected(channel: Channel, what: string): Promise<void> {
  // Asking with `true` makes an idle channel connect; one that is down keeps trying by itself.
  const { READY, SHUTDOWN } = connectivityState;
  const state = channel.getChannel().getConnectivityState(true);
  if (state === READY) return;
  if (state === SHUTDOWN) throw new Fault("unavailable", `the connection to ${what} is closed`);
  await new Promise<void>((resolve, reject) => {
    channel.waitForReady(Date.now() + ASK_MS / 2, (error) => {
      if (error) reject(new Fault("unavailable", `${what} does not answer at ${channel.getChannel().getTarget()}`));
      else resolve();
    });
  });
}
