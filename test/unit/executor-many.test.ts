/** What very many jobs at once share: one look at a dataset, one INSERT under way, one count of who follows whom. */
import { expect, test } from "vitest";
import type { Entity } from "../../proto/catalog.ts";
import { Pipe } from "../../proto/gen/millrace/registry/v1/pipe.ts";
import { followedPipes } from "../../services/executor/catalog.ts";
import { declaredDatasets } from "../../services/executor/declared-datasets.ts";
import { Fault } from "../../services/kit/fault.ts";
import { Batch, type Parcel } from "../../services/results/batch.ts";
import { Looks } from "../../services/results/looks.ts";
import type { Dataset } from "../../services/results/results.ts";
import { until } from "../harness/until.ts";

test("jobs that need one dataset at once ask for it once; after a failure it is asked for again", async () => {
  const asked: PromiseWithResolvers<Dataset>[] = [];
  const ensure = declaredDatasets({
    ensureDataset: () => {
      const answer = Promise.withResolvers<Dataset>();
      asked.push(answer);
      return answer.promise;
    },
  });
  const spec = { dataset: "rows", columns: {} };
  const first = [ensure(spec), ensure({ ...spec })].map((one) => one.catch((thrown) => Fault.from(thrown).code));
  expect(asked.length).toBe(1);
  asked[0]?.reject(new Fault("unavailable", "away"));
  expect(await Promise.all(first)).toEqual(["unavailable", "unavailable"]);
  const again = ensure(spec);
  expect(asked.length).toBe(2);
  asked[1]?.resolve({} as Dataset);
  await again;
  await ensure(spec);
  expect(asked.length).toBe(2);
});

test("looks that are wanted while one is under way go together, after it; a failure is theirs who asked", async () => {
  const asked: { readonly names: readonly string[]; readonly answer: PromiseWithResolvers<Map<string, number>> }[] = [];
  const looks = new Looks<number>((names) => {
    const answer = Promise.withResolvers<Map<string, number>>();
    asked.push({ names, answer });
    return answer.promise;
  });
  const first = looks.at("a");
  await until("the first is under way", () => asked.length === 1);
  const next = ["a", "b", "none"].map((name) => looks.at(name));
  expect(asked.length).toBe(1);
  asked[0]?.answer.reject(new Fault("unavailable", "away"));
  expect(await first.catch((thrown) => Fault.from(thrown).code)).toBe("unavailable");
  await until("the others are", () => asked.length === 2);
  asked[1]?.answer.resolve(
    new Map([
      ["a", 1],
      ["b", 2],
    ]),
  );
  expect(await Promise.all(next)).toEqual([1, 2, undefined]);
  expect(asked.map(({ names }) => names)).toEqual([["a"], ["a", "b", "none"]]);
});

test("who is followed is known after each change of a pipe, and after a new copy of the catalogue", () => {
  const entries = new Map<string, Entity>();
  let tell: (name: string | undefined) => void = () => {};
  const onChange = (listener: (name: string | undefined) => void) => {
    tell = listener;
    return () => {};
  };
  const isFollowed = followedPipes({ get: (name) => entries.get(name), values: () => entries.values(), onChange });
  const put = (id: string, after: string[]) => {
    const name = `pipes/${id}`;
    entries.set(name, { $case: "pipe", value: Pipe.fromPartial({ name, effective: { after } }) });
    tell(name);
  };
  const followed = () => ["a.x", "b.x", "c.x"].filter(isFollowed);
  put("a.x", []);
  put("c.x", ["a.x", "b.x"]);
  put("d.x", ["a.x"]);
  expect(followed()).toEqual(["a.x", "b.x"]);
  put("c.x", ["a.x"]);
  expect(followed()).toEqual(["a.x"]);
  for (const name of ["pipes/c.x", "pipes/d.x"]) {
    entries.delete(name);
    tell(name);
  }
  expect(followed()).toEqual([]);
  put("b.x", ["c.x"]);
  tell(undefined);
  expect(followed()).toEqual(["c.x"]);
});

test("parcels wait while two INSERTs of their kind are under way, unless they are full", async () => {
  const sent: { readonly parcels: number; readonly end: () => void }[] = [];
  const batch = new Batch({ maxRows: 3, maxBytes: 1_000, maxAgeMs: 5 }, (parcels) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    sent.push({ parcels: parcels.length, end: resolve });
    return promise;
  });
  const parcel: Parcel = { bytes: new Uint8Array(1), rows: 1, token: "t" };
  const first = [batch.add(parcel)];
  await until("the first goes at once", () => sent.length === 1);
  first.push(batch.add(parcel));
  await until("the second goes in its time", () => sent.length === 2);
  const waiting = [batch.add(parcel), batch.add(parcel), batch.add(parcel)];
  const beganMs = performance.now();
  await until("ten times their age has passed", () => performance.now() - beganMs > 50);
  expect(sent.length).toBe(2);
  waiting.push(batch.add(parcel));
  expect(sent.map(({ parcels }) => parcels)).toEqual([1, 1, 3]);
  for (const { end } of sent) end();
  await until("the last goes, too", () => sent.length === 4);
  sent[3]?.end();
  await Promise.all([...first, ...waiting]);
});
