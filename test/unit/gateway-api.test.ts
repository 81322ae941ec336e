/** REST by annotation: path templates, what a request means, every mistake by name, and the OpenAPI document. */
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { loadApi } from "../../services/gateway/api.ts";
import { openApi } from "../../services/gateway/openapi.ts";
import { parseTemplate } from "../../services/gateway/path-template.ts";
import { requestJson } from "../../services/gateway/request-json.ts";
import { matcher } from "../../services/gateway/transcode.ts";
import { Fault } from "../../services/kit/fault.ts";

const api = loadApi();
const find = matcher(api);

function faultOf(work: () => unknown): Fault {
  try {
    work();
  } catch (thrown) {
    return Fault.from(thrown);
  }
  throw new Error("nothing was thrown");
}

describe("path templates", () => {
  const cases: [template: string, path: string, values: string[] | undefined][] = [
    ["/v1/pipes", "/v1/pipes", []],
    ["/v1/pipes", "/v1/pipes/", undefined],
    ["/v1/{name=pipes/*}", "/v1/pipes/weather.daily", ["pipes/weather.daily"]],
    ["/v1/{name=pipes/*}", "/v1/pipes/a/b", undefined],
    ["/v1/{name=pipes/*}", "/v1/pipes/a:sync", undefined],
    ["/v1/{name=pipes/*}", "/v1/pipes/a%3Async", ["pipes/a:sync"]],
    ["/v1/{name=pipes/*}", "/v1/pipes/", undefined],
    ["/v1/{name=pipes/*}", "/v1/pipes/%zz", undefined],
    ["/v1/{name=pipes/*}:sync", "/v1/pipes/a:sync", ["pipes/a"]],
    ["/v1/{name=runs/**}", "/v1/runs/a/20120101T000000Z", ["runs/a/20120101T000000Z"]],
    ["/v1/{name=runs/**}", "/v1/runs/a%2Fb/c%20d", ["runs/a%2Fb/c d"]],
    ["/v1/{name=runs/**}", "/v1/runs/a/b:logs", undefined],
    ["/v1/{name=runs/**}:logs", "/v1/runs/a/b:logs", ["runs/a/b"]],
    ["/v1/{name=plugins/*/versions/*}", "/v1/plugins/p/versions/1.0.0", ["plugins/p/versions/1.0.0"]],
    ["/v1/{a}/x/{b}", "/v1/1/x/2", ["1", "2"]],
  ];
  test.each(cases)("%s with %s", (template, path, values) => {
    expect(parseTemplate(template).match(path)).toEqual(values);
  });
  test("OpenAPI has no patterns, so literals and parameters are written out", () => {
    expect(parseTemplate("/v1/{pipe.name=pipes/*}:sync").openApi).toBe("/v1/pipes/{pipe}:sync");
    expect(parseTemplate("/v1/{name=plugins/*/versions/*}").openApi).toBe("/v1/plugins/{plugin}/versions/{version}");
    expect(parseTemplate("/v1/{name=runs/**}:logs").parameters).toEqual([{ name: "run", slashes: true }]);
  });
  test("a template that is not one is refused", () => {
    expect(() => parseTemplate("/v1/*/x")).toThrow(Fault);
  });
});

describe("what a request means", () => {
  test("verb and path find the method; a custom verb is not part of a name", () => {
    expect(find("POST", "/v1/pipes/a:sync").binding.method.desc.name).toBe("SyncPipe");
    expect(find("GET", "/v1/runs/a/b:logs").binding.method.desc.name).toBe("ListRunLogs");
    expect(find("HEAD", "/v1/runs/a/b").binding.method.desc.name).toBe("GetRun");
  });
  test("another verb is 405 with Allow, another path 404", () => {
    const refused = faultOf(() => find("PUT", "/v1/pipes/a")) as Fault & {
      options: { status: number; headers: object };
    };
    expect(refused.options).toEqual({ status: 405, headers: { allow: "DELETE, GET, HEAD, PATCH" } });
    expect(faultOf(() => find("GET", "/v1/nothing"))).toMatchObject({ code: "not_found" });
  });
  test("what has no annotation is not reachable", () => {
    const names = api.methods.map(({ desc }) => desc.name);
    expect(names).not.toContain("RegisterPipe");
    expect(names).not.toContain("Serve");
  });
});

const request = (verb: string, path: string, query = "", body?: JsonValue) => {
  const { binding, variables } = find(verb, path);
  const json = requestJson(binding, { variables, query: new URLSearchParams(query), body });
  fromJson(binding.method.desc.input, json);
  return json;
};

describe("requests as JSON", () => {
  test("path, body and query meet in one message", () => {
    expect(request("PATCH", "/v1/pipes/a.b", "update_mask=state_reason,tags", { tags: ["x"] })).toEqual({
      pipe: { name: "pipes/a.b", tags: ["x"] },
      updateMask: "stateReason,tags",
    });
    expect(request("POST", "/v1/instances", "instanceId=i", { plugin: "plugins/p", config: { a: [1, null] } })).toEqual(
      {
        instance: { plugin: "plugins/p", config: { a: [1, null] } },
        instanceId: "i",
      },
    );
    expect(request("POST", "/v1/pipes/a:sync", "", { begin: "2012-01-01T00:00:00Z", refetch: true })).toEqual({
      name: "pipes/a",
      begin: "2012-01-01T00:00:00Z",
      refetch: true,
    });
    expect(request("DELETE", "/v1/plugins/p", "cascade=true&etag=e")).toEqual({
      name: "plugins/p",
      cascade: true,
      etag: "e",
    });
    expect(request("GET", "/v1/pipes/a/windows", "pageSize=5&state=WINDOW_STATE_DONE")).toEqual({
      parent: "pipes/a",
      pageSize: "5",
      state: "WINDOW_STATE_DONE",
    });
    expect(request("GET", "/v1/runs", "since=2012-01-01T00:00:00Z")).toEqual({ since: "2012-01-01T00:00:00Z" });
  });
  test("every mistake at once, by the name that the caller wrote", () => {
    const body = { tags: "x", nope: 1, parameters: { columns: [{ name: "a", kind: 1 }, 5], attempts: "many" } };
    const { code, mistakes } = faultOf(() => request("POST", "/v1/pipes", "odd=1", body));
    expect(code).toBe("invalid");
    expect(mistakes.map(({ field }) => field).sort()).toEqual([
      "odd",
      "pipe.nope",
      "pipe.parameters.attempts",
      "pipe.parameters.columns[0].kind",
      "pipe.parameters.columns[1]",
      "pipe.tags",
    ]);
    for (const mistake of mistakes) expect(mistake.fix).toBeTruthy();
  });
  const bad: [what: string, work: () => unknown, field: string, problem: RegExp][] = [
    ["a naive time", () => request("GET", "/v1/runs", "since=2012-01-01T00:00:00"), "since", /does not fit/],
    ["a number that is none", () => request("GET", "/v1/runs", "pageSize=many"), "pageSize", /"many" does not fit/],
    ["the same twice", () => request("GET", "/v1/runs", "kind=a&kind=b"), "kind", /given 2 times/],
    ["query beside a whole body", () => request("POST", "/v1/query", "sql=x", {}), "sql", /given in the query/],
    ["a name again", () => request("GET", "/v1/pipes/a", "name=pipes/b"), "name", /given in the query/],
    ["a name that differs", () => request("PATCH", "/v1/pipes/a", "", { name: "pipes/b" }), "pipe.name", /differs/],
    ["a body that is a list", () => request("POST", "/v1/query", "", [1]), "", /not a JSON object/],
    ["an enum that is none", () => request("GET", "/v1/pipes/a/windows", "state=DONE"), "state", /does not fit/],
    ["a key of every object", () => request("GET", "/v1/runs", "__proto__=x"), "__proto__", /not a parameter/],
    ["constructor", () => request("POST", "/v1/query", "", { constructor: 1 }), "constructor", /not known/],
  ];
  test.each(bad)("%s is named", (_, work, field, problem) => {
    const { mistakes } = faultOf(work);
    expect(mistakes[0]).toMatchObject({ field, problem: expect.stringMatching(problem) });
  });
});

describe("OpenAPI", () => {
  const document = openApi(api, "1.0.0", true) as JsonObject & {
    paths: Record<string, Record<string, JsonObject & { operationId: string; parameters?: JsonObject[] }>>;
    components: JsonObject;
  };
  test("holds exactly the annotated methods", () => {
    const told = Object.entries(document.paths).flatMap(([path, verbs]) =>
      Object.keys(verbs).map((v) => `${v} ${path}`),
    );
    const annotated = api.methods.flatMap(({ bindings }) =>
      bindings.map(({ verb, template }) => `${verb.toLowerCase()} ${template.openApi}`),
    );
    expect(told.sort()).toEqual(annotated.sort());
    expect(new Set(annotated).size).toBe(annotated.length);
  });
  test("every $ref resolves, every path parameter is declared, every operation has its own id and words", () => {
    const refs: string[] = [];
    JSON.stringify(document, (key, value) => {
      if (key === "$ref") refs.push(value);
      return value;
    });
    expect(refs.length).toBeGreaterThan(100);
    for (const ref of new Set(refs)) {
      const found = ref
        .slice(2)
        .split("/")
        .reduce<JsonValue | undefined>((at, part) => (at as JsonObject | undefined)?.[part], document);
      expect(found, ref).toBeDefined();
    }
    const ids = new Set<string>();
    for (const [path, verbs] of Object.entries(document.paths)) {
      const wanted = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
      for (const operation of Object.values(verbs)) {
        const declared = (operation.parameters ?? []).filter((p) => p.in === "path").map((p) => p.name);
        expect(declared).toEqual(wanted);
        ids.add(operation.operationId);
        expect(operation.description, operation.operationId).toBeTruthy();
        for (const parameter of operation.parameters ?? []) {
          if (parameter.in === "query") expect(parameter.description, String(parameter.name)).toBeTruthy();
        }
      }
    }
    expect(ids.size).toBe(api.methods.flatMap(({ bindings }) => bindings).length);
  });
  test("schemas carry the comments and the canonical JSON names and forms", () => {
    const schemas = document.components.schemas as Record<string, { description: string; properties: JsonObject }>;
    expect(schemas.Pipe?.description).toContain("bound to a dataset");
    expect(schemas.Pipe?.properties.createTime).toMatchObject({ format: "date-time", readOnly: true });
    expect(schemas.Window?.properties.rows).toMatchObject({ type: "string", format: "int64" });
    expect(document.security).toEqual([{ token: [] }]);
  });
});
