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

// fields are what an object may have: the table of the names that are known, each with what reads
// its value. They are bound to the row that the values go to.
type fields []field

type field struct {
	name string
	// read puts the value, if there is one, where it belongs.
	read func(o object)
	// in are the fields of an object.
	in fields
	// choices are the fields that come along with each value, and chosen is the value.
	choices map[string]fields
	chosen  *string
}

// read reads an object. Names are case-sensitive, which encoding/json's struct decoding is not.
func (f fields) read(o object) {
	known := map[string]bool{}
	for rest := f; len(rest) > 0; rest = rest[1:] {
		one := rest[0]
		known[one.name] = true
		one.read(o)
		if one.choices != nil {
			rest = slices.Concat(rest, one.choices[*one.chosen])
		}
	}
	for name := range o.values {
		if !known[name] {
			o.notes.unknown = append(o.notes.unknown, o.name(name))
		}
	}
}

// names lists the fields, those within objects with dots.
func (f fields) names() []string {
	var out []string
	for _, one := range f {
		if one.in == nil {
			out = append(out, one.name)
		}
		for _, name := range one.in.names() {
			out = append(out, one.name+"."+name)
		}
		for _, more := range one.choices {
			out = append(out, more.names()...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// object is a JSON object being read.
type object struct {
	path   string
	values map[string]json.RawMessage
	notes  *notes
}

// notes are what reading came across.
type notes struct{ problems, unknown []string }

func newObject() object { return object{notes: &notes{}} }

// value is one value of an object. Absent, null and given are three things in a PATCH.
type value[T any] struct {
	set, null bool
	value     T
}

func checkMediaType(r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return failure(http.StatusUnsupportedMediaType, "unsupported_media_type", "Content-Type must be application/json")
	}
	return nil
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
	o := newObject()
	if !json.Valid(data) {
		return o, badRequest("the body must be a JSON object, but it is not valid JSON")
	}
	if kindOf(data) != "an object" {
		return o, badRequest("the body must be a JSON object, got %s", kindOf(data))
	}
	if err := json.Unmarshal(data, &o.values); err != nil {
		return o, badRequest("the body must be a JSON object")
	}
	return o, nil
}

// err returns every problem found so far as one 400, or nil.
func (o object) err() error {
	if len(o.notes.problems) == 0 {
		return nil
	}
	return badRequest("%s", strings.Join(o.notes.problems, "; "))
}

func (o object) problem(name, text string) {
	if text != "" {
		o.notes.problems = append(o.notes.problems, o.name(name)+": "+text)
	}
}

func (o object) name(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

// get reads a value as a T; want names the type in words.
func getAs[T any](o object, name, want string) value[T] {
	raw, ok := o.values[name]
	if !ok {
		return value[T]{}
	}
	if kindOf(raw) == "null" {
		return value[T]{set: true, null: true}
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		o.problem(name, "must be "+want+", got "+kindOf(raw))
		return value[T]{}
	}
	return value[T]{set: true, value: v}
}

// object reads an object within.
func (o object) object(name string) value[object] {
	v := getAs[map[string]json.RawMessage](o, name, "an object")
	return value[object]{set: v.set, null: v.null, value: object{path: o.name(name), values: v.value, notes: o.notes}}
}

// scalar is a field that is read as a T, checked and put into its place. Null clears it, or is
// refused where there is nothing to clear.
func scalar[T any](name, want string, check func(T) string, put func(T), wipe func()) field {
	return field{name: name, read: func(o object) {
		v := getAs[T](o, name, want)
		switch {
		case !v.set:
		case v.null && wipe == nil:
			o.problem(name, "must not be null")
		case v.null:
			wipe()
		case check != nil && check(v.value) != "":
			o.problem(name, check(v.value))
		default:
			put(v.value)
		}
	}}
}

// fixed is a scalar that may not be null.
func fixed[T any](name, want string, dst *T, check func(T) string) field {
	return scalar(name, want, check, func(v T) { *dst = v }, nil)
}

// nullable is a scalar that null clears.
func nullable[T any](name, want string, dst **T, check func(T) string) field {
	return scalar(name, want, check, func(v T) { *dst = &v }, func() { *dst = nil })
}

// text is a string that may not be null. A required one must be there.
func text(name string, required bool, dst *string, check rule) field {
	f := fixed(name, "a string", dst, check)
	read := f.read
	f.read = func(o object) {
		if _, there := o.values[name]; !there && required {
			o.problem(name, "is required")
		}
		read(o)
	}
	return f
}

// nullableText is a string that null clears.
func nullableText(name string, dst **string, check rule) field {
	return nullable(name, "a string", dst, check)
}

// flag is a boolean that may not be null.
func flag(name string, dst *bool) field { return fixed(name, "a boolean", dst, nil) }

// texts is an array of strings that null clears.
func texts(name string, dst *[]string, check rule) field {
	const want = "an array of strings"
	return scalar(name, want, func(values []*string) string {
		for _, v := range values {
			if v == nil {
				return "must be " + want + ", and null is none"
			}
			if problem := check(*v); problem != "" {
				return problem
			}
		}
		return ""
	}, func(values []*string) {
		*dst = make([]string, 0, len(values))
		for _, v := range values {
			*dst = append(*dst, *v)
		}
	}, func() { *dst = nil })
}

// textMap is an object of strings that null clears.
func textMap(name string, dst *map[string]string) field {
	const want = "an object of strings"
	return scalar(name, want, func(values map[string]*string) string {
		for _, v := range values {
			if v == nil {
				return "must be " + want + ", and null is none"
			}
		}
		return ""
	}, func(values map[string]*string) {
		*dst = make(map[string]string, len(values))
		for k, v := range values {
			(*dst)[k] = *v
		}
	}, func() { *dst = nil })
}

// ignored is a field that is accepted and without effect.
func ignored[T any](name, want string) field {
	return scalar(name, want, nil, func(T) {}, func() {})
}

// nested is an object that null clears. Its fields change a copy, because rows share what they
// point to.
func nested[T any](name string, dst **T, in func(*T) fields) field {
	return field{name: name, in: in(new(T)), read: func(o object) {
		v := o.object(name)
		if !v.set {
			return
		}
		if v.null {
			*dst = nil
			return
		}
		var next T
		if *dst != nil {
			next = **dst
		}
		in(&next).read(v.value)
		*dst = &next
	}}
}

// group is an object whose fields belong to the row itself. Null does what wipe does.
func group(name string, wipe func(), in ...field) field {
	return field{name: name, in: in, read: func(o object) {
		v := o.object(name)
		switch {
		case !v.set:
		case v.null:
			wipe()
		default:
			fields(in).read(v.value)
		}
	}}
}

// part is an object whose fields are read even if it is missing.
func part(name string, in ...field) field {
	return field{name: name, in: in, read: func(o object) { fields(in).read(o.object(name).value) }}
}

// choice is a text that says which other fields there are.
func choice(f field, chosen *string, choices map[string]fields) field {
	f.chosen, f.choices = chosen, choices
	return f
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
