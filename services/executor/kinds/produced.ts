/** The rows of one window, stored and not yet seen, whoever made them. */
import type { Pipe } from "../../../proto/gen/millrace/registry/v1/pipe.ts";
import type { Job } from "../../../proto/gen/millrace/scheduler/v1/job.ts";
import type { RunPart } from "../../results/results.ts";
import type { Subject } from "../catalog.ts";
import type { Success, Tools } from "./kind.ts";

/** What is to be made, and for whom. */
export interface WindowRows {
  readonly dataset: string;
  readonly job: Job;
  readonly subject: Subject;
  readonly pipe: Pipe;
  readonly tools: Tools;
}

export interface Produced {
  readonly status: Success["outcome"];
  readonly parts: readonly RunPart[];
  /** Of this attempt. */
  readonly chunks: number;
  readonly rows: number;
  /** With those of the attempts that it goes on from. */
  readonly allRows: number;
  /** How far the source goes, on an axis of integers, by its own word. */
  readonly watermark?: bigint | undefined;
}
