package millrace

import (
	"encoding/json"
	"time"
)

// Document is what was found out about a resource. Namespaces are declared in plugin.json, with the JSON Schema of Value.
type Document struct {
	Namespace string `json:"namespace"`
	Key       string `json:"key"`
	Value     any    `json:"value"`
	// TTL is at most, and when empty, the namespace's: "10m".
	TTL string `json:"ttl,omitempty"`
	// Resource is another one than that of the call: its name, or its ID when the same discovery found it.
	Resource string `json:"resource,omitempty"`
}

// EnrichCall is one call for documents about a resource.
type EnrichCall struct {
	Resource Resource
	Attempt  int

	config    json.RawMessage
	documents []Document
	status    string
}

// Enrich answers the export "enrich". Documents that `run` does not add stay until their time is over.
func Enrich(run func(*EnrichCall) error) int32 {
	return guarded(func() int32 {
		var input struct {
			Resource Resource        `json:"resource"`
			Config   json.RawMessage `json:"config"`
			Attempt  int             `json:"attempt"`
		}
		read(&input)
		call := &EnrichCall{
			Resource: input.Resource, Attempt: input.Attempt,
			config: input.Config, documents: []Document{}, status: "ok",
		}
		err := run(call)
		return end(map[string]any{"documents": call.documents, "status": call.status}, err)
	})
}

// Config reads the instance's config into a struct.
func (c *EnrichCall) Config(into any) error { return readConfig(c.config, into) }

// Add adds a document.
func (c *EnrichCall) Add(document Document) { c.documents = append(c.documents, document) }

// Partial says that some of what was to be found out is there, and the rest failed.
func (c *EnrichCall) Partial() error { c.status = "partial"; return nil }

// ContextEntry is a document as it is kept.
type ContextEntry struct {
	Key string `json:"key"`
	// Value is nil when there is no such document.
	Value json.RawMessage `json:"value"`
	// Instance wrote it.
	Instance string    `json:"instance"`
	Written  time.Time `json:"written"`
	TTLMs    float64   `json:"ttl_ms"`
}

// Load reads the value; false when there is none.
func (e ContextEntry) Load(into any) bool { return e.Value != nil && decode(e.Value, into) == nil }

type contextRequest struct {
	Op        string `json:"op"`
	Resource  string `json:"resource,omitempty"`
	Namespace string `json:"namespace"`
	Key       string `json:"key"`
	Limit     int    `json:"limit,omitempty"`
	After     string `json:"after,omitempty"`
}

// ContextGet finds a document. resource is a name; "" is the resource that this call is about.
func ContextGet(resource, namespace, key string) (entry ContextEntry, err error) {
	err = Call("context", contextRequest{Op: "get", Resource: resource, Namespace: namespace, Key: key}, &entry)
	return
}

// ContextList finds all documents of a namespace whose key begins with `prefix`.
func ContextList(resource, namespace, prefix string) ([]ContextEntry, error) {
	entries, _, err := ContextPage(resource, namespace, prefix, 0, "")
	return entries, err
}

// ContextPage finds at most `limit` of them, and what to give as `after` for the next page: "" on the last.
func ContextPage(resource, namespace, prefix string, limit int, after string) ([]ContextEntry, string, error) {
	var found struct {
		Documents []ContextEntry `json:"documents"`
		Next      string         `json:"next"`
	}
	err := Call("context", contextRequest{"list", resource, namespace, prefix, limit, after}, &found)
	return found.Documents, found.Next, err
}
