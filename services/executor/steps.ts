/** The steps of a job, in order. A test ends the process between any two of them and looks at what is left. */

export const STEPS = [
  "decoded",
  "locked",
  "begun",
  /** A hook before the window has agreed. */
  "approved",
  /** After each chunk that became durable. */
  "chunk_stored",
  /** After each checkpoint. */
  "checkpointed",
  "executed",
  "committed",
  /** The window is what the attempt made of it; a hook behind it has not been told yet. */
  "settled",
  "finished",
  "checkpoint_deleted",
  "acked",
  "released",
] as const;
export type Step = (typeof STEPS)[number];

/** Told before the next step begins, and waited for. */
export type OnStep = (step: Step, runId: string, fence: bigint) => void | Promise<void>;
