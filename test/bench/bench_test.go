// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

func TestFlags(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no bindings":    {[]string{"--bindings=0"}, "--bindings is 0"},
		"short lifetime": {[]string{"--token-lifetime=15s"}, "--token-lifetime is 15s; it has to be at least 45s"},
		"argument":       {[]string{"now"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command()
			cmd.SetArgs(tt.args)
			NewWithT(t).Expect(cmd.Execute()).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}

// A small run works from end to end, and finds no invariant broken. Its times mean nothing.
func TestSmallRun(t *testing.T) {
	g := NewWithT(t)
	var out bytes.Buffer
	o := options{bindings: 20, unrelated: 50, rotations: 1, tokenLifetime: 50 * time.Second}
	g.Expect(run(t.Context(), &out, o)).To(Succeed(), out.String())
	for _, row := range []string{
		"| cold start: exchanges | 20, ", "1.00 patch secrets",
		"| restart: exchanges | 0 |", "| relabel: exchanges | 0 |", "| relabel: API requests in all | none |",
		"| re-apply: exchanges | 0 |", "| restart beside unrelated Secrets: exchanges | 0 |",
		"| rotations: seconds with an expired token in a Secret | 0.0 |", "| bare client",
	} {
		g.Expect(out.String()).To(ContainSubstring(row))
	}
}

func TestRequestsAreCounted(t *testing.T) {
	g := NewWithT(t)
	path := filepath.Join(t.TempDir(), "audit.log")
	write := func(text string) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		g.Expect(err).NotTo(HaveOccurred())
		_, err = f.WriteString(text)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(f.Close()).To(Succeed())
	}
	log := &requestLog{path: path}
	const patch = `{"verb":"patch","objectRef":{"resource":"confluencetokenbindings","subresource":"status"}}` + "\n"
	write(patch + patch + `{"verb":"get","objectRef":{"resource":"secrets"}}` + "\n" +
		`{"verb":"update","objectRef":{"resource":"leases"}}` + "\n" + `{"verb":"watch","objectRef":{"resource":"secrets"}}` + "\n" + patch[:20])
	c, err := log.take()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.per(2)).To(Equal("1.00 patch confluencetokenbindings/status, 0.50 get secrets"))
	g.Expect(c.writes()).To(Equal(2))
	write(patch[20:])
	c, err = log.take()
	g.Expect(err).NotTo(HaveOccurred(), "half a line is read when it is whole")
	g.Expect(c.per(1)).To(Equal("1 patch confluencetokenbindings/status"))
}

func TestPeak(t *testing.T) {
	g := NewWithT(t)
	start := time.Now()
	var at []time.Time
	for _, milliseconds := range []int{0, 900, 1100, 1200, 3000} {
		at = append(at, start.Add(time.Duration(milliseconds)*time.Millisecond))
	}
	g.Expect(peak(at)).To(Equal(3))
	g.Expect(peak(nil)).To(BeZero())
}

// A token that is replaced too late, and one that is not replaced, were expired in the Secret.
func TestExpiredTokensAreNoticed(t *testing.T) {
	g := NewWithT(t)
	o := &outputs{expires: map[string]time.Time{}, issued: map[string]string{}}
	o.reset()
	token := func(name string, issued, expires time.Duration) {
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		o.observe(&metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: corev1.SchemeGroupVersion.String()},
			ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
				v1alpha1.IssuedAtAnnotation: at(issued), v1alpha1.ExpiresAtAnnotation: at(expires),
			}},
		})
	}
	token("in-time", -time.Minute, time.Minute)
	token("in-time", 0, time.Hour)
	g.Expect(o.expiredSoFar()).To(BeZero())
	token("late", -time.Hour, -20*time.Second)
	token("late", 0, time.Hour)
	g.Expect(o.expiredSoFar()).To(BeNumerically("~", 20*time.Second, 2*time.Second))
	token("never", -time.Hour, -30*time.Second)
	g.Expect(o.expiredSoFar()).To(BeNumerically("~", 50*time.Second, 3*time.Second))
	tokens, secrets, _ := o.tally(2)
	g.Expect([]int{tokens, secrets}).To(Equal([]int{5, 2}))
}
