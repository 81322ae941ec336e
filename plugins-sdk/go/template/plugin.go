// Rows of one window: begin inclusive, end exclusive.
package main

import (
	"millrace"
	"time"
)

func main() {}

//go:wasmexport fetch
func fetch() int32 { return millrace.Fetch(minutes) }

type row struct {
	Time     time.Time `json:"time"`
	Greeting string    `json:"greeting"`
	Minute   int       `json:"minute"`
}

func minutes(run *millrace.FetchCall) error {
	config := struct {
		Greeting string `json:"greeting"`
	}{"hello"}
	if err := run.Config(&config); err != nil {
		return err
	}
	for t := run.Begin; t.Before(run.End); t = t.Add(time.Minute) {
		if err := run.Add(row{t, config.Greeting, t.Minute()}); err != nil {
			return err
		}
	}
	return nil
}
