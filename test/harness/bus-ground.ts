/** What a bus stands on, for tests that run alike on both: how to open it, restart what is below, and damage a blob. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { connect } from "@nats-io/transport-node";
import { openEmbeddedBus } from "../../services/bus/embedded/bus.ts";
import { openNatsBus } from "../../services/bus/nats/bus.ts";
import type { Bus } from "../../services/bus/ports.ts";
import { silentLog } from "../../services/kit/log.ts";
import { startNats } from "./nats.ts";

export interface BusGround extends AsyncDisposable {
  readonly bus: Bus;
  /** Whether acks and deliveries just before a kill -9 may be forgotten: NATS writes them to disk late. */
  readonly forgets: boolean;
  /** NATS: the server is killed -9 and started, the bus stays. Embedded: the file is closed and opened, a new bus. */
  restart(): Promise<Bus>;
  /** Changes the stored bytes of a blob of at least a byte; the bus to go on with. */
  damage(bucket: string, digest: string): Promise<Bus>;
}

export async function natsGround(): Promise<BusGround> {
  const stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const bus = stack.use(await openNatsBus({ url: nats.url, log: silentLog, name: "test" }));
  return {
    bus,
    forgets: true,
    async restart() {
      await nats.restart();
      return bus;
    },
    async damage(bucket, digest) {
      const nc = await connect({ servers: nats.url });
      await nc.request(`millrace.blobs.${bucket}.${digest}.0`, "damaged");
      await nc.close();
      return bus;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

export async function embeddedGround(): Promise<BusGround> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-bus-"));
  const file = join(folder, "bus.sqlite");
  const open = () => openEmbeddedBus({ file, log: silentLog });
  let bus = await open();
  return {
    bus,
    forgets: false,
    async restart() {
      await bus[Symbol.asyncDispose]();
      bus = await open();
      return bus;
    },
    async damage(bucket, digest) {
      await bus[Symbol.asyncDispose]();
      const db = new DatabaseSync(file);
      db.prepare("UPDATE blob_chunks SET bytes = ? WHERE bucket = ? AND digest = ? AND chunk = 0").run(
        ...[Buffer.from("damaged"), bucket, digest],
      );
      db.close();
      bus = await open();
      return bus;
    },
    async [Symbol.asyncDispose]() {
      await bus[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
