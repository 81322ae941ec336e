/** Extism's own PDK for AssemblyScript: what each part of it does, by the list that all PDKs here follow. */
import { Config, Host, LogLevel, Memory, Var } from "@extism/as-pdk";
import { error_set, http_request, length } from "@extism/as-pdk/lib/env";

// @ts-ignore: a decorator of the compiler's
@external("extism:host/env", "http_status_code")
declare function statusCode(): i32;
// @ts-ignore: a decorator of the compiler's
@external("extism:host/env", "http_headers")
declare function httpHeaders(): u64;

const bytesOf = (text: string): Uint8Array => Uint8Array.wrap(String.UTF8.encode(text));

export function stop(_message: string | null, _file: string | null, _line: u32, _column: u32): void {
  unreachable();
}

export function echo(): i32 {
  Host.output(Host.input());
  return 0;
}

/** `outputString` of 1.0.0 makes its block as long as the text has characters, and writes as many bytes as it has. */
export function text(): i32 {
  Host.outputString(Host.inputString());
  return 0;
}

export function config(): i32 {
  const value = Config.get(Host.inputString());
  Host.output(bytesOf(value === null ? "none" : value));
  return 0;
}

export function vars(): i32 {
  const before = Var.getString("naïve ☃");
  Var.set("naïve ☃", Host.input());
  const after = Var.getString("naïve ☃");
  Var.remove("naïve ☃");
  const removed = Var.getString("naïve ☃");
  const words = [before, after, removed].map<string>((word) => (word === null ? "none" : word));
  Host.output(bytesOf(words.join("|")));
  return 0;
}

export function logs(): i32 {
  const text = Host.inputString();
  Host.log(LogLevel.Debug, text);
  Host.log(LogLevel.Info, text);
  Host.log(LogLevel.Warn, text);
  Host.log(LogLevel.Error, text);
  return 0;
}

/** The PDK has no class for HTTP, only the import. */
export function http(): i32 {
  const request = `{"url":"${Host.inputString()}","method":"POST","headers":{"x-name":"blå"}}`;
  const body = Memory.allocateString("grød ☃");
  const at = http_request(Memory.allocateString(request).offset, body.offset);
  const answer = new Memory(at, length(at)).toString();
  const headersAt = httpHeaders();
  const headers = headersAt == 0 ? "{}" : new Memory(headersAt, length(headersAt)).toString();
  const from = headers.indexOf('"x-mood":"') + 10;
  const mood = headers.substring(from, headers.indexOf('"', from));
  Host.output(bytesOf(`${statusCode()}|${mood}|${answer}`));
  return 0;
}

export function fails(): i32 {
  error_set(Memory.allocateString(Host.inputString()).offset);
  return 1;
}
