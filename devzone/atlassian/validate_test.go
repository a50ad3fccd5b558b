// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package atlassian_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone/atlassian"
)

func TestDataValidation(t *testing.T) {
	tests := map[string]struct {
		change func(*atlassian.Data)
		want   string
	}{
		"user without email": {func(d *atlassian.Data) { d.Users[0].Email = "" }, "users[0].email: email and accountId"},
		"user twice":         {func(d *atlassian.Data) { d.Users[1].Email = ann }, "users[1].email"},
		"app without secret": {func(d *atlassian.Data) { d.Apps[0].ClientSecret = "" }, "apps[0].client_id"},
		"app callback":       {func(d *atlassian.Data) { d.Apps[0].Callback = "/x" }, "apps[0].callback"},
		"app twice":          {func(d *atlassian.Data) { d.Apps[1].ClientID = "app" }, "apps[1].client_id"},
		"site url":           {func(d *atlassian.Data) { d.Sites[0].URL = "https://a.atlassian.net/wiki" }, "sites[0].url"},
		"site id":            {func(d *atlassian.Data) { d.Sites[0].CloudID = "" }, "sites[0].cloudId"},
		"site twice":         {func(d *atlassian.Data) { d.Sites[1].URL = d.Sites[0].URL }, "sites[1]"},
		"member":             {func(d *atlassian.Data) { d.Sites[0].Members = []string{"x"} }, `sites[0].members: no user has the email "x"`},
		"space id":           {func(d *atlassian.Data) { d.Sites[0].Spaces[0].ID = "x" }, "sites[0].spaces[0]"},
		"space twice":        {func(d *atlassian.Data) { d.Sites[0].Spaces[1].Key = "ONE" }, "sites[0].spaces[1]"},
		"page id":            {func(d *atlassian.Data) { d.Sites[0].Spaces[0].Pages[1].ID = "11" }, "sites[0].spaces[0].pages[1]"},
		"page title":         {func(d *atlassian.Data) { d.Sites[0].Spaces[0].Pages[1].Title = "" }, "sites[0].spaces[0].pages[1]"},
		"rate limit":         {func(d *atlassian.Data) { d.RateLimit = &atlassian.RateLimit{} }, "rateLimit"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := data()
			tt.change(&d)
			_, err := atlassian.New(atlassian.Config{Data: d})
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}
