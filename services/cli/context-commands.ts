/** The CLI's command for what enrichments found out about a resource. */
import { ContextDocument } from "../../proto/gen/millrace/executor/v1/context.ts";
import { ContextsService } from "../../proto/gen/millrace/executor/v1/context_service.ts";
import { bare } from "../../proto/names.ts";
import { apiOf, named, pages, showTime } from "./api.ts";
import { PAGE } from "./collection.ts";
import type { Command } from "./command.ts";
import { restJson } from "./rest-json.ts";
import { table } from "./terminal.ts";

/** Of a document in a table; --json shows all. */
const MAX_SHOWN = 60;

function short(value: unknown): string {
  const json = JSON.stringify(value) ?? "";
  return json.length > MAX_SHOWN ? `${json.slice(0, MAX_SHOWN)}…` : json;
}

export const contextCommands: readonly Command[] = [
  {
    path: "resource context",
    args: "<resource>",
    doc: "Shows the documents that enrichments wrote about a resource, with who wrote them and until when they live.",
    flags: { namespace: { type: "string", doc: "only of this namespace" } },
    async run(invocation) {
      using api = apiOf(invocation);
      const parent = named("resources", invocation.args[0]);
      const namespace = typeof invocation.flags.namespace === "string" ? invocation.flags.namespace : "";
      const all = await pages((pageToken) =>
        api.call(ContextsService.listContextDocuments, { ...PAGE, parent, namespace, pageToken }),
      );
      const documents = all.flatMap((page) => page.documents);
      invocation.terminal.result(
        () => documents.map((one) => restJson("millrace.executor.v1.ContextDocument", ContextDocument, one)),
        () =>
          table(
            ["namespace", "key", "value", "by", "written", "until"],
            documents.map((one) => [
              ...[one.namespace, one.key, short(one.value), bare(one.instance)],
              ...[one.writeTime, one.expireTime].map((time) => showTime(time).replace(/\.\d+/, "")),
            ]),
          ),
      );
    },
  },
];
