/** A private nats-server with JetStream: free port, temporary store, gone at the end of the scope. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNatsServer } from "../../services/cli/nats-process.ts";

export { freePort } from "../../services/cli/nats-process.ts";

export interface NatsServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Ends the server as a crash would; the store stays. Resolves once it is gone. */
  kill9(): Promise<void>;
  /** Starts it again on the same port and store; kills it first when it still runs. */
  restart(): Promise<void>;
}

/** `args` are further flags of the server, such as `--user`. */
export async function startNats(args: readonly string[] = []): Promise<NatsServer> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-nats-"));
  let server = await startNatsServer({ folder, args });
  const { url, port } = server;
  return {
    url,
    port,
    kill9: () => server.kill9(),
    async restart() {
      await server.kill9();
      server = await startNatsServer({ folder, port, args });
    },
    async [Symbol.asyncDispose]() {
      await server.kill9();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
