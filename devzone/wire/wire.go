// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wire writes the answers of all surfaces.
package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// JSON writes an answer, which is a plain struct or map of the caller's.
func JSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", v, err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The status is out; a failed write means that the client has gone.
	_, _ = w.Write(body)
}

// Clean keeps what a client sent fit for a page, a log and an error: printable ASCII of at most so
// many bytes.
func Clean(s string, most int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), most)])
}
