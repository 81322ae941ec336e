// The CSV of each day, which the store reads as it is.
package main

import (
	"millrace"
	"time"
)

func main() {}

//go:wasmexport sync
func sync() int32 { return millrace.Sync(days) }

func days(run *millrace.SyncCall) error {
	var config struct {
		URL string `json:"url"`
	}
	if err := run.Config(&config); err != nil {
		return err
	}
	for day := run.Begin; day.Before(run.End); day = day.AddDate(0, 0, 1) {
		reply, err := millrace.Get(config.URL + "?day=" + day.Format(time.DateOnly))
		if err != nil {
			return err
		}
		if err := reply.Err(); err != nil {
			return err
		}
		if _, err := millrace.EmitCSV(string(reply.Body)); err != nil {
			return err
		}
	}
	return nil
}
