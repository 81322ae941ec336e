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

const record = (from: number, count: number) =>
  `{${Array.from({ length: count }, (_, i) => `"some-key-${from + i}":1`).join(",")}}`;
const records = (count: number, keys: number) =>
  `[${Array.from({ length: count }, (_, i) => record(i * keys, keys)).join(",")}]`;

test.each([
  ["a map of 15,000 keys", record(0, 15_000), false],
  ["a map of 25,000 keys", record(0, 25_000), true],
  ["60 records of 100 keys of their own", records(60, 100), false],
  ["80 records of 100 keys of their own", records(80, 100), true],
  ["9,000 records with the same keys", `[${'{"key":1,"other":{"key":2}},'.repeat(9_000)}0]`, false],
  ["the same keys in lists of lists", `[${'[[{"key":[{"key":1}]}]],'.repeat(3_500)}0]`, false],
  ["the same keys in all orders", `[${orders("abcdefg").join(",")}]`, true],
  ["texts that look like keys", JSON.stringify(Array.from({ length: 30_000 }, (_, i) => `"${i}":`)), false],
  ["keys with blanks before the colon", records(80, 100).replaceAll(":", " \n\t:"), true],
  ["keys after too many ends", `}}}}}}${records(80, 100)}`, true],
])("%s", (_, json, over) => expect(request(json)).toBe(over));

/** Records with these keys, in every order. */
function orders(keys: string): string[] {
  const all = (rest: string): string[] =>
    rest === "" ? [""] : [...rest].flatMap((key) => all(rest.replace(key, "")).map((tail) => key + tail));
  return all(keys).map((order) => `{${[...order].map((key) => `"${key}":1`).join(",")}}`);
}

test("an answer of many keys is refused, one of a few less is not", () => {
  expect(costsMore(Buffer.from(records(2_500, 100)), MAX_ANSWER_COST)).toBe(true);
  expect(costsMore(Buffer.from(records(1_900, 100)), MAX_ANSWER_COST)).toBe(false);
});

test("each text is weighed by itself, however many came before", () => {
  const [light, heavy] = [Buffer.from(records(60, 100)), Buffer.from(records(80, 100))];
  for (let n = 0; n < 600; n += 1) expect(costsMore(light, MAX_REQUEST_COST)).toBe(false);
  expect(costsMore(heavy, MAX_REQUEST_COST)).toBe(true);
});

test("rows may be many", () => {
  const row = '{"time":"2012-01-01T00:00:00Z","id":1,"value":0.25},';
  const answer = Buffer.from(`{"rows":[${row.repeat((16 * 2 ** 20) / row.length)}null]}`);
  expect(costsMore(answer, MAX_ANSWER_COST)).toBe(false);
  expect(costsMore(Buffer.from(`{"rows":[${"{},".repeat(700_000)}null]}`), MAX_ANSWER_COST)).toBe(true);
});
