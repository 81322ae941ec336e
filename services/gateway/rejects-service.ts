/** Rejects over gRPC: rows that were set aside, listed and redriven run by run. */
import { type RejectsServer, RejectsService } from "../../proto/gen/millrace/results/v1/reject_service.ts";
import type { Kv } from "../bus/ports.ts";
import { type Service, service } from "../kit/grpc.ts";
import { timestampOf } from "../kit/time.ts";
import type { Results } from "../results/records.ts";
import { addRows } from "./pipe-windows.ts";
import { nameIn } from "./resource-names.ts";
import { withRunLock } from "./run-lock.ts";

export interface RejectsPorts {
  readonly results: Results;
  readonly locks: () => Promise<Kv>;
  readonly windows: () => Promise<Kv>;
}

const PAGE = { fallback: 100, max: 1_000 };

export function rejectsService({ results, locks, windows }: RejectsPorts): Service {
  const runOf = (run: string) => (run === "" ? undefined : nameIn("runs", "run", run));
  return service<RejectsServer>(RejectsService, {
    async listRejects({ parent, pageSize, pageToken, run }) {
      const filter = { dataset: nameIn("datasets", "parent", parent), runId: runOf(run) };
      const size = pageSize <= 0 ? PAGE.fallback : Math.min(pageSize, PAGE.max);
      const { rejects, nextToken } = await results.listRejects(filter, { size, token: pageToken || undefined });
      return {
        rejects: rejects.map(({ runId, timeUs, ...reject }) => ({
          ...reject,
          run: `runs/${runId}`,
          time: timestampOf(timeUs),
        })),
        nextPageToken: nextToken ?? "",
      };
    },
    async redriveRejects({ parent, run }, { signal }) {
      const dataset = nameIn("datasets", "parent", parent);
      const total = { stored: 0, rejected: 0 };
      for (const runId of await runsWithRejects(results, dataset, runOf(run))) {
        signal.throwIfAborted();
        const told = await withRunLock(await locks(), runId, (fence) => {
          return results.redriveRejects({ dataset, runId, fence });
        });
        if (told.stored) await addRows(await windows(), runId, BigInt(told.stored));
        total.stored += told.stored;
        total.rejected += told.rejected;
      }
      return { stored: BigInt(total.stored), rejected: BigInt(total.rejected) };
    },
  });
}

async function runsWithRejects(results: Results, dataset: string, runId: string | undefined): Promise<Set<string>> {
  const runs = new Set<string>();
  for (let token: string | undefined; ; ) {
    const page = await results.listRejects({ dataset, runId }, { size: PAGE.max, token });
    for (const reject of page.rejects) runs.add(reject.runId);
    token = page.nextToken;
    if (token === undefined) return runs;
  }
}
