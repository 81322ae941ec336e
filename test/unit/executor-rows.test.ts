/** Rows on their way: the content type of an answer, the answer of `sync`, and a sink of several formats. */
import { describe, expect, test } from "vitest";
import { RowSink } from "../../services/executor/host/emit.ts";
import { readAnswer } from "../../services/executor/kinds/guest-rows.ts";
import { typedRows } from "../../services/executor/typed-rows.ts";
import { Fault } from "../../services/kit/fault.ts";
import type { RowFormat } from "../../services/results/results.ts";

describe("an answer that names its content type", () => {
  test.each([
    ["application/x-ndjson", '{"n":1}\n', "ndjson", '{"n":1}\n'],
    ["text/csv; charset=utf-8", "n\n1\n", "csv", "n\n1\n"],
    ["application/vnd.apache.arrow.stream", "AP//", "arrow", "\u0000\ufffd\ufffd"],
  ])("%s", (type, rows, format, text) => {
    const typed = typedRows(type, rows);
    if (typeof typed === "string") throw new Error(typed);
    expect([typed.format, Buffer.from(typed.bytes).toString()]).toEqual([format, text]);
    const answer = readAnswer(Buffer.from(JSON.stringify({ content_type: type, rows, next: 3 })));
    expect(answer).toMatchObject({ next: 3, status: "ok", typed: { format } });
  });

  test.each([
    ["text/plain", "x", "content_type: "],
    ["text/csv", [{ n: 1 }], "rows: is not text"],
    ["application/vnd.apache.arrow.stream", "no base64!", "rows: is not base64"],
  ])("%s with %j is no answer", (type, rows, problem) => {
    expect(typedRows(type, rows)).toContain(problem);
    expect(readAnswer(Buffer.from(JSON.stringify({ content_type: type, rows })))).toContain(problem);
  });

  test("JSON by name is JSON", () => {
    const answer = readAnswer(Buffer.from('{"content_type": "application/json", "rows": [{"n": 1}]}'));
    expect(answer).toEqual({ next: undefined, status: "ok" });
  });
});

describe("a sink of several formats", () => {
  const sinkOf = (maxRows: number, stored = 2) => {
    const seen: [number, RowFormat, string][] = [];
    const sink = new RowSink({
      maxRows,
      append: async (rows, chunk, format) => {
        seen.push([chunk, format, Buffer.from(rows).toString()]);
        if (rows.length === 3) throw new Fault("invalid", "three bytes are none");
        return { rows: format === "ndjson" ? 1 : stored, rejected: 0, bytes: rows.length };
      },
    });
    return { sink, seen };
  };
  const bytes = (text: string) => Buffer.from(text);

  test("each CSV is a chunk of its own, behind what came before; only the store counts its rows", async () => {
    const { sink, seen } = sinkOf(100);
    await sink.add(bytes('{"n":1}'));
    expect(await sink.addAs("csv", bytes("n\n2\n3\n"))).toBe(2);
    expect(await sink.addAs("arrow", bytes("arrow"))).toBe(2);
    await sink.add(bytes('{"n":4}\n'));
    await sink.flush();
    expect(seen).toEqual([
      [0, "ndjson", '{"n":1}\n'],
      [1, "csv", "n\n2\n3\n"],
      [2, "arrow", "arrow"],
      [3, "ndjson", '{"n":4}\n'],
    ]);
    expect([sink.chunks, sink.rows]).toEqual([4, 6]);
  });

  test("over the limit of rows, and after a refusal, nothing more is taken", async () => {
    const { sink } = sinkOf(3);
    await sink.addAs("csv", bytes("one")).catch(() => {});
    await expect(sink.addAs("csv", bytes("more"))).rejects.toThrow("three bytes are none");
    const many = sinkOf(3).sink;
    await many.addAs("csv", bytes("first"));
    await expect(many.addAs("csv", bytes("again"))).rejects.toMatchObject({ code: "exhausted" });
    await expect(many.add(bytes('{"n":1}'))).rejects.toMatchObject({ code: "exhausted" });
    const large = sinkOf(3).sink;
    await expect(large.addAs("arrow", Buffer.alloc((16 << 20) + 1))).rejects.toMatchObject({ code: "too_large" });
  });
});
