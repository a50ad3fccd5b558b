// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/seed"
)

// free makes a command listen on ports that the system chooses.
var free = []string{"--zone-address=127.0.0.1:0", "--api-address=127.0.0.1:0", "--atlassian-address=127.0.0.1:0", "--admin-address=127.0.0.1:0"}

func run(ctx context.Context, out io.Writer, args ...string) (stderr string, err error) {
	var buffer bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(&buffer)
	err = cmd.ExecuteContext(ctx)
	return buffer.String(), err
}

func TestSeed(t *testing.T) {
	g := NewWithT(t)
	var out bytes.Buffer
	_, err := run(t.Context(), &out, "seed")
	g.Expect(err).NotTo(HaveOccurred())
	parsed, err := seed.Parse(out.Bytes())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed).To(Equal(seed.Default()))
}

func TestUsageErrors(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("zone: {id: z, name: n, nmae: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"unknown command":  {[]string{"frobnicate"}, `unknown command or argument "frobnicate"`},
		"argument":         {[]string{"serve", "x"}, `unknown command or argument "x"`},
		"seed argument":    {[]string{"seed", "x"}, `"x"`},
		"unknown flag":     {[]string{"--frob"}, "unknown flag: --frob"},
		"upstream tokens":  {[]string{"--upstream-tokens", "x"}, `"--upstream-tokens" flag: must be one of refresh|cached`},
		"refresh":          {[]string{"serve", "--atlassian-refresh", "x"}, "must be one of overlap|invalidate"},
		"lifetime":         {[]string{"--token-lifetime", "5"}, "--token-lifetime"},
		"short lifetime":   {[]string{"--token-lifetime", "5ms"}, "--token-lifetime: 5ms is too short"},
		"upstream":         {append([]string{"--upstream", "nonsense"}, free...), "--upstream"},
		"upstream target":  {append([]string{"--upstream", "https://a.example=b"}, free...), "must be an http or https URL"},
		"issuer":           {append([]string{"--issuer", "nope"}, free...), `issuer "nope"`},
		"seed file":        {[]string{"--seed", filepath.Join(t.TempDir(), "missing.yaml")}, "--seed: open"},
		"data without key": {[]string{"--data", filepath.Join(t.TempDir(), "d")}, "--data needs a key, because client secrets and tokens are encrypted: make one with `openssl rand -base64 32 > key`"},
		"bad key":          {[]string{"--data", filepath.Join(t.TempDir(), "d"), "--data-key-file", bad}, bad + ": the key must be 32 random bytes in base64"},
		"missing key":      {[]string{"--data", filepath.Join(t.TempDir(), "d"), "--data-key-file", bad + "x"}, "--data-key-file: open"},
		"key without data": {[]string{"--data-key-file", bad}, "--data-key-file is of no use without --data"},
		"missing CA":       {[]string{"--upstream-ca", bad + "x"}, "--upstream-ca: open"},
		"no CA":            {[]string{"--upstream-ca", bad}, "--upstream-ca: " + bad + " holds no certificate in PEM form"},
		"seed file's text": {[]string{"--seed", bad}, `unknown field "nmae"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			_, err := run(t.Context(), io.Discard, tt.args...)
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			g.Expect(exitCode(err)).To(Equal(exitUsage))
		})
	}
}

func TestListenFailure(t *testing.T) {
	g := NewWithT(t)
	_, err := run(t.Context(), io.Discard, "--zone-address=127.0.0.1:99999")
	g.Expect(err).To(MatchError(ContainSubstring("listening on 127.0.0.1:99999")))
	g.Expect(exitCode(err)).To(Equal(exitFailure))
}

// TestServe runs the server with and without the word, until its context ends.
func TestServe(t *testing.T) {
	for name, args := range map[string][]string{
		"default": free,
		"serve":   append([]string{"serve", "--issuer=https://zn-demo.keycard.test", "--token-lifetime=30s", "--upstream-tokens=cached"}, free...),
		"tls":     append([]string{"--tls-dir=" + filepath.Join(t.TempDir(), "tls"), "--tls-name=zone.test"}, free...),
		"wide":    append([]string{"serve", "--omit-expires-in", "-v"}, "--zone-address=0.0.0.0:0", free[1], free[2], free[3]),
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			reader, writer := io.Pipe()
			type result struct {
				stderr string
				err    error
			}
			ended := make(chan result, 1)
			go func() {
				stderr, err := run(ctx, writer, args...)
				_ = writer.Close()
				ended <- result{stderr, err}
			}()
			lines := bufio.NewScanner(reader)
			for _, listener := range []string{"zone", "api", "atlassian", "admin"} {
				g.Expect(lines.Scan()).To(BeTrue())
				fields := strings.Fields(lines.Text())
				g.Expect(fields[0]).To(Equal(listener))
				if name == "tls" {
					g.Expect(fields[1]).To(HavePrefix("https://"))
					continue
				}
				resp, err := http.Get(fields[1] + "/healthz")
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(resp.StatusCode).To(Equal(200))
				g.Expect(resp.Body.Close()).To(Succeed())
				if listener == "zone" && name == "serve" {
					g.Expect(lines.Text()).To(HaveSuffix("zone_id=zn-demo issuer=https://zn-demo.keycard.test"))
				}
			}
			if name == "tls" {
				g.Expect(lines.Scan()).To(BeTrue())
				g.Expect(strings.Fields(lines.Text())[1]).To(BeARegularFile())
			}
			cancel()
			end := <-ended
			g.Expect(end.err).NotTo(HaveOccurred())
			g.Expect(strings.Contains(end.stderr, "development only")).To(Equal(name == "wide"))
			g.Expect(lines.Scan()).To(BeFalse(), "one line for each listener")
		})
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.1.2.3:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, ":1": false, "[::]:1": false, "10.0.0.1:1": false, "example.com:1": false,
	} {
		if got := loopback(address); got != want {
			t.Errorf("loopback(%q) = %t", address, got)
		}
	}
}
