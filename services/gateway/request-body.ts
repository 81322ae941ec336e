/** Reads request bodies under a limit. Errors: `too_large` before the rest is read; `cancelled` on hang-up. */
import type { IncomingMessage } from "node:http";
import { Fault } from "../kit/fault.ts";
import { Refusal } from "./answers.ts";

/** The body; empty when there is none. Its connection is closed after a refusal: the rest is not worth reading. */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const refuse = (bytes: string) => {
    const message = `the body has ${bytes} bytes; at most ${limitBytes} are taken here`;
    return new Refusal(new Fault("too_large", message), { headers: { connection: "close" } });
  };
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > limitBytes) throw refuse(String(declared));
  if (declared === 0 && request.headers["transfer-encoding"] === undefined) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // Without this the early leave below would destroy the socket before the refusal is written.
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      bytes += (chunk as Buffer).length;
      if (bytes > limitBytes) throw refuse(`more than ${limitBytes}`);
      chunks.push(chunk as Buffer);
    }
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    throw new Fault("cancelled", "the request ended before its body was complete", { cause: thrown });
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, bytes);
}

/** The media type without parameters, lower-case; "" when the request names none. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

export const isJson = (type: string) => type === "application/json" || /^application\/[a-z0-9.-]+\+json$/.test(type);
