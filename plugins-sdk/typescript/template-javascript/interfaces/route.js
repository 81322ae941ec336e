/** Answers over HTTP: `GET /greet/{name}?with=hei`. */
export function route({ params, query }) {
  const { with: greeting = "hello" } = query;
  return { greeting: `${greeting}, ${params.name}` };
}
