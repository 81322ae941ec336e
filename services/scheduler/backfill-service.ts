/** Backfills over gRPC: checks what was asked, keeps it, tells how far it is. The leader does the work. */
import { ulid } from "ulid";
import type { Timestamp } from "../../proto/gen/google/protobuf/timestamp.ts";
import { Backfill, BackfillState } from "../../proto/gen/millrace/scheduler/v1/backfill.ts";
import type { BackfillsServer } from "../../proto/gen/millrace/scheduler/v1/backfill_service.ts";
import { bare } from "../../proto/names.ts";
import { Fault, type Mistake } from "../kit/fault.ts";
import type { Methods } from "../kit/grpc.ts";
import { formatTime, microsOf, stretchOf, timestampOf } from "../kit/time.ts";
import type { BackfillPorts } from "./backfill.ts";
import { isOver, nextOf } from "./backfill-store.ts";
import { axisOfPipe } from "./jobs.ts";
import { lookUp } from "./lookup.ts";
import { readSpan, spanMistakes, timestampMistake, usOfMs } from "./moments.ts";
import { MAX_WINDOWS } from "./pipe-sync.ts";
import { gridOfPipe, whyPipeRests } from "./standing.ts";
import { existsUntil, gridFloor, gridLength } from "./windows.ts";

const DEFAULT_WINDOWS_A_MINUTE = 60;
const MAX_WINDOWS_A_MINUTE = 60_000;
const EXPIRE_US = usOfMs(30 * 86_400_000);
const DEFAULT_PAGE = 100;
const MAX_PAGE = 1_000;
const MAX_NOTE = 500;
const NAME = /^pipes\/[^/]+\/backfills\/[0-9a-z]{26}$/;

/** Keeps a new backfill. Errors: as `Backfills.CreateBackfill`. */
export async function createBackfill(
  { catalog, windows, backfills, nowMs }: BackfillPorts,
  parent: string,
  given: Backfill | undefined,
): Promise<Backfill> {
  const { expireTime, refetch = false, verify = false, repair = false, windowsPerMinute: rate = 0 } = given ?? {};
  const nowUs = usOfMs(nowMs());
  refuse([
    ...pipeMistakes(parent),
    ...spanMistakes(given ?? {}),
    ...expiryMistakes(expireTime, nowUs),
    ...rateMistakes(rate),
    ...verifyMistakes(verify, refetch, repair),
  ]);
  const pipe = lookUp(catalog, "pipe", parent);
  const span = readSpan("backfill", axisOfPipe(pipe), given ?? {});
  const why = whyPipeRests(catalog, pipe);
  if (why) throw new Fault("precondition", why);
  const grid = gridOfPipe(pipe);
  const other = (await backfills.list(bare(parent))).find((one) => !isOver(one));
  if (other) throw new Fault("exists", `${other.name} goes on: wait for it, or cancel it`);
  const head = grid.axis === "time" ? undefined : (await windows.index(bare(parent))).head(grid);
  const range = span.endUs === undefined ? undefined : { beginUs: grid.beginUs, endUs: span.endUs };
  const existUs = existsUntil(grid, nowUs, head, range);
  const endUs = span.endUs !== undefined && span.endUs < existUs ? span.endUs : existUs;
  const wantedUs = span.beginUs ?? grid.beginUs;
  const beginUs = wantedUs > grid.beginUs ? gridFloor(grid, wantedUs) : grid.beginUs;
  const total = gridLength({ ...grid, beginUs }, endUs);
  if (total > MAX_WINDOWS) throw new Fault("precondition", `${total} windows, more than ${MAX_WINDOWS}: ask for fewer`);
  const backfill = Backfill.fromPartial({
    name: `${parent}/backfills/${ulid(nowMs()).toLowerCase()}`,
    ...{ ...stretchOf(grid.axis, beginUs, endUs), refetch, verify, repair },
    windowsPerMinute: rate || DEFAULT_WINDOWS_A_MINUTE,
    expireTime: expireTime ?? timestampOf(nowUs + EXPIRE_US),
    ...{ state: BackfillState.RUNNING, total: BigInt(total), ...nextOf(grid.axis, total > 0 ? beginUs : undefined) },
    ...{ createTime: timestampOf(nowUs), updateTime: timestampOf(nowUs) },
  });
  await backfills.create(backfill, nowUs);
  return backfill;
}

export function backfillMethods(ports: BackfillPorts): Methods<BackfillsServer> {
  const { backfills, nowMs } = ports;
  /** Asking for what is so already is no mistake. */
  const move = async (name: string, state: BackfillState, message: string): Promise<Backfill> => {
    refuse(nameMistakes(name));
    return backfills.change(name, usOfMs(nowMs()), (current) => {
      if (current.state === state) return current;
      if (isOver(current)) throw new Fault("precondition", `${name} is over: ${stateName(current)}`);
      return { ...current, state, message, waiting: false };
    });
  };
  return {
    createBackfill: async ({ parent, backfill }) => ({ backfill: await createBackfill(ports, parent, backfill) }),
    async getBackfill({ name }) {
      refuse(nameMistakes(name));
      return { backfill: await backfills.get(name) };
    },
    async listBackfills({ parent, pageSize, pageToken }) {
      const badSize = pageSize < 0 ? [{ field: "page_size", problem: `${pageSize} is below 0` }] : [];
      refuse([...(parent === "pipes/-" ? [] : pipeMistakes(parent)), ...badSize]);
      const all = await backfills.list(parent === "pipes/-" ? "" : bare(parent));
      const newestFirst = all.sort((a, b) => (order(a) < order(b) ? 1 : -1));
      const rest = newestFirst.filter((one) => pageToken === "" || order(one) < pageToken);
      const page = rest.slice(0, Math.min(pageSize || DEFAULT_PAGE, MAX_PAGE));
      const last = page.at(-1);
      return { backfills: page, nextPageToken: last && rest.length > page.length ? order(last) : "" };
    },
    async pauseBackfill({ name, note }) {
      const fix = `at most ${MAX_NOTE} characters`;
      if (note.length > MAX_NOTE) refuse([{ field: "note", problem: `has ${note.length} characters`, fix }]);
      return { backfill: await move(name, BackfillState.PAUSED, note) };
    },
    resumeBackfill: async ({ name }) => ({ backfill: await move(name, BackfillState.RUNNING, "") }),
    cancelBackfill: async ({ name }) => ({ backfill: await move(name, BackfillState.CANCELLED, "cancelled by hand") }),
  };
}

const stateName = ({ state }: Backfill) => Object.entries(BackfillState).find(([, value]) => value === state)?.[0];
/** ULIDs of all pipes are one order of time. */
const order = ({ name }: Backfill) => name.slice(name.lastIndexOf("/") + 1);

function refuse(mistakes: readonly Mistake[]): void {
  if (mistakes.length) throw Fault.invalid("backfill", mistakes);
}

function nameMistakes(name: string): Mistake[] {
  if (NAME.test(name)) return [];
  const fix = "write pipes/{pipe}/backfills/{backfill}";
  return [{ field: "name", problem: `${JSON.stringify(name)} is not the name of a backfill`, fix }];
}

function pipeMistakes(parent: string): Mistake[] {
  if (/^pipes\/[^/]+$/.test(parent)) return [];
  return [{ field: "parent", problem: `${JSON.stringify(parent)} is not the name of a pipe`, fix: "pipes/{pipe}" }];
}

function rateMistakes(rate: number): Mistake[] {
  if (rate >= 0 && rate <= MAX_WINDOWS_A_MINUTE) return [];
  const fix = `1 to ${MAX_WINDOWS_A_MINUTE}; 0 means ${DEFAULT_WINDOWS_A_MINUTE}`;
  return [{ field: "windows_per_minute", problem: `${rate} is out of range`, fix }];
}

function verifyMistakes(verify: boolean, refetch: boolean, repair: boolean): Mistake[] {
  if (verify) {
    const fix = "leave it out: with repair, what differs is replaced";
    return refetch ? [{ field: "refetch", problem: "is not for a backfill that verifies", fix }] : [];
  }
  return repair ? [{ field: "repair", problem: "is for a backfill that verifies", fix: "set verify, too" }] : [];
}

function expiryMistakes(expire: Timestamp | undefined, nowUs: bigint): Mistake[] {
  const wrong = expire && timestampMistake(expire, "expire_time");
  if (wrong) return [wrong];
  if (!expire || microsOf(expire) > nowUs) return [];
  const problem = `${formatTime(microsOf(expire))} has passed`;
  return [{ field: "expire_time", problem, fix: "a later moment, or leave it out for 30 days" }];
}
