/** Lists over many pages: whole, or not at all. */
import { expect, test } from "vitest";
import { pages } from "../../services/cli/api.ts";

const list = (count: number) => {
  const asked: string[] = [];
  const next = async (token: string) => {
    asked.push(token);
    return { item: asked.length, nextPageToken: asked.length < count ? `t${asked.length}` : "" };
  };
  return { asked, next };
};

test("every page is asked for with the token of the one before", async () => {
  const { asked, next } = list(100);
  const all = await pages(next);
  expect(all.map(({ item }) => item)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  expect(asked.slice(0, 3)).toEqual(["", "t1", "t2"]);
});

test("a list that is too long to show whole is refused, and not cut short", async () => {
  const { asked, next } = list(101);
  await expect(pages(next)).rejects.toMatchObject({ code: "too_large", message: expect.stringContaining("100 pages") });
  expect(asked.length).toBe(100);
});
