// The probe in Go: what every native SDK must be able to do, told by its config.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"millrace"
	"strconv"
	"strings"
	"time"
)

const big = 9007199254740993

func main() {}

//go:wasmexport fetch
func fetch() int32 { return millrace.Fetch(rows) }

//go:wasmexport register
func register() int32 { return millrace.Register(defaults) }

//go:wasmexport sync
func sync() int32 { return millrace.Sync(written) }

//go:wasmexport before_sync
func beforeSync() int32 { return millrace.BeforeSync(allowed) }

//go:wasmexport after_sync
func afterSync() int32 { return millrace.AfterSync(told) }

//go:wasmexport poll
func poll() int32 { return millrace.Poll(oven) }

//go:wasmexport discover
func discover() int32 { return millrace.Discover(ovens) }

//go:wasmexport enrich
func enrich() int32 { return millrace.Enrich(documents) }

//go:wasmexport route
func route() int32 { return millrace.Route(echo) }

//go:wasmexport function:roundtrip
func roundtrip() int32 { return millrace.Function(again) }

//go:wasmexport function:rewrite
func rewrite() int32 { return millrace.Function(anew) }

//go:wasmexport function:helpers
func helpers() int32 { return millrace.Function(helped) }

type row struct {
	Time  time.Time `json:"time"`
	ID    int64     `json:"id"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Flag  bool      `json:"flag"`
}

type config struct {
	Mode    string `json:"mode"`
	Rows    int    `json:"rows"`
	Batches int    `json:"batches"`
	URL     string `json:"url"`
}

func rowAt(run *millrace.FetchCall, i, count int) row {
	step := run.End.Sub(run.Begin) / time.Duration(count)
	name := fmt.Sprintf("rød grød ☃ 𝄞 \"%d\"\n", i)
	return row{run.Begin.Add(step * time.Duration(i)), big + int64(i), name, float64(i) / 4, i&1 == 1}
}

func rows(run *millrace.FetchCall) error {
	config := config{Mode: "rows", Rows: 10, Batches: 1}
	if err := run.Config(&config); err != nil {
		return err
	}
	switch config.Mode {
	case "emit":
		return emitted(run, config)
	case "host":
		return hosted(run)
	case "http":
		return downloaded(run, config)
	case "empty":
		return run.NoData()
	case "fail":
		return millrace.Fail("asked_to", "failed as asked: é☃")
	case "retry":
		return millrace.Fail("busy", "later").Retry(50 * time.Millisecond)
	case "crash":
		var none []int
		_ = none[config.Rows]
	case "page":
		page := 0
		run.Cursor(&page)
		if page < 2 {
			run.Next(page + 1)
		}
		return run.Add(rowAt(run, page, 3))
	case "integers":
		begin, end, ok := run.Integers()
		if !ok {
			return millrace.Fail("bad_input", "no integers")
		}
		run.WatermarkInteger(strconv.FormatInt(end+1, 10))
		has := []bool{run.HasInteger(begin), run.HasInteger(end)}
		return run.Add(map[string]any{"begin": run.From, "end": run.To, "has": has})
	}
	for i := range config.Rows {
		if err := run.Add(rowAt(run, i, config.Rows)); err != nil {
			return err
		}
	}
	return nil
}

// emitted sends rows in batches, each followed by a checkpoint that a later attempt starts after.
func emitted(run *millrace.FetchCall, config config) error {
	var cursor struct {
		Batches int `json:"batches"`
	}
	run.Cursor(&cursor)
	for cursor.Batches < config.Batches {
		for i := cursor.Batches * config.Rows / config.Batches; i < (cursor.Batches+1)*config.Rows/config.Batches; i++ {
			if err := run.Emit(rowAt(run, i, config.Rows)); err != nil {
				return err
			}
		}
		cursor.Batches++
		if err := run.Checkpoint(cursor); err != nil {
			return err
		}
		_ = millrace.Progress(float64(cursor.Batches), float64(config.Batches), "halvveis ☃")
	}
	return nil
}

func hosted(run *millrace.FetchCall) error {
	millrace.Log("warn", "logged: é☃", nil)
	fmt.Println("printed: é☃")
	if err := millrace.KVPut("größe", map[string]uint64{"n": 18446744073709551615}); err != nil {
		return err
	}
	entry, err := millrace.KVGet("größe")
	if err != nil {
		return err
	}
	table, err := millrace.Query("SELECT {city:String}", map[string]any{"city": "Tromsø"}, 10)
	if err != nil {
		return err
	}
	secret, err := millrace.Secret("token")
	if err != nil {
		return err
	}
	var converted json.RawMessage
	if err := millrace.CallFunction("units", "convert", map[string]int{"from": 1}, nil); err != nil {
		return err
	}
	if err := millrace.Publish("alarm.high", map[string]float64{"°C": 41.5}); err != nil {
		return err
	}
	found := map[string]any{"value": entry.Value, "revision": entry.Revision}
	for _, ok := range []any{nil, found, table, map[string]string{"value": secret}, converted, nil} {
		if err := run.Add(map[string]any{"ok": ok}); err != nil {
			return err
		}
	}
	now := float64(millrace.Now().UnixMicro()) / 1000
	return run.Add(map[string]any{"now": now, "clock": time.Now().Unix(), "random": millrace.Random(16)})
}

func downloaded(run *millrace.FetchCall, config config) error {
	headers := map[string]string{"x-probe": "é"}
	ask := millrace.Request{URL: config.URL, Method: "POST", Headers: headers, Body: []byte("hei")}
	ask.Timeout = 1500 * time.Millisecond
	got, err := millrace.Do(ask)
	if err != nil {
		return err
	}
	return run.Add(map[string]any{"status": got.Status, "body": string(got.Body), "type": got.Headers["content-type"]})
}

func defaults(*millrace.RegisterCall) (*millrace.Defaults, error) {
	columns := map[string]string{"time": "timestamp", "id": "int64"}
	return &millrace.Defaults{Columns: columns, Index: []string{"time", "id"}, Datetime: "time"}, nil
}

func oven(run *millrace.PollCall) error {
	var before struct {
		Polls float64 `json:"polls"`
	}
	run.Previous(&before)
	context := map[string]map[string]string{}
	if err := run.Context(&context); err != nil {
		return err
	}
	unit, given := context["unit"]["temperature"]
	if !given {
		unit = "°C"
	}
	group := run.Group("oven").Dimension("resource", run.Resource.ID).Dimension("unit", unit)
	group.Gauge("temperature", 21.5).Counter("polls", before.Polls+1)
	run.Group("door").At(time.Date(2012, 1, 1, 0, 0, 0, 0, time.UTC)).Gauge("open", 1)
	return nil
}

func ovens(run *millrace.DiscoverCall) error {
	for i := range 2 {
		run.Add(millrace.Resource{
			ID: fmt.Sprintf("oven-%d", i), Type: "oven", Endpoint: "http://127.0.0.1/", Site: run.Site,
			Labels: map[string]string{"shelf": "øverst"},
		})
	}
	return nil
}

func documents(run *millrace.EnrichCall) error {
	var config struct {
		Speed int `json:"speed"`
	}
	if err := run.Config(&config); err != nil {
		return err
	}
	speed := map[string]any{"speed": config.Speed, "of": run.Resource.ID}
	run.Add(millrace.Document{Namespace: "port", Key: "ø", Value: speed})
	run.Add(millrace.Document{Namespace: "note", Key: "1", Value: "naboen ☃", Resource: "oven-2", TTL: "5m"})
	return nil
}

func echo(call *millrace.RouteCall) error {
	if call.Path == "/binary" {
		return call.Send(200, "image/x", call.Body)
	}
	if !strings.HasPrefix(call.Path, "/echo/") {
		return call.SendError(404, "not_found", call.Path)
	}
	call.Header("x-probe", "yes")
	return call.SendJSON(201, map[string]string{
		"name": call.Params["name"], "q": call.Query("q", "none"), "r": call.Query("r", "none"), "body": string(call.Body),
	})
}

func again(input json.RawMessage) (json.RawMessage, error) {
	var out bytes.Buffer
	if err := json.Compact(&out, input); err != nil {
		return nil, millrace.Fail("refused", "%v", err)
	}
	return out.Bytes(), nil
}

// anew writes numbers and times in the language's own forms.
func anew(input []any) ([]any, error) {
	for i, one := range input {
		switch one := one.(type) {
		case json.Number:
			input[i], _ = one.Float64()
		case string:
			input[i] = nil
			for _, layout := range []string{time.RFC3339, time.DateOnly} {
				if t, err := time.Parse(layout, one); err == nil {
					input[i] = millrace.FormatTime(t)
				}
			}
		}
	}
	return input, nil
}
