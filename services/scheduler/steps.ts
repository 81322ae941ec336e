/** The steps by which a window is queued. A test ends the process between any two of them and looks at what is left. */

export const STEPS = [
  /** The window needs fetching; nothing is written yet. */
  "planned",
  /** It is marked RUNNING; its job is not in the queue yet. */
  "claimed",
  "sent",
] as const;
export type Step = (typeof STEPS)[number];

/** Told before the next step begins, and waited for. */
export type OnStep = (step: Step, runId: string) => void | Promise<void>;
