// Windows that the plugin writes itself, and the hooks around them.
package main

import (
	"fmt"
	"millrace"
)

type numbered struct {
	N    int    `json:"n"`
	Time string `json:"time"`
}

func written(run *millrace.SyncCall) error {
	var config struct{ Mode string }
	if err := run.Config(&config); err != nil {
		return err
	}
	switch config.Mode {
	case "no_data":
		return run.NoData()
	case "not_modified":
		return run.NotModified()
	case "partial":
		return run.Partial()
	}
	var cursor struct {
		N int `json:"n"`
	}
	run.Cursor(&cursor)
	for n := cursor.N + 1; n <= 3; n++ {
		if err := run.Emit(numbered{n, millrace.FormatTime(run.Begin)}); err != nil {
			return err
		}
		if n != 2 {
			continue
		}
		cursor.N = n
		if err := run.Checkpoint(cursor); err != nil {
			return err
		}
	}
	return nil
}

func allowed(run *millrace.BeforeSyncCall) error {
	var config struct{ Closed string }
	if err := run.Config(&config); err != nil || config.Closed == "" {
		return err
	}
	return run.Veto("%s: %s from %s", config.Closed, run.Pipe.Metric, run.From[:min(10, len(run.From))])
}

func told(run *millrace.AfterSyncCall) error {
	millrace.Log("info", fmt.Sprintf("%s: %d rows of %s: %s", run.Outcome, run.Rows, run.Run, run.Message), nil)
	return nil
}
