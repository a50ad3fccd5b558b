// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package person_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keycardai/keycard-operator/test/testenv/person"
)

const form = `<!DOCTYPE html><title>form</title><body><h1>A form</h1><button id="outside">No form</button>
<form method="post" action="/sent"><input type="hidden" name="i" value="1"><input id="who" name="who" value="nobody">
<input type="checkbox" name="box" value="a"><input type="checkbox" name="box" value="b" checked><input type="radio" name="pick" value="c">
<input value="without a name"><button name="do" value="yes">Yes</button><button name="do" value="no">No</button></form></body>`

// site is pages that lead on, and one that shows what was sent.
func site(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /form", func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s1"})
		fmt.Fprint(w, form)
	})
	mux.HandleFunc("POST /sent", func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("session")
		if err != nil || r.ParseForm() != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Refresh", "0; url=/shown?cookie="+cookie.Value+"&"+r.PostForm.Encode())
		fmt.Fprint(w, "One moment")
	})
	mux.HandleFunc("GET /shown", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "<body>%s</body>", r.URL.Query().Encode())
	})
	mux.HandleFunc("GET /on", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Refresh", "0; url=/on") })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// A form is sent as a browser would: its button, what is ticked, hidden fields, cookies, and on to where the page leads.
func TestPlainSendsForms(t *testing.T) {
	g := NewWithT(t)
	base := site(t)
	p, err := person.NewPlain(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(p.Open(base + "/form")).To(Succeed())
	g.Expect(person.See(p, "A form")).To(Succeed())
	g.Expect(p.Fill("#who", "me & you")).To(Succeed())
	g.Expect(p.Tick(`input[name=box][value="a"]`)).To(Succeed())
	g.Expect(p.Tick(`input[name=pick]`)).To(Succeed())
	g.Expect(p.Press(`button[value=no]`)).To(Succeed())
	g.Expect(p.Text()).To(Equal("box=a&box=b&cookie=s1&do=no&i=1&pick=c&who=me+%26+you"))
}

func TestPlainSaysWhatIsWrong(t *testing.T) {
	g := NewWithT(t)
	base := site(t)
	p, err := person.NewPlain(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(p.Press("button")).To(MatchError("no page is open"))
	g.Expect(p.Open(base + "/form")).To(Succeed())
	g.Expect(p.Press("#outside")).To(MatchError("#outside is in no form"))
	g.Expect(p.Fill("#other", "x")).To(MatchError(ContainSubstring("has no #other")))
	g.Expect(p.Tick("[")).To(MatchError(ContainSubstring("parsing the selector [")))
	g.Expect(p.Open(base + "/on")).To(MatchError(ContainSubstring("leads on and on")))
	g.Expect(p.Open("http://127.0.0.1:1/?code=canary")).To(MatchError(Not(ContainSubstring("canary"))))
}
