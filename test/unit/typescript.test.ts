/** The SDK for TypeScript and JavaScript, by its probe. */
import { join } from "node:path";
import { buildPlugin } from "../../plugins-sdk/typescript/build.js";
import { describeProbe } from "../harness/probe.ts";

const PLUGINS = join(import.meta.dirname, "../plugins");

describeProbe("typescript", {
  build: () => buildPlugin(join(PLUGINS, "probe-typescript")),
  prints: true,
  keepsDigits: false,
  crash: { outcome: "guest_error", code: "exception", message: /TypeError.*src\/index\.ts:83/ },
});
