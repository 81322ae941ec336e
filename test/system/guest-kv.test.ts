/** What a plugin stored goes with its instance, and only then. */
import { expect, test } from "vitest";
import { InstancesService } from "../../proto/gen/millrace/registry/v1/instance_service.ts";
import { BUCKETS } from "../../proto/names.ts";
import { openCapable } from "../harness/capable.ts";
import { openTestResults, startTestClickHouse } from "../harness/clickhouse.ts";
import { until } from "../harness/until.ts";

test("the keys of a deleted instance are deleted, by one of several executors; those of others stay", async () => {
  await using server = await startTestClickHouse();
  await using results = await openTestResults(server);
  await using at = await openCapable(results);
  await at.executing.executor();
  await at.instance("brief");
  for (const instance of ["capable", "brief"]) {
    for (const key of ["a", "b.c"]) {
      const { ok } = await at.ask("kv", { op: "put", key, value: 1 }, { instance });
      expect(ok).toMatchObject({ revision: expect.any(Number) });
    }
  }
  const bucket = await at.bus.kv(BUCKETS.guest);
  expect((await bucket.list("brief")).length).toBe(2);
  const { registry } = at.executing;
  const { instance } = await registry.call(InstancesService.getInstance, { name: "instances/brief" });
  await registry.call(InstancesService.deleteInstance, {
    name: "instances/brief",
    etag: instance?.etag ?? "",
    cascade: false,
  });
  await until("its keys are gone", async () => (await bucket.list("brief")).length === 0);
  await until("and its mark", async () => (await bucket.get("_.brief")) === undefined);
  expect((await bucket.list("capable")).length).toBe(2);
}, 60_000);
