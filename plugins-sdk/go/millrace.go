// Package millrace writes plugins for Millrace in Go.
//
// A plugin is package main with an empty main, and an export for each interface that its plugin.json declares:
//
//	//go:wasmexport fetch
//	func fetch() int32 { return millrace.Fetch(prices) }
//
//	func prices(run *millrace.FetchCall) error { … }
//
// Every call runs on a fresh copy of the plugin, taken after its init functions ran: variables do not outlive a call.
// Keep state in the key-value store or in cursors.
package millrace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Error is how something ended badly. The platform's own codes ("denied", "deadline", …) come from host functions;
// return the error as it is and it passes through.
type Error struct {
	// Code is a lower-case word.
	Code    string `json:"code"`
	Message string `json:"message"`
	// Retryable failures are tried again by the retry policy.
	Retryable bool `json:"retryable"`
	// Details are yours; "retry_after_ms" tells the platform how long to wait at least.
	Details any `json:"details,omitempty"`
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Fail is an error of your own: return millrace.Fail("bad_answer", "no column %q", name).
func Fail(code, format string, values ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, values...)}
}

// Retry makes a failure one that is tried again, after a while; 0 leaves it to the policy.
func (e *Error) Retry(after time.Duration) *Error {
	e.Retryable = true
	if after > 0 {
		e.Details = map[string]int64{"retry_after_ms": after.Milliseconds()}
	}
	return e
}

// CodeOf is the code of an error that a host function or this plugin made, "" of any other.
func CodeOf(err error) string {
	var own *Error
	if errors.As(err, &own) {
		return own.Code
	}
	return ""
}

// end turns how a call ended into what its export returns. An error that is not an *Error has the code "failed".
func end(answer any, err error) int32 {
	if err == nil {
		var out []byte
		if out, err = encode(answer); err == nil {
			setOutput(out)
			return 0
		}
	}
	own := &Error{Code: "failed"}
	if inner := (*Error)(nil); errors.As(err, &inner) {
		*own = *inner
	}
	if err != error(own) && own.Message == "" {
		own.Message = err.Error()
	}
	return fail(own)
}

func fail(err *Error) int32 {
	out, problem := encode(err)
	if problem != nil {
		out, _ = encode(&Error{Code: err.Code, Message: err.Message, Retryable: err.Retryable})
	}
	setError(out)
	return 1
}

// guarded runs a call; a panic becomes the code "panicked" with the stack in its details.
func guarded(run func() int32) (status int32) {
	defer func() {
		cause := recover()
		if refused, ok := cause.(*Error); ok {
			status = fail(refused)
		} else if cause != nil {
			stack := map[string]string{"stack": string(debug.Stack())}
			status = fail(&Error{Code: "panicked", Message: fmt.Sprint(cause), Details: stack})
		}
	}()
	return run()
}

// encode writes JSON without the escapes that only HTML needs.
func encode(value any) ([]byte, error) {
	if raw, ok := value.(json.RawMessage); ok {
		return raw, nil
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// decode reads JSON; numbers in an `any` keep every digit (json.Number).
func decode(from []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(from))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func read(into any) {
	if err := decode(Input(), into); err != nil {
		panic(Fail("refused", "the input is not JSON%s: %v", placeOf(err), err))
	}
}

// placeOf is where JSON is wrong, as far as the error tells.
func placeOf(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf(" at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf(" of this call at byte %d", kind.Offset)
	}
	return ""
}

// FormatTime is RFC 3339 in UTC, with microseconds only where there are some: what columns of times hold.
func FormatTime(t time.Time) string {
	if t = t.UTC(); t.Nanosecond()/1000 == 0 {
		return t.Format("2006-01-02T15:04:05Z")
	}
	return t.Format("2006-01-02T15:04:05.000000Z")
}
