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
	// Attempts over 1 lets the host try again, with a growing pause: when the other side is not there, for 429 and 5xx.
	// At most 5, and only for methods that may be repeated.
	Attempts int
	// Cache asks again with what the server said of its answer, by ETag or date. Only for GET.
	Cache bool
	// Proxy goes through the operator's.
	Proxy bool
}

// Placeholder stands for a secret in the query, a header or a text body: the host puts the value in, and the plugin
// never sees it.
func Placeholder(secret string) string { return "{{secret:" + secret + "}}" }

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
	if ask.Attempts > 1 {
		request["retry"] = map[string]int{"attempts": ask.Attempts}
	}
	if ask.Cache {
		request["cache"] = true
	}
	if ask.Proxy {
		request["proxy"] = true
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

// Secret is a secret's value, for secrets that plugin.json lists with "!". In HTTP requests, use Placeholder instead.
func Secret(name string) (string, error) {
	var found struct {
		Value string `json:"value"`
	}
	err := Call("secret", map[string]string{"name": name}, &found)
	return found.Value, err
}

// CallFunction calls a function of another instance and reads its output into `output`, which may be nil. It has what
// is left of this call's own time.
func CallFunction(instance, function string, input, output any) error {
	return CallFunctionWithin(0, instance, function, input, output)
}

// CallFunctionWithin gives it no more than `timeout`.
func CallFunctionWithin(timeout time.Duration, instance, function string, input, output any) error {
	var answer struct {
		Output json.RawMessage `json:"output"`
	}
	request := map[string]any{"instance": instance, "function": function, "input": input}
	if timeout > 0 {
		request["timeout_ms"] = timeout.Milliseconds()
	}
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

// Metric is a value of the plugin's own, in the dataset `metrics` with the instance as group.
type Metric struct {
	Name  string
	Value float64
	// Type is "gauge" when empty; a "counter" only grows, save for restarts.
	Type       string
	Dimensions map[string]string
	// Time is now when zero.
	Time time.Time
}

// Send keeps the metric, if and when the run is kept.
func (m Metric) Send() error {
	request := map[string]any{"name": m.Name, "value": m.Value}
	if m.Type != "" {
		request["type"] = m.Type
	}
	if m.Dimensions != nil {
		request["dimensions"] = m.Dimensions
	}
	if !m.Time.IsZero() {
		request["time"] = FormatTime(m.Time)
	}
	return Call("metric", request, nil)
}

// Sleep waits, and others run meanwhile. It fails with "deadline" at once when the call would be over before.
func Sleep(d time.Duration) error {
	return Call("sleep", map[string]float64{"ms": float64(d) / float64(time.Millisecond)}, nil)
}
