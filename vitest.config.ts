/** Tests run on real servers, a process per file; two files at a time suit the smallest machine that CI has. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/{unit,contract,system}/**/*.test.ts", "plugins-sdk/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
