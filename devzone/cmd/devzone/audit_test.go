// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/devzone/audit"
)

func TestAudit(t *testing.T) {
	g := NewWithT(t)
	running, err := devzone.Start(t.Context(), devzone.Config{})
	g.Expect(err).NotTo(HaveOccurred())
	p := &program{t: t, zone: running.ZoneURL, api: running.APIURL, client: http.DefaultClient}
	p.login()
	p.install()
	for range 2 {
		_, _, err := p.exchange()
		g.Expect(err).NotTo(HaveOccurred())
	}
	read := func(args ...string) string {
		var out bytes.Buffer
		_, err := run(t.Context(), &out, append([]string{"audit", "--api", running.APIURL}, args...)...)
		g.Expect(err).NotTo(HaveOccurred())
		return out.String()
	}
	table := strings.Split(strings.TrimSpace(read()), "\n")
	g.Expect(table).To(HaveLen(5))
	g.Expect(table[0]).To(MatchRegexp(`^TIME +TYPE +OUTCOME +BY +FOR +TARGET +REASON +CORRELATION$`))
	g.Expect(table[1]).To(MatchRegexp(`^\S+ \S+ +credentials:issue +success +reports +alice@example.com +` + confluence + ` +- +-$`))
	g.Expect(table[4]).To(MatchRegexp(`providers:create +success +operator +- +https://auth.atlassian.com`))
	g.Expect(strings.Count(read("--limit", "3"), "\n")).To(Equal(4))
	g.Expect(strings.Count(read("--limit", "0"), "\n")).To(Equal(5))
	var e audit.Event
	g.Expect(json.Unmarshal([]byte(read("-o", "json", "--type", "resources:create")), &e)).To(Succeed())
	g.Expect(e.Target.Identifier).To(Equal(confluence))

	missing := filepath.Join(t.TempDir(), "missing")
	secret := filepath.Join(t.TempDir(), "secret")
	g.Expect(os.WriteFile(secret, []byte("wrong\n"), 0o600)).To(Succeed())
	for name, tt := range map[string]struct {
		args []string
		want string
		code int
	}{
		"filter":       {[]string{"--since", "yesterday"}, "since: must be a time such as 2026-01-31T12:00:00Z", exitUsage},
		"limit":        {[]string{"--limit", "-1"}, "--limit: must not be negative, got -1", exitUsage},
		"output":       {[]string{"-o", "yaml"}, "must be one of table|json", exitUsage},
		"zone":         {[]string{"--zone", "nope"}, `no zone has the id "nope"`, exitFailure},
		"secret":       {[]string{"--client-secret-file", secret}, "logging in as operator: 401 Unauthorized: unknown client or wrong secret", exitFailure},
		"secret file":  {[]string{"--client-secret-file", missing}, "--client-secret-file: open", exitUsage},
		"ca":           {[]string{"--ca", secret}, "holds no certificate", exitUsage},
		"no server":    {[]string{"--api", "http://127.0.0.1:1"}, "is devzone running there?", exitFailure},
		"wrong server": {[]string{"--api", running.AtlassianURL}, "404 Not Found", exitFailure},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			_, err := run(t.Context(), new(bytes.Buffer), append([]string{"audit", "--api", running.APIURL}, tt.args...)...)
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			g.Expect(exitCode(err)).To(Equal(tt.code))
		})
	}
}
