/** Commands about secrets. A value is read from stdin or typed unseen: an argument would show in lists of processes. */
import { Secret } from "../../proto/gen/millrace/registry/v1/secret.ts";
import { SecretsService } from "../../proto/gen/millrace/registry/v1/secret_service.ts";
import { bare } from "../../proto/names.ts";
import { MAX_SECRET_BYTES } from "../../proto/secrets.ts";
import { Fault } from "../kit/fault.ts";
import { apiOf, named, pages, showTime } from "./api.ts";
import type { Command } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { table } from "./terminal.ts";

const ENTER = /[\r\n]/;
const INTERRUPT = "\u0003";
const END = "\u0004";
const BACKSPACE = /[\u007f\b]/;

/** Without the line's end that `echo` and editors add. */
async function readPiped(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > MAX_SECRET_BYTES + 2) throw new Fault("too_large", `a secret has at most ${MAX_SECRET_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");
}

/** One line, not shown. Errors: `cancelled` on Ctrl-C and Ctrl-D. */
async function readTyped(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  stderr.write(prompt);
  stdin.setRawMode(true).setEncoding("utf8");
  let typed: string[] = [];
  try {
    for await (const keys of stdin as AsyncIterable<string>) {
      for (const key of keys) {
        if (ENTER.test(key)) return typed.join("");
        if (key === INTERRUPT || key === END) throw new Fault("cancelled", "nothing was set");
        typed = BACKSPACE.test(key) ? typed.slice(0, -1) : [...typed, key];
      }
    }
    throw new Fault("cancelled", "nothing was set");
  } finally {
    stdin.setRawMode(false);
    stderr.write("\n");
  }
}

const secretJson = (secret: Secret) => restJson("millrace.registry.v1.Secret", Secret, secret);

export const secretCommands: readonly Command[] = [
  {
    path: "secret set",
    args: "<name>",
    doc: "Sets a secret to what comes on stdin, or is typed when asked. Its value can never be read back.",
    flags: {
      hosts: { type: "string", doc: "where it may be sent: api.example.org,*.example.com:8443 (default: any granted)" },
    },
    async run(invocation) {
      const { args, flags, terminal } = invocation;
      const name = named("secrets", args[0]);
      const value = process.stdin.isTTY ? await readTyped(`value of ${bare(name)}: `) : await readPiped();
      const hosts = typeof flags.hosts === "string" ? flags.hosts.split(",").map((host) => host.trim()) : [];
      using api = apiOf(invocation);
      const request = { name, value, hosts: hosts.filter(Boolean), etag: "" };
      const { secret } = await api.call(SecretsService.setSecret, request);
      terminal.result(
        () => secret && secretJson(secret),
        () => `${secret?.name} is set; for ${secret?.hosts.join(", ") || "any granted host"}`,
      );
    },
  },
  {
    path: "secret list",
    args: "",
    doc: "Lists secrets: names, hosts and times. Values are never shown.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const all = await pages((pageToken) => api.call(SecretsService.listSecrets, { pageSize: 1_000, pageToken }));
      const secrets = all.flatMap((page) => page.secrets);
      invocation.terminal.result(
        () => secrets.map(secretJson),
        () =>
          table(
            ["secret", "hosts", "created", "set"],
            secrets.map((s) => [bare(s.name), s.hosts.join(" "), showTime(s.createTime), showTime(s.updateTime)]),
          ),
      );
    },
  },
  {
    path: "secret delete",
    args: "<name>",
    doc: "Deletes a secret. Requests of plugins that name it are refused from then on.",
    flags: {},
    async run(invocation) {
      using api = apiOf(invocation);
      const name = named("secrets", invocation.args[0]);
      await api.call(SecretsService.deleteSecret, { name, etag: "" });
      invocation.terminal.result(
        () => ({ deleted: name }),
        () => `${name} is deleted`,
      );
    },
  },
];
