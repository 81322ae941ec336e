/** Counters in Prometheus' text format: requests by route and status, their durations, executors, what is in flight. */
import type { ExecutorsState } from "./executors.ts";

export interface Metrics {
  readonly inFlight: number;
  begin(): void;
  end(method: string, route: string, status: number, seconds: number): void;
  text(executors: ExecutorsState): string;
}

/** Upper bounds in seconds. */
const BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Routes come from protos and manifests; over this many label sets the rest is counted together. */
const MAX_SERIES = 5_000;

interface Series {
  count: number;
  sum: number;
  readonly buckets: number[];
}

export function gatewayMetrics(): Metrics {
  const requests = new Map<string, number>();
  const durations = new Map<string, Series>();
  let inFlight = 0;
  const labels = (method: string, route: string) => `method="${quote(method)}",route="${quote(route)}"`;
  const bounded = (map: ReadonlyMap<string, unknown>, key: string, other: string) =>
    map.has(key) || map.size < MAX_SERIES ? key : other;
  return {
    get inFlight() {
      return inFlight;
    },
    begin() {
      inFlight += 1;
    },
    end(method, route, status, seconds) {
      inFlight -= 1;
      const by = labels(method, route);
      const counted = bounded(requests, `${by},status="${status}"`, `${labels("", "(other)")},status="${status}"`);
      requests.set(counted, (requests.get(counted) ?? 0) + 1);
      const key = bounded(durations, by, labels("", "(other)"));
      const series = durations.get(key) ?? { count: 0, sum: 0, buckets: BUCKETS_S.map(() => 0) };
      durations.set(key, series);
      series.count += 1;
      series.sum += seconds;
      BUCKETS_S.forEach((bound, index) => {
        if (seconds <= bound) series.buckets[index] = (series.buckets[index] ?? 0) + 1;
      });
    },
    text(executors) {
      const lines: string[] = [];
      const head = (name: string, type: string, help: string) =>
        lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      head("millrace_http_requests_total", "counter", "HTTP requests answered.");
      for (const [by, count] of requests) lines.push(`millrace_http_requests_total{${by}} ${count}`);
      head("millrace_http_request_duration_seconds", "histogram", "From the request's head to the end of the answer.");
      for (const [by, { count, sum, buckets }] of durations) {
        const name = "millrace_http_request_duration_seconds";
        BUCKETS_S.forEach((bound, index) => {
          lines.push(`${name}_bucket{${by},le="${bound}"} ${buckets[index]}`);
        });
        lines.push(
          `${name}_bucket{${by},le="+Inf"} ${count}`,
          `${name}_sum{${by}} ${sum}`,
          `${name}_count{${by}} ${count}`,
        );
      }
      const gauge = (name: string, help: string, value: number) => {
        head(name, "gauge", help);
        lines.push(`${name} ${value}`);
      };
      gauge("millrace_http_requests_in_flight", "HTTP requests being answered.", inFlight);
      gauge("millrace_executors", "Executors connected.", executors.executors);
      gauge("millrace_executor_capacity", "Plugin calls that the executors take at once.", executors.capacity);
      gauge("millrace_executor_calls_in_flight", "Plugin calls being run.", executors.inFlight);
      gauge("millrace_executor_calls_waiting", "Plugin calls waiting for room.", executors.waiting);
      gauge("process_resident_memory_bytes", "Resident memory.", process.memoryUsage.rss());
      return `${lines.join("\n")}\n`;
    },
  };
}

const quote = (value: string) => value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n");
