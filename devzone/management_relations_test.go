// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package devzone_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/devzone"
)

func TestDeletionOfReferencedObjects(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	provider, resource := z.install(nil)
	refused := z.api("DELETE", "/providers/"+provider, nil)
	g.Expect(refused.Status).To(Equal(409))
	g.Expect(refused.Body).To(HaveKeyWithValue("message", ContainSubstring("still used by 1 resources")))

	app := z.must("POST", "/applications", kinds["/applications"])["id"].(string)
	z.must("PATCH", "/resources/"+resource, map[string]any{"application_id": app})
	g.Expect(z.must("GET", "/applications/"+app+"/resources", nil)["items"]).To(HaveLen(1))
	g.Expect(z.api("DELETE", "/applications/"+app, nil).Status).To(Equal(409))

	z.must("PATCH", "/resources/"+resource, map[string]any{"application_id": nil, "credential_provider_id": nil, "scopes": nil})
	z.must("DELETE", "/applications/"+app, nil)
	z.must("POST", "/application-credentials", map[string]any{
		"type": "token", "provider_id": provider,
		"application_id": z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)["id"],
	})
	g.Expect(z.api("DELETE", "/providers/"+provider, nil).Body).To(HaveKeyWithValue("message", ContainSubstring("1 application credentials")))
}

func TestCredentials(t *testing.T) {
	z := startAs(t, devzone.Config{})
	app := z.must("POST", "/applications", kinds["/applications"])["id"].(string)
	provider := z.must("POST", "/providers", kinds["/providers"])["id"].(string)
	tests := map[string]struct {
		body   map[string]any
		want   OmegaMatcher
		patch  map[string]any
		after  OmegaMatcher
		repeat int
	}{
		"password": {
			body:   map[string]any{"identifier": "my-client"},
			want:   And(HaveKeyWithValue("identifier", "my-client"), HaveKeyWithValue("password", Not(BeEmpty()))),
			patch:  map[string]any{"type": "password", "identifier": "ignored"},
			after:  And(HaveKeyWithValue("identifier", "my-client"), Not(HaveKey("password"))),
			repeat: 409,
		},
		"token": {
			body:   map[string]any{"provider_id": provider, "subject": "system:serviceaccount:a:b"},
			want:   And(HaveKeyWithValue("identifier", "system:serviceaccount:a:b"), HaveKeyWithValue("provider_id", provider)),
			patch:  map[string]any{"subject": nil},
			after:  And(HaveKeyWithValue("identifier", "*"), Not(HaveKey("subject"))),
			repeat: 200,
		},
		"public-key": {
			body:   map[string]any{"jwks_uri": "https://app.example.com/jwks", "identifier": "key-client"},
			want:   And(HaveKeyWithValue("jwks_uri", "https://app.example.com/jwks"), HaveKeyWithValue("identifier", "key-client")),
			patch:  map[string]any{"type": "public-key"},
			after:  HaveKeyWithValue("identifier", "key-client"),
			repeat: 409,
		},
		"url": {
			body:   map[string]any{"identifier": "https://app.example.com/client.json"},
			want:   HaveKeyWithValue("identifier", "https://app.example.com/client.json"),
			patch:  map[string]any{"identifier": "https://app.example.com/other.json"},
			after:  HaveKeyWithValue("identifier", "https://app.example.com/other.json"),
			repeat: 200,
		},
		"public": {
			body:   map[string]any{"identifier": "pub"},
			want:   And(HaveKeyWithValue("identifier", "pub"), Not(HaveKey("password"))),
			patch:  map[string]any{},
			after:  HaveKeyWithValue("identifier", "pub"),
			repeat: 409,
		},
	}
	for kind, tt := range tests {
		t.Run(kind, func(t *testing.T) {
			g := NewWithT(t)
			tt.body["application_id"], tt.body["type"] = app, kind
			created := z.must("POST", "/application-credentials", tt.body)
			g.Expect(created).To(And(tt.want, HaveKeyWithValue("type", kind), HaveKeyWithValue("application_id", app),
				HaveKeyWithValue("zone_id", z.ZoneID), HaveKey("slug")))
			g.Expect(z.api("POST", "/application-credentials", tt.body).Status).To(Equal(409))

			path := "/application-credentials/" + created["id"].(string)
			g.Expect(z.must("GET", path, nil)).NotTo(HaveKey("password"))
			g.Expect(z.must("PATCH", path, tt.patch)).To(tt.after)
			wrong := z.api("PATCH", path, map[string]any{"type": "nope"})
			g.Expect(wrong.Status).To(Equal(400))
			g.Expect(z.api("POST", "/application-credentials", tt.body).Status).To(Equal(tt.repeat), "after the change of the key")

			mine := z.must("GET", "/application-credentials?applicationId="+app, nil)
			nested := z.must("GET", "/applications/"+app+"/application-credentials", nil)
			g.Expect(nested["items"]).To(Equal(mine["items"]))
			g.Expect(fmt.Sprint(mine)).NotTo(ContainSubstring("password:"))
			z.must("DELETE", path, nil)
			g.Expect(z.api("GET", path, nil).Status).To(Equal(404))
		})
	}
}

func TestCredentialsOfAnApplication(t *testing.T) {
	z := start(t, devzone.Config{})
	app := z.must("POST", "/applications", kinds["/applications"])["id"].(string)
	t.Run("made identifier", func(t *testing.T) {
		g := NewWithT(t)
		created := z.must("POST", "/application-credentials", map[string]any{"application_id": app, "type": "password"})
		g.Expect(created["identifier"]).To(HaveLen(26))
	})
	t.Run("gone with the application", func(t *testing.T) {
		g := NewWithT(t)
		z.must("DELETE", "/applications/"+app, nil)
		g.Expect(z.must("GET", "/application-credentials?application_id="+app, nil)["items"]).To(BeEmpty())
		g.Expect(z.api("GET", "/applications/"+app+"/application-credentials", nil).Status).To(Equal(404))
	})
}

func TestDependencies(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	app := z.must("POST", "/applications", map[string]any{
		"identifier": "a", "name": "A",
		"dependencies": []any{map[string]any{"id": "ignored"}},
	})
	g.Expect(app).To(HaveKeyWithValue("dependencies_count", BeNumerically("==", 0)))
	r1 := z.must("POST", "/resources", map[string]any{"identifier": "r1", "name": "R1"})["id"].(string)
	r2 := z.must("POST", "/resources", map[string]any{"identifier": "r2", "name": "R2"})["id"].(string)
	path := "/applications/" + app["id"].(string) + "/dependencies"

	for range 2 {
		got := z.api("PUT", path+"/"+r1, nil)
		g.Expect(got.Status).To(Equal(204))
		g.Expect(got.Raw).To(BeEmpty())
	}
	g.Expect(z.api("PUT", path+"/"+r2+"?when_accessing="+r1, "{}").Status).To(Equal(204))
	g.Expect(z.must("GET", "/applications/"+app["id"].(string), nil)).To(HaveKeyWithValue("dependencies_count", BeNumerically("==", 2)))

	all := z.must("GET", path+"?expand[]=total_count", nil)
	g.Expect(all["items"]).To(HaveLen(2))
	g.Expect(all["items"].([]any)[0]).To(And(HaveKeyWithValue("id", r1), Not(HaveKey("when_accessing"))))
	g.Expect(all["pagination"]).To(HaveKeyWithValue("total_count", BeNumerically("==", 2)))
	g.Expect(all).To(HaveKey("page_info"))
	filtered := z.must("GET", path+"?when_accessing="+r1, nil)["items"].([]any)
	g.Expect(filtered).To(ConsistOf(And(HaveKeyWithValue("id", r2), HaveKeyWithValue("when_accessing", ConsistOf(r1)))))
	g.Expect(z.must("GET", path+"/"+r2, nil)).To(HaveKeyWithValue("identifier", "r2"))

	for name, tt := range map[string]struct {
		method, path string
		body         any
		status       int
	}{
		"unknown resource":       {"PUT", path + "/nope", nil, 404},
		"unknown application":    {"PUT", "/applications/nope/dependencies/" + r1, nil, 404},
		"unknown when_accessing": {"PUT", path + "/" + r1 + "?when_accessing=nope", nil, 400},
		"bad body":               {"PUT", path + "/" + r1, "[]", 400},
		"two filters":            {"GET", path + "?when_accessing=a&when_accessing=b", nil, 400},
		"list of unknown":        {"GET", "/applications/nope/dependencies", nil, 404},
		"no such dependency":     {"GET", path + "/nope", nil, 404},
	} {
		g.Expect(z.api(tt.method, tt.path, tt.body).Status).To(Equal(tt.status), name)
	}
	z.must("DELETE", path+"/"+r1, nil)
	g.Expect(z.api("DELETE", path+"/"+r1, nil).Status).To(Equal(404))
	z.must("DELETE", "/resources/"+r2, nil)
	g.Expect(z.must("GET", path, nil)["items"]).To(BeEmpty())
}

func TestSeededDependencyFollowsTheResource(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	app := z.must("GET", "/applications?identifier=reports", nil)["items"].([]any)[0].(map[string]any)
	g.Expect(app).To(HaveKeyWithValue("dependencies_count", BeNumerically("==", 0)))
	_, resource := z.install(nil)
	path := "/applications/" + app["id"].(string) + "/dependencies/" + resource
	g.Expect(z.must("GET", path, nil)).To(HaveKeyWithValue("identifier", confluence))
	z.must("DELETE", path, nil)
	g.Expect(z.api("GET", path, nil).Status).To(Equal(404), "a removed dependency stays removed")
}

func TestUsers(t *testing.T) {
	g := NewWithT(t)
	z := start(t, devzone.Config{})
	all := z.must("GET", "/users", nil)
	g.Expect(all["items"]).To(HaveLen(3))
	g.Expect(all).NotTo(HaveKey("page_info"))
	alice := z.must("GET", "/users?filter[email]=Alice@example.com", nil)["items"].([]any)
	g.Expect(alice).To(ConsistOf(And(HaveKeyWithValue("identifier", "alice@example.com"),
		HaveKeyWithValue("email", "alice@example.com"), HaveKeyWithValue("email_verified", true),
		HaveKeyWithValue("organization_id", "org-devzone"), HaveKeyWithValue("zone_id", z.ZoneID))))
	id := alice[0].(map[string]any)["id"].(string)
	g.Expect(z.must("GET", "/users/"+id, nil)).To(Equal(alice[0]))
	g.Expect(z.must("GET", "/users?filter[id]="+id, nil)["items"]).To(HaveLen(1))
	g.Expect(z.must("GET", "/users?query[email]=B@EX", nil)["items"]).To(HaveLen(1))
	for _, query := range []string{"filter[id]=x&after=c2VxOjE", "sort=name", "sort=-", "sort=--email", strings.Repeat("filter[id]=x&", 101)} {
		g.Expect(z.api("GET", "/users?"+query, nil).Status).To(Equal(400), query)
	}
	g.Expect(z.api("GET", "/users/nope", nil).Status).To(Equal(404))
}
