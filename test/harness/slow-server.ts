/** An HTTP server that keeps whoever asks waiting until it is told to answer. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface SlowServer extends AsyncDisposable {
  readonly url: string;
  asked(): number;
  /** From now on it answers at once, also those who wait. */
  release(): void;
}

export async function slowServer(): Promise<SlowServer> {
  const gate = Promise.withResolvers<void>();
  let asked = 0;
  const http = createServer(async (_, response) => {
    asked += 1;
    await gate.promise;
    response.end("late");
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/`,
    asked: () => asked,
    release: () => gate.resolve(),
    async [Symbol.asyncDispose]() {
      gate.resolve();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}
