/** One stream to one executor: calls go out with ids, answers come back in any order. */
import {
  ExecutorsService,
  type Failure,
  type Invoke,
  type ServeRequest,
} from "../../proto/gen/millrace/executor/v1/executor_service.ts";
import { Fault } from "../kit/fault.ts";
import { connect, converse, type Duplex } from "../kit/grpc.ts";
import { background } from "../kit/lifecycle.ts";
import type { Logger } from "../kit/log.ts";

/** What became of a call. `lost`: the stream broke before the answer, and nobody knows how far the guest got. */
export type CallEnd =
  | { readonly type: "result"; readonly output: Uint8Array; readonly runId: string }
  | ({ readonly type: "failure" } & Failure)
  | { readonly type: "lost"; readonly reason: string };

export interface ExecutorLink extends AsyncDisposable {
  readonly address: string;
  /** Its id; "" until it has said hello. */
  readonly executor: string;
  readonly capacity: number;
  readonly inFlight: number;
  /** Calls that it would take now; 0 before its hello and after its bye. */
  readonly room: number;
  /** Takes one place of its room, for the next `call`; false when there is none. */
  take(): boolean;
  /** Gives a place back that no call was made for. */
  giveBack(): void;
  /**
   * Needs a place that was taken before, and gives it back when the call is over. Never rejects. Aborting the signal
   * cancels the call over there and ends it here at once.
   */
  call(invoke: Invoke, signal: AbortSignal): Promise<CallEnd>;
}

export interface LinkEvents {
  /** There may be room now. */
  readonly onRoom: () => void;
  /** The stream is over; this link is of no more use. */
  readonly onEnd: (fault: Fault | undefined) => void;
}

/** An executor that does not say hello within this time is taken for dead. */
const HELLO_MS = 5_000;

export function openLink(address: string, { onRoom, onEnd }: LinkEvents, log: Logger): ExecutorLink {
  const waiting = new Map<bigint, (end: CallEnd) => void>();
  let lastId = 0n;
  let taken = 0;
  let hello: { executor: string; capacity: number } | undefined;
  let draining = false;
  let over = false;
  let talk: Duplex<ServeRequest, unknown> | undefined;
  const room = () => (hello && !draining && !over ? Math.max(0, hello.capacity - taken) : 0);
  const settle = (id: bigint, end: CallEnd) => {
    const resolve = waiting.get(id);
    if (!waiting.delete(id)) return;
    resolve?.(end);
    giveBack();
  };
  const giveBack = () => {
    taken -= 1;
    if (room() > 0) onRoom();
  };
  const send = async (request: ServeRequest) => {
    if (!talk) throw new Fault("unavailable", "the stream is not open");
    await talk.send(request);
  };
  const follow = async (signal: AbortSignal) => {
    using channel = connect(address);
    const conversation = converse(channel, ExecutorsService.serve, signal);
    talk = conversation;
    const silent = setTimeout(() => {
      if (!hello) channel.close();
    }, HELLO_MS);
    try {
      for await (const { callId, kind } of conversation.responses) {
        if (kind?.$case === "hello") {
          hello = kind.value;
          onRoom();
        } else if (kind?.$case === "bye") draining = true;
        else if (kind?.$case === "result") settle(callId, { type: "result", ...kind.value });
        else if (kind?.$case === "failure") settle(callId, { type: "failure", ...kind.value });
      }
    } finally {
      clearTimeout(silent);
    }
  };
  const end = (fault: Fault | undefined) => {
    over = true;
    const reason = fault ? `the stream broke: ${fault.message}` : "the stream ended";
    for (const id of [...waiting.keys()]) settle(id, { type: "lost", reason });
    onEnd(fault);
  };
  const loop = background(
    async (signal) => {
      await follow(signal).then(
        () => end(undefined),
        (thrown) => end(Fault.from(thrown)),
      );
    },
    (fault) => log.error({ err: fault, address }, "executor link failed"),
  );
  return {
    address,
    get executor() {
      return hello?.executor ?? "";
    },
    get capacity() {
      return hello?.capacity ?? 0;
    },
    get inFlight() {
      return taken;
    },
    get room() {
      return room();
    },
    take() {
      if (room() === 0) return false;
      taken += 1;
      return true;
    },
    giveBack,
    call(invoke, signal) {
      lastId += 1n;
      const callId = lastId;
      return new Promise<CallEnd>((resolve) => {
        const abort = () => {
          settle(callId, { type: "lost", reason: Fault.from(signal.reason).message });
          send({ callId, kind: { $case: "cancel", value: {} } }).catch(() => {});
        };
        waiting.set(callId, (ended) => {
          signal.removeEventListener("abort", abort);
          resolve(ended);
        });
        if (over || signal.aborted) return settle(callId, { type: "lost", reason: "the stream is closed" });
        signal.addEventListener("abort", abort, { once: true });
        send({ callId, kind: { $case: "invoke", value: invoke } }).catch((thrown) =>
          settle(callId, { type: "lost", reason: Fault.from(thrown).message }),
        );
      });
    },
    [Symbol.asyncDispose]: () => loop[Symbol.asyncDispose](),
  };
}
