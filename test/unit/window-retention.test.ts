/** Windows whose rows would be gone at once are not fetched; the one that is partly kept is. */
import { expect, test } from "vitest";
import { planWindows, type WindowPlanInput } from "../../services/scheduler/windows.ts";

const DAY_US = 86_400_000_000n;
const input: WindowPlanInput = {
  ...{ beginUs: 0n, endUs: undefined, chunkUs: DAY_US, backtrackUs: 0n, nowUs: 10n * DAY_US + DAY_US / 2n },
  ...{ known: [], refetch: false, lostBeforeUs: 0n },
};
const days = (over: Partial<WindowPlanInput>) =>
  planWindows({ ...input, ...over }).queue.map(({ beginUs }) => Number(beginUs / DAY_US));

test.each([
  ["all without one", {}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ["three and a half days back", { retentionUs: 3n * DAY_US }, [7, 8, 9, 10]],
  ["longer than the pipe is old", { retentionUs: 300n * DAY_US }, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ["a range that reaches further", { retentionUs: DAY_US, range: { beginUs: 2n * DAY_US, endUs: 10n * DAY_US } }, [9]],
  ["a range that is over", { retentionUs: DAY_US, range: { beginUs: 0n, endUs: 2n * DAY_US } }, []],
  ["a range within", { retentionUs: 5n * DAY_US, range: { beginUs: 8n * DAY_US, endUs: 9n * DAY_US } }, [8]],
  ["fetched again", { retentionUs: DAY_US, refetch: true }, [9, 10]],
])("%s", (_, over, wanted) => expect(days(over)).toEqual(wanted));
