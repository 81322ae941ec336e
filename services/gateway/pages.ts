/** The gateway's own pages: `/` with what is served here, and `/docs`, which renders `/openapi.json`. */
import { readFile } from "node:fs/promises";
import { all, type Entity } from "../../proto/catalog.ts";
import { InstanceState } from "../../proto/gen/millrace/registry/v1/instance.ts";
import { bare } from "../../proto/names.ts";
import { Fault } from "../kit/fault.ts";
import { versionOf } from "./plugin-routes.ts";

export interface PageFile {
  readonly type: string;
  readonly bytes: Buffer;
}

const FILES = {
  "/docs": ["docs.html", "text/html; charset=utf-8"],
  "/docs/docs.js": ["docs.js", "text/javascript; charset=utf-8"],
  "/docs/page.css": ["page.css", "text/css; charset=utf-8"],
} as const;

/** The files of `/docs` by path, read once. */
export async function readPages(): Promise<ReadonlyMap<string, PageFile>> {
  const entries = Object.entries(FILES).map(async ([path, [file, type]]) => {
    const bytes = await readFile(new URL(`./pages/${file}`, import.meta.url));
    return [path, { type, bytes }] as const;
  });
  return new Map(await Promise.all(entries));
}

interface Catalog {
  get(key: string): Entity | undefined;
  values(): Iterable<Entity>;
}

/** `/`. Instances are listed only for those who may see them. */
export function landingPage(catalog: Catalog, mayList: boolean): string {
  const body = mayList ? instanceTable(catalog) : "<p>Instances are listed for callers with a token.</p>";
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Millrace</title>
    <link rel="stylesheet" href="/docs/page.css">
  </head>
  <body>
    <h1>Millrace</h1>
    <nav>
      <a href="/docs">API</a> <a href="/openapi.json">openapi.json</a>
      <a href="/readyz">readyz</a> <a href="/metrics">metrics</a>
    </nav>
    <h2>Plugins with pages and routes</h2>
    ${body}
  </body>
</html>
`;
}

function instanceTable(catalog: Catalog): string {
  const rows: string[] = [];
  for (const instance of [...all(catalog, "instance")].sort((a, b) => a.name.localeCompare(b.name))) {
    const id = bare(instance.name);
    const serves = servesOf(catalog, instance);
    if (serves === undefined) continue;
    const link =
      instance.state === InstanceState.ENABLED ? `<a href="/plugins/${id}/">/plugins/${id}/</a>` : escapeHtml(id);
    rows.push(`<tr><td>${link}</td><td>${escapeHtml(bare(instance.plugin))}</td><td>${escapeHtml(serves)}</td></tr>`);
  }
  if (rows.length === 0) return "<p>None yet.</p>";
  return `<table><tr><th>instance</th><th>plugin</th><th>serves</th></tr>${rows.join("")}</table>`;
}

/** What an instance serves, or why it does not; undefined when it has nothing to serve. */
function servesOf(catalog: Catalog, instance: Parameters<typeof versionOf>[1]): string | undefined {
  try {
    const version = versionOf(catalog, instance);
    const routes = version.manifest?.interfaces?.route?.routes ?? [];
    const files = version.staticFiles.length;
    if (routes.length === 0 && files === 0) return undefined;
    return [...routes.map(({ method, path }) => `${method} ${path}`), ...(files ? [`${files} files`] : [])].join(", ");
  } catch (thrown) {
    return Fault.from(thrown).message;
  }
}

const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
