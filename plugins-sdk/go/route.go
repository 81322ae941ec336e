package millrace

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// RouteCall is one HTTP request that the gateway hands to the plugin, and its answer.
type RouteCall struct {
	Method, Path string
	// Params are the declared route's {name} parts.
	Params map[string]string
	// Headers have lower-case names.
	Headers map[string]string
	Body    []byte

	query   map[string]any
	answer  map[string]any
	headers map[string]string
}

// Route answers the export "route".
func Route(run func(*RouteCall) error) int32 {
	return guarded(func() int32 {
		var input struct {
			Method  string            `json:"method"`
			Path    string            `json:"path"`
			Params  map[string]string `json:"params"`
			Query   map[string]any    `json:"query"`
			Headers map[string]string `json:"headers"`
			message
		}
		read(&input)
		headers := map[string]string{}
		call := &RouteCall{
			Method: input.Method, Path: input.Path, Params: input.Params, Headers: input.Headers, Body: input.bytes(),
			query: input.Query, headers: headers, answer: map[string]any{"status": 204, "headers": headers},
		}
		err := run(call)
		return end(call.answer, err)
	})
}

// Query is a query parameter, or the fallback; of one that was given many times, the first.
func (c *RouteCall) Query(name, fallback string) string {
	value := c.query[name]
	if many, ok := value.([]any); ok && len(many) > 0 {
		value = many[0]
	}
	if text, ok := value.(string); ok {
		return text
	}
	return fallback
}

// Header sets a header of the answer.
func (c *RouteCall) Header(name, value string) { c.headers[name] = value }

// Send answers with any bytes.
func (c *RouteCall) Send(status int, contentType string, body []byte) error {
	c.headers["content-type"] = contentType
	c.answer["status"] = status
	delete(c.answer, "body")
	delete(c.answer, "body_base64")
	if utf8.Valid(body) {
		c.answer["body"] = string(body)
	} else {
		c.answer["body_base64"] = base64.StdEncoding.EncodeToString(body)
	}
	return nil
}

// SendText answers with plain text.
func (c *RouteCall) SendText(status int, body string) error {
	return c.Send(status, "text/plain; charset=utf-8", []byte(body))
}

// SendJSON answers with JSON.
func (c *RouteCall) SendJSON(status int, body any) error {
	out, err := encode(body)
	if err != nil {
		return err
	}
	return c.Send(status, "application/json; charset=utf-8", out)
}

// SendError answers {"error":{"code","message"}}: for what the caller did wrong. For what the plugin cannot do, return
// an error.
func (c *RouteCall) SendError(status int, code, message string) error {
	return c.SendJSON(status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

// Function answers an export "function:<name>", which other plugins call: JSON in, JSON out.
func Function[Input, Output any](run func(Input) (Output, error)) int32 {
	return guarded(func() int32 {
		var input Input
		if raw, ok := any(&input).(*json.RawMessage); ok {
			*raw = wholeInput()
		} else if err := decode(wholeInput(), &input); err != nil {
			return end(nil, Fail("invalid", "the input: %v", err))
		}
		output, err := run(input)
		return end(output, err)
	})
}

// wholeInput is Input, whose name the type parameter takes.
func wholeInput() []byte { return Input() }
