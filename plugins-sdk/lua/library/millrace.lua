---@meta millrace
-- What plugins require, for editors (lua-language-server). The code is the prelude of the interpreter.

---@class millrace
local millrace = {}

---@class millrace.Range A window of a pipe whose axis is an integer column. Begin inclusive, end exclusive.
---@field from integer? Nil when it has more than 63 bits: `begin` of the call has all its digits.
---@field to integer?
local Range = {}
--- Whether an integer lies inside.
---@param position integer
---@return boolean
function Range:has(position) end

---@class millrace.Window Begin inclusive, end exclusive.
---@field from number Seconds since the epoch; an integer when it is whole.
---@field to number
---@field first_day string "2012-01-31", in UTC.
---@field last_day string The last day that the window touches.
local Window = {}
--- Whether a time lies inside. Drop what a source gives beyond the window.
---@param when number|string Seconds, or RFC 3339.
---@return boolean
function Window:has(when) end
--- Every day that the window touches.
---@return fun(): string?
function Window:days() end

---@class millrace.Pipe
---@field name string
---@field connector string
---@field metric string
---@field location string "" when the pipe has none.
---@field parameters table<string, any>

---@class millrace.FetchCall
---@field pipe millrace.Pipe
---@field config table<string, any>
---@field begin string RFC 3339. The end is `call["end"]`.
---@field window millrace.Window? Nil on an axis of integers.
---@field range millrace.Range? Nil on an axis of time.
---@field cursor any What the last checkpoint saved, or the `next` of the call before; nil at the start.
---@field attempt integer

---@alias millrace.Row table<string, any>

---@class millrace.FetchAnswer
---@field rows millrace.Row[]?
---@field next any There is more: called again with this as `cursor`.
---@field watermark string? How far the source is complete, RFC 3339.
---@field status "ok"|"no_data"|"not_modified"|"partial"|nil

--- A window whose rows the plugin writes itself: by `coroutine.yield`, `millrace.emit` and `millrace.emit_csv`.
---@class millrace.SyncCall: millrace.FetchCall

---@class millrace.SyncAnswer
---@field status "ok"|"no_data"|"not_modified"|"partial"|nil

--- A string that is returned is a veto, with that reason.
---@class millrace.BeforeSyncCall
---@field pipe millrace.Pipe
---@field config table<string, any>
---@field begin string RFC 3339. The end is `call["end"]`.
---@field window millrace.Window
---@field attempt integer

---@class millrace.AfterSyncCall: millrace.BeforeSyncCall
---@field outcome string `ok`, `no_data`, `not_modified`, `partial`, or how the last attempt failed.
---@field rows integer Rows of the window that are seen now.
---@field message string Why it failed, or "".
---@field run string Id of the run.

---@class millrace.RegisterCall
---@field pipe millrace.Pipe
---@field config table<string, any>

---@class millrace.Resource
---@field name string
---@field id string
---@field type string
---@field endpoint string
---@field site string?
---@field class string?
---@field subclass string?
---@field labels table<string, string>?
---@field ttl string? Of what is discovered: `30d`.

---@class millrace.PollCall
---@field resource millrace.Resource
---@field config table<string, any>
---@field previous any What the poll before answered with.
---@field context table<string, table<string, any>> Documents about the resource, by namespace and key.
---@field attempt integer

---@class millrace.EnrichCall
---@field resource millrace.Resource
---@field config table<string, any>
---@field attempt integer

---@class millrace.Document
---@field namespace string
---@field key string
---@field value any
---@field resource string? By its name. Default: the resource of the call.
---@field ttl string? `1h`

---@class millrace.MetricGroup
---@field group string
---@field time string?
---@field dimensions table<string, string>?
---@field values table<string, millrace.Value>

---@class millrace.Value
---@field value number
---@field type "gauge"|"counter"

---@class millrace.DiscoverCall
---@field config table<string, any>
---@field site string?

---@class millrace.RouteCall
---@field method string
---@field path string
---@field params table<string, string>
---@field query table<string, string|string[]>
---@field headers table<string, string>
local RouteCall = {}
--- The body, any bytes.
---@return string
function RouteCall:text() end
---@return any
function RouteCall:json() end

---@class millrace.Failure What host calls raise, and what you may raise: error { code = …, message = … }.
---@field code string
---@field message string
---@field retryable boolean?
---@field details table<string, any>? `retry_after_ms` says how long to wait at least.

--- Raises a failure with a code of its own.
---@param code string
---@param message string
---@param more { retryable: boolean?, details: table<string, any>? }?
function millrace.fail(code, message, more) end

--- Sends a row or a list of rows, in batches. In `fetch`, coroutine.yield does the same.
---@param rows millrace.Row|millrace.Row[]
function millrace.emit(rows) end

--- Rows as CSV with a header, read by the store as they are: some MiB at a time. Gives their count once durable.
---@param text string
---@return integer
function millrace.emit_csv(text) end
--- The same with an Arrow stream: the IPC streaming format, schema first, uncompressed.
---@param stream string Any bytes.
---@return integer
function millrace.emit_arrow(stream) end
--- All rows so far are kept, and a next attempt gets `cursor`.
---@param cursor any
function millrace.checkpoint(cursor) end
---@param done number
---@param total number?
---@param message string?
function millrace.progress(done, total, message) end

---@class millrace.Reply
---@field status integer
---@field headers table<string, string|string[]>
---@field body string Any bytes.
---@field url string
---@field elapsed_ms number
---@field tls { valid_until: string }?
local Reply = {}
---@return boolean
function Reply:ok() end
---@param name string In any case.
---@return string?
function Reply:header(name) end
--- Errors: `bad_answer`.
---@return any
function Reply:json() end
--- The reply itself. Errors: `http_<status>`, retryable when the status says so.
---@return millrace.Reply
function Reply:expect_ok() end

---@class millrace.HttpOptions
---@field headers table<string, string>?
---@field query table<string, any>?
---@field body string? Any bytes.
---@field json any
---@field timeout number? Seconds.
---@field attempts integer? Tries at most, as retrying may help.
---@field cache any The host's.
---@field proxy string?

---@class millrace.http
---@field get fun(url: string, options: millrace.HttpOptions?): millrace.Reply
---@field head fun(url: string, options: millrace.HttpOptions?): millrace.Reply
---@field post fun(url: string, options: millrace.HttpOptions?): millrace.Reply
---@field put fun(url: string, options: millrace.HttpOptions?): millrace.Reply
---@field patch fun(url: string, options: millrace.HttpOptions?): millrace.Reply
---@field delete fun(url: string, options: millrace.HttpOptions?): millrace.Reply
---@field request fun(method: string, url: string, options: millrace.HttpOptions?): millrace.Reply
---@field json fun(url: string, options: millrace.HttpOptions?): any
millrace.http = {}

---@class millrace.Entry
---@field key string? Of `list`.
---@field value any
---@field revision integer

---@class millrace.kv
---@field get fun(key: string, default: any): any
---@field entry fun(key: string): millrace.Entry?
---@field put fun(key: string, value: any, ttl: number?): integer `ttl` in seconds; without it an entry stays.
---@field create fun(key: string, value: any, ttl: number?): integer Errors: `exists`.
---@field update fun(key: string, value: any, revision: integer, ttl: number?): integer Errors: `conflict`.
---@field delete fun(key: string, revision: integer?)
---@field list fun(prefix: string?): millrace.Entry[]
---@field page fun(prefix: string, limit: integer, after: any): millrace.Entry[], any And what comes after, or nil.
millrace.kv = {}

--- Documents that enrichments wrote, about the resource of the call or the one of this name.
---@class millrace.context
---@field get fun(namespace: string, key: string, resource: string?): any
---@field entry fun(namespace: string, key: string, resource: string?): table? With `instance`, `written`, `ttl_ms`.
---@field list fun(namespace: string, prefix: string?, resource: string?): table[]
---@field page fun(namespace: string, prefix: string, limit: integer, after: any, resource: string?): table[], any
millrace.context = {}

---@class millrace.log
---@field debug fun(message: any, fields: table?)
---@field info fun(message: any, fields: table?)
---@field warn fun(message: any, fields: table?)
---@field error fun(message: any, fields: table?)
millrace.log = {}

---@class millrace.json
---@field null any What a null in an array is, and what to write where null must be.
---@field array fun(list: any[]?): any[] An array, also when it is empty.
---@field number fun(digits: string): any A number of digits that Lua has no type for.
---@field encode fun(value: any): string
---@field decode fun(text: string): any
millrace.json = {}

--- The value of a secret. Needs `name!` among the permissions.
---@param name string
---@return string
function millrace.secret(name) end
--- Text for HTTP requests: the host puts the secret in, and the plugin never sees it.
---@param name string
---@return string
function millrace.placeholder(name) end
--- Read-only SQL on granted tables. Placeholders are ClickHouse's: `WHERE city = {city:String}`.
---@param sql string
---@param params table<string, any>?
---@param max_rows integer?
---@return table<string, any>[]
function millrace.query(sql, params, max_rows) end
--- Another instance's function.
---@param instance string
---@param name string
---@param input any
---@param timeout number? Seconds.
---@return any
function millrace.call(instance, name, input, timeout) end
---@param subject string
---@param body any
function millrace.publish(subject, body) end
--- A value of the plugin's own in the dataset `metrics`.
---@param name string
---@param value number
---@param options { type: "gauge"|"counter"|nil, time: string?, dimensions: table<string, string>? }?
function millrace.metric(name, value, options) end

---@class millrace.SocketOptions
---@field expect string|integer|nil The answer is whole with this text, or with so many bytes.
---@field timeout number? Seconds.
---@field verify boolean? Of tls; default true.

---@class millrace.Exchanged
---@field data string What came back, any bytes.
---@field closed boolean
---@field elapsed_ms number

---@alias millrace.Exchange
---| fun(host: string, port: integer, send: string?, options: millrace.SocketOptions?): millrace.Exchanged
---@type { tcp: millrace.Exchange, tls: millrace.Exchange, udp: millrace.Exchange }
millrace.socket = {}

---@class millrace.Pinged
---@field reachable boolean
---@field reason string? Why it is not.

---@class millrace.ping
---@field tcp fun(host: string, port: integer, options: { timeout: number? }?): millrace.Pinged
---@field tls fun(host: string, port: integer, options: { timeout: number? }?): millrace.Pinged
---@field icmp fun(host: string, options: { timeout: number?, count: integer? }?): millrace.Pinged
millrace.ping = {}

---@class millrace.Varbind
---@field oid string
---@field type string
---@field value any

--- options: port, community or user, retries, max_repetitions, max_values, timeout. The second value: cut short.
---@alias millrace.Device fun(host: string, oids: string|string[], options: table?): millrace.Varbind[], boolean
---@type { get: millrace.Device, walk: millrace.Device }
millrace.snmp = {}

--- Any host function, by its name.
---@param name string
---@param request any
---@return any
function millrace.host_call(name, request) end
--- Waits without using the CPU.
---@param seconds number
function millrace.sleep(seconds) end
--- Seconds since the epoch, by the host's clock.
---@return number
function millrace.now() end
---@param count integer
---@return string
function millrace.random_bytes(count) end
--- Seconds of RFC 3339 text; nil and why when it is none.
---@param text string
---@return number?, string?
function millrace.parse_time(text) end
---@param seconds number
---@return string
function millrace.format_time(seconds) end
--- Percent-encodes text for a URL.
---@param text any
---@return string
function millrace.quote(text) end
---@param data string
---@return string
function millrace.to_base64(data) end
---@param text string
---@return string
function millrace.from_base64(text) end
--- A value that goes up and down.
---@param value number
---@return millrace.Value
function millrace.gauge(value) end
--- A value that only grows, save for restarts.
---@param value number
---@return millrace.Value
function millrace.counter(value) end

return millrace
