package millrace

import (
	"encoding/json"
	"time"
)

// Entry is what the plugin's own key-value store holds under a key.
type Entry struct {
	Key string `json:"key"`
	// Value is nil when there is no such key.
	Value    json.RawMessage `json:"value"`
	Revision json.Number     `json:"revision"`
	// TTLMs is what is left of its life in milliseconds, 0 when it has no end.
	TTLMs float64 `json:"ttl_ms"`
}

// Load reads the value; false when there is none.
func (e Entry) Load(into any) bool { return e.Value != nil && decode(e.Value, into) == nil }

// KVOption is TTL.
type KVOption func(*kvRequest)

// TTL lets an entry end after a while; writing it again begins it anew, and without TTL it stays.
func TTL(after time.Duration) KVOption {
	return func(request *kvRequest) { request.TTLMs = after.Milliseconds() }
}

type kvRequest struct {
	Op       string      `json:"op"`
	Key      string      `json:"key"`
	Value    any         `json:"value,omitempty"`
	Revision json.Number `json:"revision,omitempty"`
	TTLMs    int64       `json:"ttl_ms,omitempty"`
	Limit    int         `json:"limit,omitempty"`
	After    string      `json:"after,omitempty"`
}

func (r kvRequest) write(options []KVOption) error {
	for _, option := range options {
		option(&r)
	}
	return Call("kv", r, nil)
}

// KVGet finds a key; its revision is for KVUpdate.
func KVGet(key string) (entry Entry, err error) {
	err = Call("kv", kvRequest{Op: "get", Key: key}, &entry)
	return
}

// KVPut writes whatever is there.
func KVPut(key string, value any, options ...KVOption) error {
	return kvRequest{Op: "put", Key: key, Value: value}.write(options)
}

// KVCreate fails with "exists" when there is a value: of many racers one succeeds.
func KVCreate(key string, value any, options ...KVOption) error {
	return kvRequest{Op: "create", Key: key, Value: value}.write(options)
}

// KVUpdate fails with "conflict" when somebody wrote since `revision`.
func KVUpdate(key string, value any, revision json.Number, options ...KVOption) error {
	return kvRequest{Op: "update", Key: key, Value: value, Revision: revision}.write(options)
}

// KVDelete takes a key away.
func KVDelete(key string) error { return Call("kv", kvRequest{Op: "delete", Key: key}, nil) }

// KVList finds all entries below a prefix. It fails with "too_large" over 4 MiB: ask for pages then.
func KVList(prefix string) ([]Entry, error) {
	entries, _, err := KVPage(prefix, 0, "")
	return entries, err
}

// KVPage finds at most `limit` entries below a prefix, and what to give as `after` for the next page: "" on the last.
func KVPage(prefix string, limit int, after string) ([]Entry, string, error) {
	var found struct {
		Entries []Entry `json:"entries"`
		Next    string  `json:"next"`
	}
	err := Call("kv", kvRequest{Op: "list", Key: prefix, Limit: limit, After: after}, &found)
	return found.Entries, found.Next, err
}
