//go:build wasip1

package millrace

import "unsafe"

//go:wasmimport extism:host/env input_length
func inputLength() int64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(offset int64) int32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(offset int64) int64

//go:wasmimport extism:host/env length
func blockLength(block int64) int64

//go:wasmimport extism:host/env alloc
func blockAlloc(bytes int64) int64

//go:wasmimport extism:host/env free
func blockFree(block int64)

//go:wasmimport extism:host/env load_u8
func loadU8(address int64) int32

//go:wasmimport extism:host/env load_u64
func loadU64(address int64) int64

//go:wasmimport extism:host/env store_u8
func storeU8(address int64, value int32)

//go:wasmimport extism:host/env store_u64
func storeU64(address int64, value int64)

//go:wasmimport extism:host/env output_set
func outputSet(block, length int64)

//go:wasmimport extism:host/env error_set
func errorSet(block int64)

//go:wasmimport extism:host/user host_call
func hostCall(name, request int64) int64

//go:wasmimport extism:host/user now
func hostNow() float64

//go:wasmimport extism:host/user random
func hostRandom(count int32) int64

// Input is the whole input of this call.
func Input() []byte {
	bytes := make([]byte, inputLength())
	words := asWords(bytes)
	for i := range words {
		words[i] = inputLoadU64(int64(i) * 8)
	}
	for at := len(words) * 8; at < len(bytes); at++ {
		bytes[at] = byte(inputLoadU8(int64(at)))
	}
	return bytes
}

// storeBlock makes a block of the host with these bytes in it.
func storeBlock(bytes []byte) int64 {
	block := blockAlloc(int64(len(bytes)))
	words := asWords(bytes)
	for i, word := range words {
		storeU64(block+int64(i)*8, word)
	}
	for at := len(words) * 8; at < len(bytes); at++ {
		storeU8(block+int64(at), int32(bytes[at]))
	}
	return block
}

// takeBlock gives the bytes of a block of the host, and the block back.
func takeBlock(block int64) []byte {
	bytes := make([]byte, blockLength(block))
	words := asWords(bytes)
	for i := range words {
		words[i] = loadU64(block + int64(i)*8)
	}
	for at := len(words) * 8; at < len(bytes); at++ {
		bytes[at] = byte(loadU8(block + int64(at)))
	}
	blockFree(block)
	return bytes
}

// asWords is the same memory, eight bytes at a time; WebAssembly needs no alignment.
func asWords(bytes []byte) []int64 {
	if len(bytes) < 8 {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(bytes))), len(bytes)/8)
}

func setOutput(bytes []byte) {
	outputSet(storeBlock(bytes), int64(len(bytes)))
}

func setError(bytes []byte) {
	errorSet(storeBlock(bytes))
}

func callHost(name string, request []byte) []byte {
	named, asked := storeBlock([]byte(name)), storeBlock(request)
	answer := takeBlock(hostCall(named, asked))
	blockFree(named)
	blockFree(asked)
	return answer
}

func nowMs() float64 {
	return hostNow()
}

func randomBytes(count int) []byte {
	return takeBlock(hostRandom(int32(count)))
}
