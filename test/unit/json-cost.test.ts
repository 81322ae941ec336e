/** What a guest's JSON would cost a parser, before it is parsed. */
import { expect, test } from "vitest";
import { costsMore, MAX_ANSWER_COST, MAX_REQUEST_COST } from "../../services/executor/json-cost.ts";

const request = (json: string) => costsMore(Buffer.from(json), MAX_REQUEST_COST);

test.each([
  ["few values", JSON.stringify({ url: "http://a/", headers: { a: "b" } }), false],
  ["a large text full of brackets", JSON.stringify({ body: "[{,".repeat(1_000_000) }), false],
  ["text with quotes and backslashes in it", JSON.stringify({ body: '\\"[,\\\\'.repeat(500_000) }), false],
  ["text that does not end", `{"a":"${"[".repeat(1_000_000)}`, false],
  ["19,000 lists", `[${"[],".repeat(19_000)}0]`, false],
  ["21,000 lists", `[${"[],".repeat(21_000)}0]`, true],
  ["a list in a list in a list", "[".repeat(100_000), true],
  ["199,000 numbers", `[${"1,".repeat(199_000)}1]`, false],
  ["201,000 numbers", `[${"1,".repeat(201_000)}1]`, true],
  ["lists after a text", `{"a":"\\\\","b":[${"{},".repeat(30_000)}0]}`, true],
])("%s", (_, json, over) => expect(request(json)).toBe(over));

test("rows may be many", () => {
  const row = '{"time":"2012-01-01T00:00:00Z","id":1,"value":0.25},';
  const answer = Buffer.from(`{"rows":[${row.repeat((16 * 2 ** 20) / row.length)}null]}`);
  expect(costsMore(answer, MAX_ANSWER_COST)).toBe(false);
  expect(costsMore(Buffer.from(`{"rows":[${"{},".repeat(700_000)}null]}`), MAX_ANSWER_COST)).toBe(true);
});
