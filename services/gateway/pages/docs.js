/** Renders /openapi.json: operations, parameters, schemas, and a way to try what only reads. */

/** An element with children; text is never read as markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

const TRY_TIMEOUT_MS = 30_000;
/** Streams do not end by themselves; this much of an answer is shown. */
const MAX_SHOWN_CHARACTERS = 20_000;

const token = () => document.getElementById("token").value;

async function readText(response) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (reader && text.length < MAX_SHOWN_CHARACTERS) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += value;
  }
  await reader?.cancel();
  return `${text}\n…`;
}

const resolve = (document_, node) =>
  node?.$ref
    ? resolve(
        document_,
        node.$ref
          .slice(2)
          .split("/")
          .reduce((at, part) => at[part], document_),
      )
    : node;

const nameOf = (schema) => schema?.$ref?.split("/").at(-1);

function typeOf(schema) {
  if (!schema) return "";
  const name = nameOf(schema);
  if (name) return element("a", { href: `#schema-${name}` }, name);
  if (schema.type === "array") return element("span", {}, "list of ", typeOf(schema.items));
  if (schema.type === "object" && typeof schema.additionalProperties === "object") {
    return element("span", {}, "object of ", typeOf(schema.additionalProperties));
  }
  return [schema.type ?? "any", schema.format].filter(Boolean).join(", ");
}

function fields(rows) {
  const body = rows.map(({ name, schema, description, required }) =>
    element(
      "tr",
      {},
      element("td", {}, element("code", {}, name), required ? " *" : ""),
      element("td", {}, typeOf(schema)),
      element("td", {}, description ?? schema?.description ?? ""),
    ),
  );
  const head = element("tr", {}, ...["name", "type", ""].map((text) => element("th", {}, text)));
  return element("table", {}, head, ...body);
}

function tryIt(path, parameters) {
  const inputs = parameters.map((parameter) => ({
    parameter,
    input: element("input", { placeholder: parameter.name }),
  }));
  const out = element("pre", { hidden: "" });
  const button = element("button", { type: "submit" }, "GET");
  const form = element("form", {}, ...inputs.map(({ input }) => input), button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    let url = path;
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") {
        const slashes = parameter["x-slashes"] === true;
        const value = slashes
          ? input.value.split("/").map(encodeURIComponent).join("/")
          : encodeURIComponent(input.value);
        url = url.replace(`{${parameter.name}}`, value);
      } else if (input.value !== "") query.set(parameter.name, input.value);
    }
    if (query.size) url += `?${query}`;
    out.hidden = false;
    out.textContent = `GET ${url} …`;
    try {
      const headers = token() ? { authorization: `Bearer ${token()}` } : {};
      const response = await fetch(url, { headers, signal: AbortSignal.timeout(TRY_TIMEOUT_MS) });
      const text = await readText(response);
      let shown = text;
      try {
        shown = JSON.stringify(JSON.parse(text), undefined, 2);
      } catch {}
      out.textContent = `GET ${url}\n${response.status} ${response.statusText}\n\n${shown}`;
    } catch (thrown) {
      out.textContent = `GET ${url}\n${thrown}`;
    }
  });
  return element("div", {}, element("h3", {}, "Try it"), form, out);
}

function operationOf(api, path, verb, operation) {
  const parameters = operation.parameters ?? [];
  const body = operation.requestBody;
  const made = element(
    "details",
    { id: operation.operationId },
    element(
      "summary",
      {},
      element("span", { class: "verb" }, verb.toUpperCase()),
      element("code", {}, path),
      element("span", { class: "soft" }, `  ${operation.summary ?? ""}`),
    ),
    element("p", {}, operation.description ?? ""),
  );
  if (parameters.length) made.append(element("h3", {}, "Parameters"), fields(parameters));
  if (body) {
    const kinds = Object.entries(body.content).map(([type, { schema }]) =>
      element("p", {}, element("code", {}, type), ": ", typeOf(schema)),
    );
    made.append(element("h3", {}, "Body"), element("p", {}, body.description ?? ""), ...kinds);
  }
  const answers = Object.entries(operation.responses).map(([status, response]) => {
    const { description, content } = resolve(api, response);
    const kinds = Object.entries(content ?? {}).flatMap(([type, { schema }]) => [" ", type, " ", typeOf(schema)]);
    return element("p", {}, element("code", {}, status), ` ${description}`, ...kinds);
  });
  made.append(element("h3", {}, "Answers"), ...answers);
  if (verb === "get") made.append(tryIt(path, parameters));
  return made;
}

function schemaOf(name, schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([field, inside]) => ({ name: field, schema: inside }));
  const values = (schema.enum ?? []).map((value) => element("div", {}, element("code", {}, value)));
  const made = element("details", { id: `schema-${name}` }, element("summary", {}, element("code", {}, name)));
  made.append(element("p", {}, schema.description ?? ""), ...(rows.length ? [fields(rows)] : []), ...values);
  return made;
}

/** A link to something folded opens it. */
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

async function render() {
  const main = document.getElementById("operations");
  try {
    const response = await fetch("/openapi.json", { signal: AbortSignal.timeout(TRY_TIMEOUT_MS) });
    if (!response.ok) throw new Error(`/openapi.json answers ${response.status}`);
    const api = await response.json();
    document.getElementById("login").hidden = api.security === undefined;
    const sections = api.tags.map(({ name, description }) => {
      const operations = Object.entries(api.paths).flatMap(([path, verbs]) =>
        Object.entries(verbs)
          .filter(([, operation]) => operation.tags.includes(name))
          .map(([verb, operation]) => operationOf(api, path, verb, operation)),
      );
      return [element("h2", { id: `tag-${name}` }, name), element("p", { class: "soft" }, description), ...operations];
    });
    const schemas = Object.entries(api.components.schemas).map(([name, schema]) => schemaOf(name, schema));
    const links = [...api.tags.map(({ name }) => name), "Schemas"];
    const anchors = links.map((name) => element("a", { href: `#tag-${name}` }, name));
    document.getElementById("tags").replaceChildren(...anchors);
    main.replaceChildren(...sections.flat(), element("h2", { id: "tag-Schemas" }, "Schemas"), ...schemas);
    openTarget();
  } catch (thrown) {
    main.replaceChildren(element("p", {}, `The API's description could not be read: ${thrown}`));
  }
}

addEventListener("hashchange", openTarget);
await render();
