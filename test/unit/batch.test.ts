/** A batch that fails: which parcels are sent again, each alone. */
import { expect, test } from "vitest";
import { Fault, type FaultCode } from "../../services/kit/fault.ts";
import { Batch } from "../../services/results/batch.ts";

const LIMITS = { maxRows: 10, maxBytes: 1_000, maxAgeMs: 5 };

async function endsOf(code: FaultCode) {
  const sent: string[] = [];
  const batch = new Batch(LIMITS, async (parcels) => {
    const names = parcels.map(({ token }) => token).join("+");
    sent.push(names);
    if (names.includes("bad")) throw new Fault(code, "not taken");
  });
  const parcels = ["good", "bad"].map((token) => batch.add({ bytes: Buffer.from(token), rows: 1, token }));
  return { ends: (await Promise.allSettled(parcels)).map(({ status }) => status), sent };
}

test("refused: each is sent alone, and the bad one fails alone", async () => {
  expect(await endsOf("invalid")).toEqual({ ends: ["fulfilled", "rejected"], sent: ["good+bad", "good", "bad"] });
});

test.each(["unavailable", "exhausted", "deadline"] as const)(
  "%s: some of the rows may be there, so none is sent under another token",
  async (code) => {
    expect(await endsOf(code)).toEqual({ ends: ["rejected", "rejected"], sent: ["good+bad"] });
  },
);
