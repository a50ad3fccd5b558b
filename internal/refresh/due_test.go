// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package refresh

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// good is a token as it is wanted.
func good(life Life) *Held {
	return &Held{Life: life, Fits: true, Intact: true, Layout: true, Dressed: true}
}

func TestDue(t *testing.T) {
	tests := map[string]struct {
		change func(*Facts, *State)
		want   Why
	}{
		"nothing happened":            {func(*Facts, *State) {}, ""},
		"no token":                    {func(f *Facts, _ *State) { f.Held = nil }, NoToken},
		"another spec":                {func(f *Facts, _ *State) { f.Held.Fits = false }, SpecChanged},
		"another program changed it":  {func(f *Facts, _ *State) { f.Held.Intact = false }, Tampered},
		"asked for":                   {func(f *Facts, _ *State) { f.Request = "now" }, Requested},
		"still owed":                  {func(_ *Facts, s *State) { s.Owed = "now" }, Requested},
		"asked for, and under way":    {func(_ *Facts, s *State) { s.Attempt = Attempt{Request: "now", Holds: Issued} }, Requested},
		"asked for, and answered":     {func(_ *Facts, s *State) { s.Attempt = Attempt{Request: "now"} }, ""},
		"the session was renewed":     {func(f *Facts, _ *State) { f.SubjectRenewed = true }, SubjectIsNew},
		"it was renewed before":       {func(_ *Facts, s *State) { s.Attempt.Renewed = true }, SubjectIsNew},
		"due":                         {func(f *Facts, _ *State) { f.Now = RefreshAt(f.Held.Life, "uid", 0) }, DueForRefresh},
		"a second before":             {func(f *Facts, _ *State) { f.Now = RefreshAt(f.Held.Life, "uid", 0).Add(-time.Second) }, ""},
		"expired long ago":            {func(f *Facts, _ *State) { f.Now = noon.Add(24 * time.Hour) }, DueForRefresh},
		"from a clock that was ahead": {func(f *Facts, _ *State) { f.Now = noon.Add(-clockTolerance - time.Second) }, ClockSetBack},
		"from another clock":          {func(f *Facts, _ *State) { f.Now = noon.Add(-clockTolerance) }, ""},
		"refused a moment ago":        {func(f *Facts, _ *State) { f.Held.Refused = true }, ""},
		"refused for a while": {func(f *Facts, _ *State) {
			f.Held.Refused, f.Now = true, tryAgainAt(f.Held.Life, "uid")
		}, NotAccepted},
		"another layout": {func(f *Facts, _ *State) { f.Held.Layout = false }, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f, s := Facts{Now: noon.Add(time.Minute), Seed: "uid", Held: good(NewLife(noon, time.Hour))}, State{}
			tc.change(&f, &s)
			got, is := due(f, s)
			if got != tc.want || is != (tc.want != "") {
				t.Errorf("due is %v because %q, want %q", is, got, tc.want)
			}
		})
	}
}

func TestAdvances(t *testing.T) {
	present := NewLife(noon, time.Hour)
	longer := func(d time.Duration) Life {
		return Life{IssuedAt: present.IssuedAt, ExpiresAt: present.ExpiresAt.Add(d)}
	}
	tests := map[string]struct {
		change func(*Facts)
		life   Life
		want   bool
	}{
		"longer":                       {func(*Facts) {}, longer(time.Minute), true},
		"the same":                     {func(*Facts) {}, longer(time.Second), false},
		"shorter":                      {func(*Facts) {}, longer(-time.Minute), false},
		"asked for, and shorter":       {func(f *Facts) { f.Request = "now" }, longer(-time.Minute), true},
		"asked for, and the same":      {func(f *Facts) { f.Request = "now" }, longer(-time.Second), false},
		"in the place of one refused":  {func(f *Facts) { f.Held.Refused = true }, longer(0), true},
		"in the place of a foreign":    {func(f *Facts) { f.Held.Fits = false }, longer(0), true},
		"in the place of an expired":   {func(f *Facts) { f.Now = present.ExpiresAt }, longer(0), true},
		"for another subject's token":  {func(f *Facts) { f.SubjectRenewed = true }, longer(0), true},
		"after the clock was set back": {func(f *Facts) { f.Now = noon.Add(-time.Hour) }, longer(0), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := Facts{Now: noon.Add(time.Minute), Held: good(present)}
			tc.change(&f)
			if got := advances(f, State{}, tc.life); got != tc.want {
				t.Errorf("advances: %v", got)
			}
		})
	}
}
