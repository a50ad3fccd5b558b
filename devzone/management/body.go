// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package management

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// maxBody is the largest accepted request body in bytes.
const maxBody = 1 << 20

// object is a JSON object being read. Keys that nobody asks for are ignored,
// because the SDKs and templates send some. Key names are case-sensitive, which
// encoding/json's struct decoding is not.
type object struct {
	path     string
	fields   map[string]json.RawMessage
	problems *[]string
}

// field is one value of an object. Absent, null and given are three things in
// a PATCH.
type field[T any] struct {
	set, null bool
	value     T
}

// readObject reads the request body as one JSON object.
func readObject(r *http.Request) (object, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return object{}, failure(http.StatusUnsupportedMediaType, "unsupported_media_type",
			"Content-Type must be application/json")
	}
	data, err := readBody(r)
	if err != nil {
		return object{}, err
	}
	return parseObject(data)
}

// readBody reads at most maxBody bytes.
func readBody(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, failure(http.StatusRequestEntityTooLarge, "payload_too_large",
			"the body is larger than %d bytes", maxBody)
	}
	if err != nil {
		return nil, badRequest("the body could not be read")
	}
	return data, nil
}

// parseObject parses the bytes of a request body.
func parseObject(data []byte) (object, error) {
	o := object{problems: &[]string{}}
	if !json.Valid(data) {
		return o, badRequest("the body must be a JSON object, but it is not valid JSON")
	}
	if kindOf(data) != "an object" {
		return o, badRequest("the body must be a JSON object, got %s", kindOf(data))
	}
	if err := json.Unmarshal(data, &o.fields); err != nil {
		return o, badRequest("the body must be a JSON object")
	}
	return o, nil
}

// err returns every problem found so far as one 400, or nil.
func (o object) err() error {
	if len(*o.problems) == 0 {
		return nil
	}
	return badRequest("%s", strings.Join(*o.problems, "; "))
}

func (o object) problem(name, text string) {
	*o.problems = append(*o.problems, o.name(name)+": "+text)
}

func (o object) name(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// get reads a field as a T; want names the type in words.
func get[T any](o object, name, want string) field[T] {
	raw, ok := o.fields[name]
	if !ok {
		return field[T]{}
	}
	if kindOf(raw) == "null" {
		return field[T]{set: true, null: true}
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		o.problem(name, "must be "+want+", got "+kindOf(raw))
		return field[T]{}
	}
	return field[T]{set: true, value: v}
}

// object reads a nested object.
func (o object) object(name string) field[object] {
	f := get[map[string]json.RawMessage](o, name, "an object")
	return field[object]{
		set: f.set, null: f.null,
		value: object{path: o.name(name), fields: f.value, problems: o.problems},
	}
}

// text reads a string that may not be null, checks it and stores it. A
// required one must be there.
func (o object) text(name string, required bool, dst *string, check func(string) string) {
	f := get[string](o, name, "a string")
	if _, there := o.fields[name]; !there {
		if required {
			o.problem(name, "is required")
		}
		return
	}
	if f.null {
		o.problem(name, "must not be null")
		return
	}
	if !f.set {
		return
	}
	if text := check(f.value); text != "" {
		o.problem(name, text)
		return
	}
	*dst = f.value
}

// nullableText reads a string that null clears.
func (o object) nullableText(name string, dst **string, check func(string) string) {
	f := get[string](o, name, "a string")
	switch {
	case !f.set:
	case f.null:
		*dst = nil
	default:
		if text := check(f.value); text != "" {
			o.problem(name, text)
			return
		}
		*dst = &f.value
	}
}

// flag reads a boolean that may not be null.
func (o object) flag(name string, dst *bool) {
	f := get[bool](o, name, "a boolean")
	if f.null {
		o.problem(name, "must not be null")
	} else if f.set {
		*dst = f.value
	}
}

// nullableFlag reads a boolean that null clears.
func (o object) nullableFlag(name string, dst **bool) {
	f := get[bool](o, name, "a boolean")
	if f.null {
		*dst = nil
	} else if f.set {
		*dst = &f.value
	}
}

// list reads an array of strings that null clears.
func (o object) list(name string, dst *[]string, check func(string) string) {
	f := get[[]*string](o, name, "an array of strings")
	if !f.set {
		return
	}
	if f.null {
		*dst = nil
		return
	}
	values := make([]string, 0, len(f.value))
	for _, v := range f.value {
		if v == nil {
			o.problem(name, "must be an array of strings, and null is none")
			return
		}
		if text := check(*v); text != "" {
			o.problem(name, text)
			return
		}
		values = append(values, *v)
	}
	*dst = values
}

// stringMap reads an object of strings that null clears.
func (o object) stringMap(name string, dst *map[string]string) {
	f := get[map[string]*string](o, name, "an object of strings")
	if !f.set {
		return
	}
	if f.null {
		*dst = nil
		return
	}
	values := make(map[string]string, len(f.value))
	for k, v := range f.value {
		if v == nil {
			o.problem(name, "must be an object of strings, and null is none")
			return
		}
		values[k] = *v
	}
	*dst = values
}

// onlyKeys reports keys other than the given ones.
func (o object) onlyKeys(names ...string) {
	for k := range o.fields {
		if !slices.Contains(names, k) {
			o.problem(k, "is not a known key")
		}
	}
}

// kindOf names the JSON type of a value in words.
func kindOf(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
