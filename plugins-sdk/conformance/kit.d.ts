/** What TypeScript needs to know of the conformance kit. */

/** One thing that a guest is told when it asks the world. */
export interface WorldAnswer {
  readonly name: string;
  /** Fields that the request must have. */
  readonly request?: unknown;
  readonly answer?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
}

/** A call that the plugin should do well. */
export interface Scenario {
  readonly name: string;
  readonly export: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly host: readonly WorldAnswer[];
  readonly nowMs: number;
  /** Whether its answers were written down; otherwise nobody answers the guest. */
  readonly recorded: boolean;
}

export type HostReply =
  | { readonly ok: unknown }
  | { readonly error: { readonly code: string; readonly message: string } };

export interface KitCall {
  readonly export: string;
  readonly input: string;
  /** Absent: the platform's own host functions, with nothing granted. */
  readonly host?: (name: string, request: Uint8Array, signal: AbortSignal) => Promise<HostReply>;
  /** Default: the manifest's. */
  readonly deadlineMs?: number;
  readonly nowMs: number;
  readonly seed: string;
}

export interface KitResult {
  readonly outcome: string;
  readonly output: string;
  readonly error?: { readonly code: string; readonly message: string; readonly details?: unknown };
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly memoryPeakBytes: number;
  readonly hostCalls: Readonly<Record<string, number>>;
}

/** Runs one export once in a sandbox. Throws only for what is not the guest's doing. */
export type CallGuest = (call: KitCall) => Promise<KitResult>;

export interface Subject {
  readonly manifest: Readonly<Record<string, unknown>>;
  readonly facts: {
    readonly imports: readonly { readonly module: string; readonly name: string }[];
    readonly exports: readonly { readonly name: string; readonly kind: string; readonly type?: string }[];
  };
  readonly scenarios: readonly Scenario[];
}

export interface Check {
  readonly name: string;
  /** `skip`: it does not apply, and does not count. */
  readonly verdict: "pass" | "fail" | "skip";
  readonly reason: string;
}

export interface Report {
  /** 0–100: the share of the checks that apply and pass. */
  readonly score: number;
  readonly passed: number;
  readonly applicable: number;
  readonly checks: readonly Check[];
}

export interface KitOptions {
  /** Calls over which memory must stay flat. Default 10,000. */
  readonly calls?: number;
  /** After so long they are enough; the reason says how many there were. Default 60,000 ms. */
  readonly callsBudgetMs?: number;
  /** Told after each of these calls. */
  readonly onCalls?: (done: number, total: number) => void;
  readonly onCheck?: (check: Check) => void;
}

export function judge(subject: Subject, call: CallGuest, options?: KitOptions): Promise<Report>;
/** The names of all checks, in order. */
export const checkNames: readonly string[];
