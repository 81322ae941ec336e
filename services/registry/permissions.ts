/**
 * What a plugin may ask for and an operator may allow: the form of patterns. Who gets what is decided by the executor.
 */
import type { Permissions } from "../../proto/gen/millrace/registry/v1/permissions.ts";
import {
  CALL_FIX,
  CONTEXT_FIX,
  PUBLISH_FIX,
  parseCallPattern,
  parseContextPattern,
  parsePublishPattern,
  parseSocketPattern,
  SOCKET_FIX,
} from "../../proto/patterns.ts";
import { parseSecretPermission, SECRET_FIX } from "../../proto/secrets.ts";
import { parseUrlPattern } from "../../proto/url-pattern.ts";
import type { Mistake } from "../kit/fault.ts";
import { shown } from "./names.ts";
import { datasetMistakes } from "./parameters.ts";

const MAX_HTTP = 100;
const MAX_QUERY = 100;
const MAX_PATTERNS = 100;
const MAX_URL_LENGTH = 2_000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const HOST = `\\*|(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*|\\[[0-9a-f:.]+\\]`;
const URL_PATTERN = new RegExp(`^https?://(?:${HOST})(?::(\\d{1,5}|\\*))?/[^\\s#\\\\]*$`);
const URL_FIX = 'write "https://api.example.org/v1/*": the host may be * or *.example.org, the port *, and * any text';

export function permissionMistakes(permissions: Permissions, field: string): Mistake[] {
  const mistakes: Mistake[] = [];
  if (permissions.http.length > MAX_HTTP) {
    mistakes.push({
      field: `${field}.http`,
      problem: `has ${permissions.http.length} entries`,
      fix: `at most ${MAX_HTTP}`,
    });
  }
  for (const [i, { url, methods }] of permissions.http.slice(0, MAX_HTTP).entries()) {
    const port = URL_PATTERN.exec(url)?.[1];
    const good =
      URL_PATTERN.test(url) &&
      parseUrlPattern(url, methods) !== undefined &&
      (port === undefined || port === "*" || Number(port) <= 65_535);
    if (!good || url.length > MAX_URL_LENGTH) {
      mistakes.push({
        field: `${field}.http[${i}].url`,
        problem: `${shown(url)} is not a pattern of URLs`,
        fix: URL_FIX,
      });
    }
    for (const [j, method] of methods.entries()) {
      if (METHODS.includes(method)) continue;
      const at = `${field}.http[${i}].methods[${j}]`;
      mistakes.push({ field: at, problem: `${shown(method)} is not accepted`, fix: `one of ${METHODS.join(", ")}` });
    }
  }
  if (permissions.query.length > MAX_QUERY) {
    mistakes.push({
      field: `${field}.query`,
      problem: `has ${permissions.query.length} entries`,
      fix: `at most ${MAX_QUERY}`,
    });
  }
  for (const [i, dataset] of permissions.query.slice(0, MAX_QUERY).entries()) {
    // Reading Millrace's own tables may be asked for; only as a target of rows they are refused.
    if (["runs", "logs", "metrics"].includes(dataset)) continue;
    mistakes.push(...datasetMistakes(dataset, `${field}.query[${i}]`));
  }
  const { secrets, sockets, call, publish, context } = permissions;
  mistakes.push(...patternMistakes(secrets, `${field}.secrets`, parseSecretPermission, SECRET_FIX));
  mistakes.push(...patternMistakes(sockets, `${field}.sockets`, parseSocketPattern, SOCKET_FIX));
  mistakes.push(...patternMistakes(call, `${field}.call`, parseCallPattern, CALL_FIX));
  mistakes.push(...patternMistakes(publish, `${field}.publish`, parsePublishPattern, PUBLISH_FIX));
  mistakes.push(...patternMistakes(context, `${field}.context`, parseContextPattern, CONTEXT_FIX));
  return mistakes;
}

function patternMistakes(
  texts: readonly string[],
  field: string,
  parse: (text: string) => unknown,
  fix: string,
): Mistake[] {
  const over = { field, problem: `has ${texts.length} entries`, fix: `at most ${MAX_PATTERNS}` };
  const bad = texts.slice(0, MAX_PATTERNS).flatMap((text, i) => {
    return parse(text) ? [] : [{ field: `${field}[${i}]`, problem: `${shown(text)} is not a pattern`, fix }];
  });
  return texts.length > MAX_PATTERNS ? [over, ...bad] : bad;
}
