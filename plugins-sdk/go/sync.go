package millrace

import "fmt"

// SyncCall is one call for a window whose rows the plugin writes itself: by Emit, EmitCSV or EmitArrow. How far it is
// goes by Checkpoint.
type SyncCall struct {
	EmitCall
}

// Sync answers the export "sync".
func Sync(run func(*SyncCall) error) int32 {
	return guarded(func() int32 {
		var input windowInput
		read(&input)
		call := &SyncCall{EmitCall{WindowCall: input.window(), cursor: input.Cursor, status: "ok"}}
		err := run(call)
		if err == nil {
			err = call.Flush()
		}
		return end(map[string]string{"status": call.status}, err)
	})
}

// BeforeSyncCall is one call before a window: it goes ahead, unless Veto was called.
type BeforeSyncCall struct {
	WindowCall

	veto string
}

// BeforeSync answers the export "before_sync".
func BeforeSync(run func(*BeforeSyncCall) error) int32 {
	return guarded(func() int32 {
		var input windowInput
		read(&input)
		call := &BeforeSyncCall{WindowCall: input.window()}
		err := run(call)
		answer := map[string]string{}
		if call.veto != "" {
			answer["veto"] = call.veto
		}
		return end(answer, err)
	})
}

// Veto leaves the window as it is, and people read why: return run.Veto("closed on %s", day).
func (c *BeforeSyncCall) Veto(reason string, values ...any) error {
	c.veto = fmt.Sprintf(reason, values...)
	return nil
}

// AfterSyncCall is one call after a window that is done, or has failed for good.
type AfterSyncCall struct {
	WindowCall
	// Outcome is "ok", "no_data", "not_modified", "partial", or how the last attempt failed.
	Outcome string
	// Rows of the window that are seen now.
	Rows int64
	// Message is why it failed, or "".
	Message string
	// Run is the id of the run.
	Run string
}

// AfterSync answers the export "after_sync". What it does changes nothing about the window.
func AfterSync(run func(*AfterSyncCall) error) int32 {
	return guarded(func() int32 {
		var input struct {
			windowInput
			Outcome, Message, Run string
			Rows                  int64
		}
		read(&input)
		err := run(&AfterSyncCall{input.window(), input.Outcome, input.Rows, input.Message, input.Run})
		return end(struct{}{}, err)
	})
}
