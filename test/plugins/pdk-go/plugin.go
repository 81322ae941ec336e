// Extism's own PDK for Go: what each part of it does, by the list that all PDKs here follow.
package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/extism/go-pdk"
)

//go:wasmexport echo
func echo() int32 {
	pdk.Output(pdk.Input())
	return 0
}

//go:wasmexport text
func text() int32 {
	pdk.OutputString(pdk.InputString())
	return 0
}

//go:wasmexport config
func config() int32 {
	value, found := pdk.GetConfig(pdk.InputString())
	if !found {
		value = "none"
	}
	pdk.OutputString(value)
	return 0
}

func look() string {
	if value := pdk.GetVar("naïve ☃"); value != nil {
		return string(value)
	}
	return "none"
}

//go:wasmexport vars
func vars() int32 {
	before := look()
	pdk.SetVar("naïve ☃", pdk.Input())
	after := look()
	pdk.RemoveVar("naïve ☃")
	pdk.OutputString(strings.Join([]string{before, after, look()}, "|"))
	return 0
}

//go:wasmexport logs
func logs() int32 {
	for _, level := range []pdk.LogLevel{pdk.LogDebug, pdk.LogInfo, pdk.LogWarn, pdk.LogError} {
		pdk.Log(level, pdk.InputString())
	}
	return 0
}

//go:wasmexport http
func http() int32 {
	request := pdk.NewHTTPRequest(pdk.MethodPost, pdk.InputString())
	request.SetHeader("x-name", "blå").SetBody([]byte("grød ☃"))
	answer := request.Send()
	pdk.OutputString(fmt.Sprintf("%d|%s|%s", answer.Status(), answer.Headers()["x-mood"], answer.Body()))
	return 0
}

//go:wasmexport fails
func fails() int32 {
	pdk.SetError(errors.New(pdk.InputString()))
	return 1
}

func main() {}
