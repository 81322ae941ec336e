package millrace

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Call calls a host function by name and reads its answer into `into`, which may be nil. The typed functions of this
// package are made of it. Errors are *Error.
func Call(name string, request, into any) error {
	asked, err := encode(request)
	if err != nil {
		return Fail("bad_request", "the request of %s is not JSON: %v", name, err)
	}
	return callRaw(name, asked, into)
}

func callRaw(name string, request []byte, into any) error {
	var answer struct {
		OK    json.RawMessage `json:"ok"`
		Error *Error          `json:"error"`
	}
	if err := decode(callHost(name, request), &answer); err != nil {
		return Fail("host_error", "the answer to %s is not JSON: %v", name, err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	if into == nil || len(answer.OK) == 0 {
		return nil
	}
	if err := decode(answer.OK, into); err != nil {
		return Fail("host_error", "the answer to %s: %v", name, err)
	}
	return nil
}

// Progress says how far this run is, for people who watch it.
func Progress(done, total float64, message string) error {
	return Call("progress", map[string]any{"done": done, "total": total, "message": message}, nil)
}

// Log writes a line of this run's log: level is debug, info, warn or error; fields may be nil.
func Log(level, message string, fields map[string]any) {
	line := map[string]any{"level": level, "message": message}
	if fields != nil {
		line["fields"] = fields
	}
	_ = Call("log", line, nil)
}

// Now is the host's clock. time.Now tells the same time.
func Now() time.Time {
	ms := nowMs()
	return time.UnixMicro(int64(math.Round(ms * 1000))).UTC()
}

// Random is `count` random bytes from the host, at most 1 MiB.
func Random(count int) []byte { return randomBytes(count) }

// Request is an HTTP request. Only URL must be there.
type Request struct {
	URL string
	// Method is GET when empty.
	Method  string
	Headers map[string]string
	Body    []byte
	// Timeout 0 is the host's default. The run's own deadline holds in any case.
	Timeout time.Duration
}

// Response is an answer of any status.
type Response struct {
	Status int
	// Headers have lower-case names.
	Headers map[string]string
	Body    []byte
	// URL is where the answer came from, after redirects.
	URL     string
	Elapsed time.Duration
	// TLSValidUntil is when the server's certificate runs out, zero without TLS.
	TLSValidUntil time.Time
}

// OK tells whether the status is 200 to 299.
func (r *Response) OK() bool { return r.Status >= 200 && r.Status < 300 }

// JSON reads the body.
func (r *Response) JSON(into any) error {
	if err := decode(r.Body, into); err != nil {
		return Fail("bad_answer", "%s did not answer with the expected JSON: %v", r.URL, err)
	}
	return nil
}

// Err is nil for 200 to 299; else an error, retryable after Retry-After where trying again may help.
func (r *Response) Err() error {
	if r.OK() {
		return nil
	}
	err := Fail("http_"+strconv.Itoa(r.Status), "%s answered %d", r.URL, r.Status)
	if r.Status == 408 || r.Status == 429 || r.Status >= 500 {
		seconds, _ := strconv.Atoi(r.Headers["retry-after"])
		return err.Retry(time.Duration(seconds) * time.Second)
	}
	return err
}

// Get is a GET with the host's default time-out.
func Get(url string) (*Response, error) { return Do(Request{URL: url}) }

// Do sends a request through the host, which allows only what plugin.json asks for and the operator grants.
func Do(ask Request) (*Response, error) {
	request := map[string]any{"url": ask.URL, "method": "GET", "headers": map[string]string{}}
	if ask.Method != "" {
		request["method"] = ask.Method
	}
	if ask.Headers != nil {
		request["headers"] = ask.Headers
	}
	if utf8.Valid(ask.Body) && len(ask.Body) > 0 {
		request["body"] = string(ask.Body)
	} else if len(ask.Body) > 0 {
		request["body_base64"] = base64.StdEncoding.EncodeToString(ask.Body)
	}
	if ask.Timeout > 0 {
		request["timeout_ms"] = ask.Timeout.Milliseconds()
	}
	var got struct {
		Status    int               `json:"status"`
		Headers   map[string]string `json:"headers"`
		URL       string            `json:"url"`
		ElapsedMs float64           `json:"elapsed_ms"`
		TLS       struct {
			ValidUntil time.Time `json:"valid_until"`
		} `json:"tls"`
		message
	}
	if err := Call("http", request, &got); err != nil {
		return nil, err
	}
	elapsed := time.Duration(got.ElapsedMs * float64(time.Millisecond))
	return &Response{got.Status, got.Headers, got.bytes(), got.URL, elapsed, got.TLS.ValidUntil}, nil
}

// message is what carries a body, as text or in base64.
type message struct {
	Body       string  `json:"body"`
	BodyBase64 *string `json:"body_base64"`
}

func (m message) bytes() []byte {
	if m.BodyBase64 == nil {
		return []byte(m.Body)
	}
	body, _ := base64.StdEncoding.DecodeString(*m.BodyBase64)
	return body
}

// Entry is what the plugin's own key-value store holds under a key.
type Entry struct {
	Key string `json:"key"`
	// Value is nil when there is no such key.
	Value    json.RawMessage `json:"value"`
	Revision json.Number     `json:"revision"`
}

// Load reads the value; false when there is none.
func (e Entry) Load(into any) bool { return e.Value != nil && decode(e.Value, into) == nil }

type kvRequest struct {
	Op       string      `json:"op"`
	Key      string      `json:"key"`
	Value    any         `json:"value,omitempty"`
	Revision json.Number `json:"revision,omitempty"`
}

// KVGet finds a key; its revision is for KVUpdate.
func KVGet(key string) (entry Entry, err error) {
	err = Call("kv", kvRequest{Op: "get", Key: key}, &entry)
	return
}

// KVPut writes whatever is there.
func KVPut(key string, value any) error { return Call("kv", kvRequest{"put", key, value, ""}, nil) }

// KVCreate fails with "exists" when there is a value: of many racers one succeeds.
func KVCreate(key string, value any) error {
	return Call("kv", kvRequest{"create", key, value, ""}, nil)
}

// KVUpdate fails with "conflict" when somebody wrote since `revision`.
func KVUpdate(key string, value any, revision json.Number) error {
	return Call("kv", kvRequest{"update", key, value, revision}, nil)
}

// KVDelete takes a key away.
func KVDelete(key string) error { return Call("kv", kvRequest{Op: "delete", Key: key}, nil) }

// KVList finds all entries below a prefix.
func KVList(prefix string) ([]Entry, error) {
	var found struct {
		Entries []Entry `json:"entries"`
	}
	err := Call("kv", kvRequest{Op: "list", Key: prefix}, &found)
	return found.Entries, err
}

// Table is the answer to a query.
type Table struct {
	Columns []struct {
		Name string `json:"name"`
		Type string `json:"type"`
	} `json:"columns"`
	Rows [][]any `json:"rows"`
}

// Query runs read-only SQL on granted tables. Placeholders are ClickHouse's, {city:String}, with their values in
// `params`: never build SQL from input. maxRows 0 is the host's default.
func Query(sql string, params map[string]any, maxRows int) (table Table, err error) {
	if params == nil {
		params = map[string]any{}
	}
	request := map[string]any{"sql": sql, "params": params}
	if maxRows > 0 {
		request["max_rows"] = maxRows
	}
	err = Call("query", request, &table)
	return
}

// Secret is a secret's value, for secrets that plugin.json lists with "!". In HTTP requests, write
// {{secret:name}} instead.
func Secret(name string) (string, error) {
	var found struct {
		Value string `json:"value"`
	}
	err := Call("secret", map[string]string{"name": name}, &found)
	return found.Value, err
}

// CallFunction calls a function of another instance and reads its output into `output`, which may be nil.
func CallFunction(instance, function string, input, output any) error {
	var answer struct {
		Output json.RawMessage `json:"output"`
	}
	request := map[string]any{"instance": instance, "function": function, "input": input}
	if err := Call("call", request, &answer); err != nil || output == nil {
		return err
	}
	if err := decode(answer.Output, output); err != nil {
		return Fail("bad_answer", "%s/%s: %v", instance, function, err)
	}
	return nil
}

// Publish tells whoever listens below this instance's own subjects.
func Publish(subject string, body any) error {
	return Call("publish", map[string]any{"subject": subject, "body": body}, nil)
}
