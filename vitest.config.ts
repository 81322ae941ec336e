/** Tests run on real servers, a process per file; two files at a time suit the smallest machine that CI has. */
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Minutes each: begun last, one of them would run alone while a core idles. */
const LONG = ["crash-nats", "crash-embedded", "hostile", "cpython", "plugin-new", "plugin-verify", "crash-recovery"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const of = (name: string) => sorted.filter(({ moduleId }) => moduleId.endsWith(`/${name}.test.ts`));
    const long = LONG.flatMap(of);
    return [...long, ...sorted.filter((file) => !long.includes(file))];
  }
}

export default defineConfig({
  test: {
    include: ["test/{unit,contract,system}/**/*.test.ts", "plugins-sdk/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
