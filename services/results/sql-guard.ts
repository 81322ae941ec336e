/** What SQL from outside may do: read granted datasets, nothing else. Deny by default, by the server's own parser. */
import { Fault } from "../kit/fault.ts";
import { readSqlTree, type SqlNode, walk } from "./sql-tree.ts";

/** What the rule needs to know of the server. */
export interface SqlWorld {
  readonly database: string;
  /** Every table and view of the database; a name that is none of them can only be a CTE or an alias. */
  readonly tables: ReadonlySet<string>;
  readonly databases: ReadonlySet<string>;
  /** Functions that somebody added to the server: they may do anything. */
  readonly addedFunctions: ReadonlySet<string>;
  /** What this caller may read. */
  readonly granted: ReadonlySet<string>;
}

/** Rows out of nothing. Every other table function reaches out, or reads tables by pattern. */
const TABLE_FUNCTIONS = new Set(["numbers", "zeros", "generate_series", "generateSeries", "values"]);
const HARMLESS_SYSTEM = new Set(["system.one", "system.numbers"]);

/** Functions that read files, dictionaries, other tables, models or the server itself, or that only waste its time. */
const DENIED_FUNCTION = new RegExp(
  `^(${[
    "file|dict.*|joinGet.*|catboost.*|ai[a-z]+|naiveBayes.*|detect.*|lemmatize|synonyms|stem",
    "addressTo.*|demangle|logTrace|sleep.*|throwIf|aggThrow|flameGraph|getMacro|getServer.*|getSetting.*",
    "getClientHTTPHeader|hasColumnInTable|getMaxTableName.*|hostName|fullHostName|fqdn|displayName|serverUUID",
    "tcpPort|uptime|getOSKernelVersion|buildId|filesystem.*|zookeeper.*|keeper.*|generateSerialID|showCertificate",
    "(current|enabled|default)(Profiles|Roles|User)|authenticatedUser|user|authUser|session_user|current_user",
    "remote.*|url|s3.*|executable.*|mysql|postgresql|mongodb|redis|jdbc|odbc|hdfs|sqlite|input|merge.*Tree.*",
    "connectionId|fuzzQuery|hasThreadFuzzer|initializeAggregation|evalMLMethod|modelEvaluate|nonCachedSecret.*",
  ].join("|")})$`,
  "i",
);
const IN_FUNCTION = /^(global)?(not)?(null)?in(ignoreset)?$/i;

const EXPLAINS = /^EXPLAIN( AST| SYNTAX| QUERY TREE| PLAN| PIPELINE| ESTIMATE)?$/;

/** Names that the tree's text could not show unambiguously. `sql` is the server's own one-line writing of the query. */
export function refuseOddNames(sql: string): void {
  for (const [, name] of sql.matchAll(/'(?:[^'\\]|\\.)*'|`((?:[^`\\]|\\.)*)`/g)) {
    if (name !== undefined && /\\|\(children|\(alias|[^\P{C}]/u.test(name)) {
      throw new Fault("invalid", `the name \`${name}\` cannot be used here; use letters, digits, spaces and _`);
    }
  }
  if (/:\s*Identifier\s*\}/.test(sql)) {
    throw new Fault("denied", "parameters of type Identifier are not allowed; write the name into the SQL");
  }
}

/** Errors: `denied` or `invalid`, saying which part of the query is not allowed and why. */
export function guardSql(lines: readonly string[], world: SqlWorld): void {
  const root = readSqlTree(lines);
  guardStatement(root);
  for (const { node, parent } of walk(root)) {
    if (node.kind === "Set") throw new Fault("denied", "a SETTINGS clause is not allowed: the limits are fixed");
    if (node.kind === "TableIdentifier") guardTable(node.text, world);
    if (node.kind === "Function") guardFunction(node, parent, world);
  }
}

function guardStatement(root: SqlNode): void {
  const reads = (node: SqlNode | undefined) => node?.kind === "SelectWithUnionQuery";
  if (reads(root)) {
    if (root.children.length !== 1) throw new Fault("invalid", "FORMAT and INTO OUTFILE are not allowed");
    return;
  }
  if (root.kind === "DescribeQuery" && root.children.length === 1) return;
  if (root.kind === "Explain" && EXPLAINS.test(root.text) && root.children.every(reads)) return;
  throw new Fault("denied", "only SELECT, SHOW TABLES, DESCRIBE and EXPLAIN of a SELECT are allowed");
}

function guardTable(name: string, world: SqlWorld): void {
  const dot = name.indexOf(".");
  if (dot === -1) {
    if (world.tables.has(name) && !world.granted.has(name)) throw notGranted(name);
    return;
  }
  if (HARMLESS_SYSTEM.has(name)) return;
  const [database, table] = [name.slice(0, dot), name.slice(dot + 1)];
  if (database !== world.database || !world.granted.has(table)) throw notGranted(name);
}

function guardFunction(node: SqlNode, parent: SqlNode | undefined, world: SqlWorld): void {
  const name = node.text;
  if (parent?.kind === "TableExpression") {
    if (TABLE_FUNCTIONS.has(name)) return;
    throw new Fault("denied", `the table function ${name} is not allowed; allowed: ${[...TABLE_FUNCTIONS].join(" ")}`);
  }
  if (DENIED_FUNCTION.test(name) || world.addedFunctions.has(name)) {
    throw new Fault("denied", `the function ${name} is not allowed: it reaches beyond the granted rows`);
  }
  if (!IN_FUNCTION.test(name)) return;
  // `x IN y` reads table y when y is a table; the parser cannot tell it from a column.
  for (const operand of node.children[0]?.children.slice(1) ?? []) {
    if (operand.kind !== "Identifier") continue;
    const [database = ""] = operand.text.split(".");
    if (!operand.text.includes(".") || world.databases.has(database)) guardTable(operand.text, world);
  }
}

function notGranted(name: string): Fault {
  return new Fault("denied", `the table ${name} is not granted to this query, or is no dataset`);
}
