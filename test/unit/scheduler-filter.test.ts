/** Filters over resources: what they pick, and how a wrong one is refused. */
import { expect, test } from "vitest";
import { Resource } from "../../proto/gen/millrace/registry/v1/resource.ts";
import { compileFilter, discoveredBy } from "../../services/scheduler/filter.ts";

const router = Resource.fromPartial({
  name: "resources/r1",
  id: "10.0.0.1",
  type: "router",
  class: "network",
  site: "zürich",
  labels: { tier: "core" },
  origin: "instances/inventory",
});

test.each([
  ['resource.type == "router"', true],
  ['resource.type == "switch"', false],
  ['resource.class == "network" && resource.site == "zürich"', true],
  ['resource.labels.tier == "core"', true],
  ['resource.labels.absent == "core"', false],
  ['"absent" in resource.labels', false],
  ['resource.id.startsWith("10.") || false', true],
  ['resource.name == "resources/r1"', true],
  ['resource.origin == "instances/inventory"', true],
  ["true", true],
])("%s", (expression, picked) => {
  const filter = compileFilter(expression, "filter");
  expect(filter(router)).toBe(picked);
});

test.each([
  ["resource.type ==", "is not CEL"],
  ["", "is not CEL"],
  ["1 + 1", "is of type int"],
  ["resource.type", "is of type string"],
  ["resource.port > 3", "port"],
  ["device.type == 'x'", "Unknown variable"],
  ["(".repeat(60), "is not CEL"],
  [`resource.type == "${"x".repeat(5_000)}"`, "longer than 2000"],
])("%.40s is refused", (expression, why) => {
  expect(() => compileFilter(expression, "poller.filter")).toThrow(why);
  expect(() => compileFilter(expression, "poller.filter")).toThrow("poller.filter");
});

test("the default picks what the instance discovered", () => {
  expect(discoveredBy("instances/inventory")(router)).toBe(true);
  expect(discoveredBy("instances/other")(router)).toBe(false);
});
