/** One scheduler as a process of its own, to be killed: `node scheduler-process.ts <nats url> <registry address>`. */
import { openNatsBus } from "../../services/bus/nats/bus.ts";
import { readConfig } from "../../services/kit/config.ts";
import { runUntilSignal } from "../../services/kit/lifecycle.ts";
import { makeLog } from "../../services/kit/log.ts";
import { settings, start } from "../../services/scheduler/main.ts";

const [url = "", registry = ""] = process.argv.slice(2);
await runUntilSignal(async (stack) => {
  const log = makeLog("scheduler", "warn");
  const bus = stack.use(await openNatsBus({ url, log, name: "scheduler" }));
  const config = readConfig(settings, {}, { listen: "127.0.0.1:0", registry });
  const scheduler = stack.use(await start(config, { bus, log }));
  process.stdout.write(`${scheduler.address}\n`);
});
