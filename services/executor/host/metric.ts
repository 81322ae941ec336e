/** `metric`: values of the guest's own, kept in the dataset `metrics` if and when its run is. */
import { Fault, type Mistake } from "../../kit/fault.ts";
import { formatTime, parseTime } from "../../kit/time.ts";
import { METRICS, type RowObject, type RunPart } from "../../results/results.ts";
import { type Capability, isObject, readRequest } from "./functions.ts";

/** Of one run. */
export const MAX_METRICS = 10_000;
const MAX_DIMENSIONS = 20;
const MAX_TEXT_BYTES = 256;
const NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,127}$/;
const TYPES = ["gauge", "counter"] as const;

/** What one run has said so far. The group of its rows is the instance: no guest writes into another's. */
export class OwnMetrics {
  readonly #instance: string;
  readonly #resource: string;
  readonly #nowUs: () => bigint;
  readonly #rows: RowObject[] = [];

  constructor(instance: string, resource: string, nowUs: () => bigint) {
    this.#instance = instance;
    this.#resource = resource;
    this.#nowUs = nowUs;
  }

  get rows(): readonly RowObject[] {
    return this.#rows;
  }

  /** `{name, value, type?, time?, dimensions?}` → `{}`. Errors: `invalid`, `exhausted`. */
  readonly capability: Capability = async (request) => {
    const { name, value, type = "gauge", time, dimensions = {} } = readRequest("metric", request);
    const mistakes: Mistake[] = [];
    const said = (given: unknown) => JSON.stringify(given)?.slice(0, 100) ?? "nothing";
    const refuse = (field: string, given: unknown, fix: string) =>
      mistakes.push({ field, problem: `${said(given)} is not accepted`, fix });
    if (typeof name !== "string" || !NAME.test(name)) refuse("name", name, "letters, digits, _ . and -, at most 128");
    if (!Number.isFinite(value)) refuse("value", value, "a number");
    if (!TYPES.some((known) => known === type)) refuse("type", type, TYPES.join(" "));
    const labels = readDimensions(dimensions, refuse);
    const timeText = readTime(time, formatTime(this.#nowUs()), mistakes);
    if (mistakes.length) throw Fault.invalid("metric", mistakes);
    if (this.#rows.length >= MAX_METRICS) {
      throw new Fault("exhausted", `${MAX_METRICS} metrics are written; a run may write no more`);
    }
    const [group, resource] = [this.#instance, this.#resource];
    this.#rows.push({ time: timeText, resource, group, dimensions: labels, name, type, value });
    return {};
  };
}

function readDimensions(given: unknown, refuse: (field: string, given: unknown, fix: string) => void) {
  const entries = isObject(given) ? Object.entries(given).map(([key, value]) => [key, String(value)] as const) : [];
  const tooLong = entries.some((entry) => entry.some((text) => Buffer.byteLength(text) > MAX_TEXT_BYTES));
  if (!isObject(given) || entries.length > MAX_DIMENSIONS || tooLong) {
    refuse("dimensions", given, `an object of at most ${MAX_DIMENSIONS} texts of at most ${MAX_TEXT_BYTES} bytes`);
  }
  return Object.fromEntries(entries);
}

function readTime(given: unknown, now: string, mistakes: Mistake[]): string {
  if (given === undefined || given === null || given === "") return now;
  try {
    return formatTime(parseTime(String(given), "time"));
  } catch (thrown) {
    mistakes.push(...Fault.from(thrown).mistakes);
    return now;
  }
}

export interface Place {
  readonly runId: string;
  readonly chunk: number;
  /** Whether the run's own record covers them; else a record beside it does, committed right after. */
  readonly own: boolean;
}

/** Where a run's metrics go: behind its own rows when those are metrics too, or it has none. Pure. */
export function placeOf(runId: string, dataset: string, chunks: number): Place {
  const own = dataset === "" || dataset === METRICS.dataset;
  return own ? { runId, chunk: chunks, own } : { runId: `${runId}/metrics`, chunk: 0, own };
}

/** The parts with one more chunk of this attempt. Pure. */
export function withChunk(parts: readonly RunPart[], fence: bigint, chunk: number): readonly RunPart[] {
  return [...parts.filter((part) => part.fence !== fence), { fence, chunks: chunk + 1 }];
}
