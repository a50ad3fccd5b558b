// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// requestLog is the API server's log of the operator's requests.
type requestLog struct {
	path   string
	offset int64
}

// request is what two requests have in common when they count as the same.
type request struct{ verb, resource string }

// counts are numbers of requests.
type counts map[request]int

// take counts the requests that were answered since the last call. A line that is half written is left for the next call.
func (l *requestLog) take() (counts, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's log: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(l.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the API server's log: %w", err)
	}
	c := counts{}
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the API server's log: %w", err)
		}
		l.offset += int64(len(line))
		if err := c.add(line); err != nil {
			return nil, err
		}
	}
}

// add counts the request of a line.
func (c counts) add(line []byte) error {
	var event struct {
		Verb      string
		ObjectRef struct{ Resource, Subresource string }
	}
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&event); err != nil {
		return fmt.Errorf("reading the API server's log: %w", err)
	}
	resource := event.ObjectRef.Resource
	if event.ObjectRef.Subresource != "" {
		resource += "/" + event.ObjectRef.Subresource
	}
	// The Lease is renewed and watches are begun anew whether anything happens or not.
	if resource != "" && resource != "leases" && event.Verb != "watch" {
		c[request{event.Verb, resource}]++
	}
	return nil
}

// writes are those that change something.
func (c counts) writes() int {
	n := 0
	for r, count := range c {
		if r.verb != "get" && r.verb != "list" {
			n += count
		}
	}
	return n
}

// of is how many of all bindings' requests there were for each binding, rounded.
func (c counts) of(verb, resource string, bindings int) int {
	return (c[request{verb, resource}] + bindings/2) / bindings
}

// per lists the requests, those that are most first, each divided by n.
func (c counts) per(n int) string {
	var parts []string
	order := slices.SortedFunc(maps.Keys(c), func(a, b request) int {
		return cmp.Or(cmp.Compare(c[b], c[a]), cmp.Compare(a.verb+a.resource, b.verb+b.resource))
	})
	for _, r := range order {
		if share := float64(c[r]) / float64(max(n, 1)); n == 1 {
			parts = append(parts, fmt.Sprintf("%d %s %s", c[r], r.verb, r.resource))
		} else if share >= 0.005 {
			parts = append(parts, fmt.Sprintf("%.2f %s %s", share, r.verb, r.resource))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
