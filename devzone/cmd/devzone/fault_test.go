// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/faults"
)

func TestFault(t *testing.T) {
	g := NewWithT(t)
	running, err := devzone.Start(t.Context(), devzone.Config{})
	g.Expect(err).NotTo(HaveOccurred())
	do := func(args ...string) (string, error) {
		var out bytes.Buffer
		_, err := run(t.Context(), &out, append([]string{"fault", "--admin", running.AdminURL}, args...)...)
		return strings.TrimSpace(out.String()), err
	}
	id, err := do("add", "--operation", "jwks", "--status", "429", "--retry-after", "5", "--count", "1", "--header", "X-A=b")
	g.Expect(err).NotTo(HaveOccurred())
	for _, want := range []int{429, 200} {
		resp, err := http.Get(running.ZoneURL + "/openidconnect/jwks")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(resp.Body.Close()).To(Succeed())
		g.Expect(resp.StatusCode).To(Equal(want))
	}
	table, err := do("list")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(table).To(MatchRegexp(`^ID +SURFACE +METHOD +PATH +EFFECT +MATCHED +HITS\n` + id + ` +zone +GET +/openidconnect/jwks +429 +2 +1$`))
	one, err := do("list", "-o", "json")
	g.Expect(err).NotTo(HaveOccurred())
	var state faults.State
	g.Expect(json.Unmarshal([]byte(one), &state)).To(Succeed())
	g.Expect(state.Headers).To(Equal(map[string]string{"X-A": "b"}))
	_, err = do("remove", id)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = do("add", "--latency", "1ms", "--rate", "0.5")
	g.Expect(err).NotTo(HaveOccurred())
	_, err = do("clear")
	g.Expect(err).NotTo(HaveOccurred())
	table, err = do("list")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(table).NotTo(ContainSubstring("\n"))

	for name, tt := range map[string]struct {
		args []string
		want string
		code int
	}{
		"no effect":  {[]string{"add", "--operation", "jwks"}, "one of status, break and latency is required", exitUsage},
		"bad status": {[]string{"add", "--status", "1"}, "status: must be from 200 to 599, got 1", exitUsage},
		"no id":      {[]string{"remove"}, "one id is needed", exitUsage},
		"unknown id": {[]string{"remove", "77"}, "no fault has this id", exitFailure},
		"argument":   {[]string{"list", "x"}, `unknown command or argument "x"`, exitUsage},
		"no server":  {[]string{"--admin", "http://127.0.0.1:1", "list"}, "is devzone running there?", exitFailure},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := do(tt.args...)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.want)))
			NewWithT(t).Expect(exitCode(err)).To(Equal(tt.code))
		})
	}
}
