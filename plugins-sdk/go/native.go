//go:build !wasip1

package millrace

// There is no host outside of WebAssembly: editors and `go vet` see the package whole, and tests of pure code run.

const noHost = "millrace: the host is only there in a plugin that was built with GOOS=wasip1 and runs in Millrace"

// Input is the whole input of this call.
func Input() []byte { panic(noHost) }

func setOutput([]byte)               { panic(noHost) }
func setError([]byte)                { panic(noHost) }
func callHost(string, []byte) []byte { panic(noHost) }
func nowMs() float64                 { panic(noHost) }
func randomBytes(int) []byte         { panic(noHost) }
