// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

func TestExitCode(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"failure":     {errors.New("x"), 1},
		"usage":       {fmt.Errorf("x: %w", errUsage), 2},
		"refused":     {fmt.Errorf("x: %w", errRefused), 3},
		"not ready":   {fmt.Errorf("x: %w", errNotReady), 4},
		"interrupted": {fmt.Errorf("x: %w", context.Canceled), 130},
	} {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(exitCode(tt.err)).To(Equal(tt.want)) })
	}
}

func TestUsage(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no name":       {[]string{"consent"}, "name one ConfluenceTokenBinding"},
		"two names":     {[]string{"consent", "a", "b"}, "name one ConfluenceTokenBinding"},
		"unknown flag":  {[]string{"consent", "a", "--x"}, "unknown flag: --x"},
		"port":          {[]string{"consent", "a", "--port", "65536"}, "--port is 65536; it has to be 0 to 65535"},
		"negative port": {[]string{"consent", "a", "--port=-1"}, "--port is -1"},
		"timeout":       {[]string{"consent", "a", "--timeout=0s"}, "--timeout is 0s; it has to be more than 0"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(tt.args)
			err := cmd.ExecuteContext(t.Context())
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.want)))
			NewWithT(t).Expect(exitCode(err)).To(Equal(exitUsage))
		})
	}
}

func TestBrowserCommand(t *testing.T) {
	for name, tt := range map[string]struct {
		system, chosen string
		want           []string
	}{
		"linux":   {"linux", "", []string{"xdg-open", "L"}},
		"darwin":  {"darwin", "", []string{"open", "L"}},
		"windows": {"windows", "", []string{"rundll32", "url.dll,FileProtocolHandler", "L"}},
		"chosen":  {"darwin", "lynx", []string{"lynx", "L"}},
	} {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(browserCommand(tt.system, tt.chosen, "L")).To(Equal(tt.want))
		})
	}
}

func TestVerdict(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "because"}
	}
	good := condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	bad := condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoAccessibleSites)
	stalled := condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, v1alpha1.ReasonNoAccessibleSites)
	for name, tt := range map[string]struct {
		asked, answered string
		conditions      []metav1.Condition
		decided         bool
		want            string
	}{
		"ready":                         {"1", "1", []metav1.Condition{good}, true, ""},
		"ready from before":             {"1", "0", []metav1.Condition{good}, false, "the operator has not answered yet"},
		"ready, and could not be asked": {"", "0", []metav1.Condition{good}, true, ""},
		"stalled":                       {"1", "1", []metav1.Condition{bad, stalled}, true, "is not Ready: NoAccessibleSites: because"},
		"stalled before":                {"1", "0", []metav1.Condition{bad, stalled}, false, "is not Ready: NoAccessibleSites"},
		"stalled, not asked":            {"", "", []metav1.Condition{bad, stalled}, false, "is not Ready: NoAccessibleSites"},
		"trying":                        {"1", "1", []metav1.Condition{bad}, false, "is not Ready"},
		"without a status":              {"1", "", nil, false, "does it run?"},
		"the next one fails":            {"1", "1", []metav1.Condition{good, condition(v1alpha1.ConditionTokenIssued, metav1.ConditionTrue, v1alpha1.ReasonRefreshFailing)}, true, "has a token from before"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			b := &v1alpha1.ConfluenceTokenBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "reports"}}
			b.Status.LastRefreshRequest, b.Status.Conditions = tt.answered, tt.conditions
			g.Expect(decided(b, tt.asked)).To(Equal(tt.decided))
			var out bytes.Buffer
			err := verdict(&out, b, tt.asked)
			if tt.want == "" {
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(out.String()).To(HavePrefix("ConfluenceTokenBinding team/reports is Ready"))
				return
			}
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			g.Expect(exitCode(err)).To(Equal(exitNotReady))
		})
	}
	g := NewWithT(t)
	g.Expect((&options{timeout: time.Second}).validate()).To(Succeed())
}
