/** Commands that run services. What they run is loaded only when they do: other commands answer sooner without it. */
import type { Command } from "./command.ts";
import type { ServiceName } from "./servers.ts";

function serviceCommand(name: ServiceName, doc: string): Command {
  return {
    path: name,
    args: "",
    doc,
    flags: {},
    settings: async () => (await import("./servers.ts")).serviceHelp(name),
    run: async (invocation) => (await import("./servers.ts")).runService(name, invocation),
  };
}

export const serverCommands: readonly Command[] = [
  {
    path: "dev",
    args: "",
    doc: "Runs everything in one process with embedded stores, on loopback.",
    flags: { demo: { type: "boolean", doc: "also build and apply the example plugins, and fetch their data" } },
    settings: async () => (await import("./servers.ts")).devHelp(),
    run: async (invocation) => (await import("./servers.ts")).runDev(invocation),
  },
  serviceCommand("gateway", "Runs one gateway: REST, gRPC and plugin routes. As many as you like."),
  serviceCommand("registry", "Runs the registry: plugins, instances, pipes, pollers, resources. One at a time."),
  serviceCommand("scheduler", "Runs one scheduler. Of several, one is active and the others stand by."),
  {
    ...serviceCommand("executor", "Runs one executor: sandboxes for jobs and calls. As many as you like."),
    run: async (invocation) => {
      const { supervised } = await import("./supervisor.ts");
      if (!(await supervised(invocation.env))) await (await import("./servers.ts")).runService("executor", invocation);
    },
  },
];
