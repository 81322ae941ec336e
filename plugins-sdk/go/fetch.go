package millrace

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// A batch of emitted rows goes out when it is this large: some thousands of rows, far below the host's limit.
const batchBytes = 256 * 1024

// Pipe is what a call is for.
type Pipe struct {
	Name      string `json:"name"`
	Connector string `json:"connector"`
	Metric    string `json:"metric"`
	// Location is "" when the pipe has none.
	Location   string          `json:"location"`
	Parameters json.RawMessage `json:"parameters"`
}

// WindowCall is what every call around the window [Begin, End) of a pipe knows.
type WindowCall struct {
	Pipe Pipe `json:"pipe"`
	// On an axis of integers both are zero: see Integers and Unsigned.
	Begin, End time.Time `json:"-"`
	// From and To are Begin and End as they came: RFC 3339, or decimal integers.
	From, To string `json:"-"`
	// Attempt is 1 on the first try. For information only.
	Attempt int `json:"attempt"`

	config json.RawMessage
}

// windowInput is how the calls around a window come.
type windowInput struct {
	WindowCall
	Begin, End     string
	Config, Cursor json.RawMessage
}

func (in *windowInput) window() WindowCall {
	call := in.WindowCall
	call.From, call.To, call.config = in.Begin, in.End, in.Config
	// What is no time is an integer: the zero time then.
	call.Begin, _ = time.Parse(time.RFC3339Nano, in.Begin)
	call.End, _ = time.Parse(time.RFC3339Nano, in.End)
	return call
}

// Integers is the window [begin, end) of a pipe whose axis is an int64 column; false for any other.
func (c *WindowCall) Integers() (begin, end int64, ok bool) {
	begin, noBegin := strconv.ParseInt(c.From, 10, 64)
	end, noEnd := strconv.ParseInt(c.To, 10, 64)
	return begin, end, noBegin == nil && noEnd == nil
}

// HasInteger tells whether an integer lies in the window of a pipe whose axis is an int64 column.
func (c *WindowCall) HasInteger(position int64) bool {
	begin, end, ok := c.Integers()
	return ok && position >= begin && position < end
}

// Unsigned is the same where the axis is an uint64 column.
func (c *WindowCall) Unsigned() (begin, end uint64, ok bool) {
	begin, noBegin := strconv.ParseUint(c.From, 10, 64)
	end, noEnd := strconv.ParseUint(c.To, 10, 64)
	return begin, end, noBegin == nil && noEnd == nil
}

// EmitCall is a window whose rows can be sent as they come.
type EmitCall struct {
	WindowCall

	cursor json.RawMessage
	batch  bytes.Buffer
	status string
}

// FetchCall is one call for the rows of the window [Begin, End) of a pipe.
type FetchCall struct {
	EmitCall

	rows      bytes.Buffer
	watermark string
	next      any
}

// Fetch answers the export "fetch" with what `run` adds or emits.
func Fetch(run func(*FetchCall) error) int32 {
	return guarded(func() int32 {
		var input windowInput
		read(&input)
		call := &FetchCall{EmitCall: EmitCall{WindowCall: input.window(), cursor: input.Cursor, status: "ok"}}
		if err := run(call); err != nil {
			return end(nil, err)
		}
		if err := call.Flush(); err != nil {
			return end(nil, err)
		}
		answer, err := call.answer()
		return end(answer, err)
	})
}

func (c *FetchCall) answer() (json.RawMessage, error) {
	fields := map[string]any{"status": c.status}
	if c.next != nil {
		fields["next"] = c.next
	}
	if c.watermark != "" {
		fields["watermark"] = c.watermark
	}
	answer, err := encode(fields)
	if err == nil && c.rows.Len() > 0 {
		// The rows are JSON already, and may be many.
		answer = append(answer[:len(answer)-1], `,"rows":[`...)
		answer = append(append(answer, c.rows.Bytes()...), "]}"...)
	}
	return answer, err
}

// Config reads the instance's config into a struct.
func (c *WindowCall) Config(into any) error { return readConfig(c.config, into) }

// Cursor reads what the last checkpoint of this run saved, or the Next of the call before; false at the start.
func (c *EmitCall) Cursor(into any) bool {
	return len(c.cursor) > 0 && string(c.cursor) != "null" && decode(c.cursor, into) == nil
}

// Has tells whether a time lies in the window. Sources by whole days give more than was asked for: drop what is
// outside.
func (c *WindowCall) Has(t time.Time) bool { return !t.Before(c.Begin) && t.Before(c.End) }

// Add keeps a row for the answer: right for some thousands. A row is a struct with json tags, or a map.
func (c *FetchCall) Add(row any) error {
	line, err := encode(row)
	if err != nil {
		return Fail("bad_row", "%v", err)
	}
	if c.rows.Len() > 0 {
		c.rows.WriteByte(',')
	}
	c.rows.Write(line)
	return nil
}

// Emit sends a row to the host, in batches: right for any number. Its error is the host's refusal to take more.
func (c *EmitCall) Emit(row any) error {
	line, err := encode(row)
	if err != nil {
		return Fail("bad_row", "%v", err)
	}
	c.batch.Write(line)
	c.batch.WriteByte('\n')
	if c.batch.Len() >= batchBytes {
		return c.Flush()
	}
	return nil
}

// Flush sends the emitted rows that wait. Checkpoint and the end of the call do it too.
func (c *EmitCall) Flush() error {
	if c.batch.Len() == 0 {
		return nil
	}
	defer c.batch.Reset()
	return callRaw("emit", c.batch.Bytes(), nil)
}

// EmitCSV sends rows as CSV with a header, which the store reads as they are: some MiB at a time, 16 at most. It gives
// their count once they are durable. Flush what you emitted before.
func EmitCSV(text string) (int, error) { return emitAs("emit:csv", []byte(text)) }

// EmitArrow sends rows as an Arrow stream: the IPC streaming format, schema first.
func EmitArrow(stream []byte) (int, error) { return emitAs("emit:arrow", stream) }

func emitAs(name string, rows []byte) (int, error) {
	var stored struct {
		Rows int `json:"rows"`
	}
	err := callRaw(name, rows, &stored)
	return stored.Rows, err
}

// Checkpoint saves where this run is: after a crash or a retry the next attempt gets `cursor` back and keeps every row
// that was emitted before.
func (c *EmitCall) Checkpoint(cursor any) error {
	if err := c.Flush(); err != nil {
		return err
	}
	return Call("checkpoint", map[string]any{"cursor": cursor}, nil)
}

// Next says that there is more in this window: the host calls again with this cursor.
func (c *FetchCall) Next(cursor any) { c.next = cursor }

// Watermark says how far the source is known to be complete.
func (c *FetchCall) Watermark(t time.Time) { c.watermark = FormatTime(t) }

// WatermarkInteger says the same on an axis of integers: the one behind the last, in decimal. All windows before it are
// asked for at once; without it, one after another until one is empty.
func (c *FetchCall) WatermarkInteger(position string) { c.watermark = position }

// NoData says that the source has nothing for this window, and that is fine.
func (c *EmitCall) NoData() error { c.status = "no_data"; return nil }

// NotModified says that the source has not changed since the last run.
func (c *EmitCall) NotModified() error { c.status = "not_modified"; return nil }

// Partial says that some of what was asked for is there, and the rest failed.
func (c *EmitCall) Partial() error { c.status = "partial"; return nil }

func readConfig(config json.RawMessage, into any) error {
	if len(config) == 0 {
		return nil
	}
	if err := decode(config, into); err != nil {
		return Fail("bad_config", "%v", err)
	}
	return nil
}

// Defaults of a pipe, as "register" computes them. Empty fields are left to the manifest.
type Defaults struct {
	Columns   map[string]string `json:"columns,omitempty"`
	Index     []string          `json:"index,omitempty"`
	Datetime  string            `json:"datetime,omitempty"`
	Schedule  string            `json:"schedule,omitempty"`
	Chunk     string            `json:"chunk,omitempty"`
	Begin     string            `json:"begin,omitempty"`
	Backtrack string            `json:"backtrack,omitempty"`
	Timeout   string            `json:"timeout,omitempty"`
}

// RegisterCall is one call for the defaults of a pipe.
type RegisterCall struct {
	Pipe   Pipe
	config json.RawMessage
}

// Config reads the instance's config into a struct.
func (c *RegisterCall) Config(into any) error { return readConfig(c.config, into) }

// Register answers the export "register".
func Register(run func(*RegisterCall) (*Defaults, error)) int32 {
	return guarded(func() int32 {
		var input struct {
			Pipe   Pipe            `json:"pipe"`
			Config json.RawMessage `json:"config"`
		}
		read(&input)
		defaults, err := run(&RegisterCall{input.Pipe, input.Config})
		return end(defaults, err)
	})
}
