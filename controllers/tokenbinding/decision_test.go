// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// holdingFor is a token that was made for what was wanted.
func holdingFor(life refresh.Life, made tokensecret.Wanted) *tokensecret.Held {
	return &tokensecret.Held{Life: life, Note: tokensecret.Note{Made: made}}
}

func TestDecide(t *testing.T) {
	healthy := func() facts {
		return facts{
			now: noon.Add(time.Minute), uid: "uid", intact: true, want: tokensecret.Wanted{Exchange: "e", Layout: "l"},
			held: holdingFor(refresh.NewLife(noon, time.Hour), tokensecret.Wanted{Exchange: "e", Layout: "l"}),
		}
	}
	tests := map[string]struct {
		change func(*facts)
		want   action
	}{
		"nothing happened":            {func(*facts) {}, keep},
		"no token":                    {func(f *facts) { f.held = nil }, exchange},
		"another spec":                {func(f *facts) { f.want.Exchange = "other" }, exchange},
		"somebody changed it":         {func(f *facts) { f.intact = false }, exchange},
		"asked for":                   {func(f *facts) { f.requested = true }, exchange},
		"the session was renewed":     {func(f *facts) { f.renewed = true }, exchange},
		"due":                         {func(f *facts) { f.now = refresh.RefreshAt(f.held.Life, "uid", 0) }, exchange},
		"a second before":             {func(f *facts) { f.now = refresh.RefreshAt(f.held.Life, "uid", 0).Add(-time.Second) }, keep},
		"expired long ago":            {func(f *facts) { f.now = noon.Add(24 * time.Hour) }, exchange},
		"from a clock that was ahead": {func(f *facts) { f.now = noon.Add(-clockTolerance - time.Second) }, exchange},
		"from another clock":          {func(f *facts) { f.now = noon.Add(-clockTolerance) }, keep},
		"another layout":              {func(f *facts) { f.want.Layout = "other" }, relayout},
		"another layout and spec":     {func(f *facts) { f.want.Layout, f.want.Exchange = "other", "other" }, exchange},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			tc.change(&f)
			got, why := decide(f)
			if got != tc.want || (got == keep) != (why == "") {
				t.Errorf("decided %d because %q, want %d", got, why, tc.want)
			}
		})
	}
}

// What a token depends on does not include who is restarted for it.
func TestRestartIsNoReasonToExchange(t *testing.T) {
	plain := newScope(&v1alpha1.ConfluenceTokenBinding{}, noon)
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Spec.Restart = &v1alpha1.Restart{Targets: []v1alpha1.RestartTarget{{Kind: "Deployment", Name: "a"}}}
	if s := newScope(b, noon); s.want != plain.want {
		t.Error("spec.restart changes what is exchanged for")
	}
}
