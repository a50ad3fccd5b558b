// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

const (
	ours  = Marker("[keycard-operator c/ns/name]")
	step  = "Registered"
	thing = "the-thing"
)

// object is an object of the fake kind.
type object struct{ id, identifier, name, description string }

// patch renames an object and puts the marker on.
type patch struct{ name keycard.Field[string] }

func (p patch) IsZero() bool { return p.name.IsZero() }

// fakeZone has objects of one kind. It is strict: two objects may have the same identifier only
// where the test puts them there.
type fakeZone struct {
	objects []object
	made    int
	// fault is what the next write answers; lost says that it is done all the same.
	fault error
	lost  bool
	// sent are the writes.
	sent []string
}

var (
	errLost     = &keycard.Error{Op: "creating the thing", Class: keycard.Transient, Description: "timed out"}
	errConflict = &keycard.Error{Op: "creating the thing", Class: keycard.Misconfigured, Status: http.StatusConflict}
	errTwice    = &keycard.Error{Op: "looking up the thing", Class: keycard.Misconfigured, Description: "several objects match where one was expected"}
)

// write does something unless the zone fails, or its answer is lost.
func (z *fakeZone) write(what string, do func()) error {
	z.sent = append(z.sent, what)
	fault, lost := z.fault, z.lost
	z.fault, z.lost = nil, false
	if fault == nil || lost {
		do()
	}
	return fault
}

func (z *fakeZone) find(identifier string) (found []object) {
	for _, o := range z.objects {
		if o.identifier == identifier {
			found = append(found, o)
		}
	}
	return found
}

func (z *fakeZone) kind() Kind[object, object, patch] {
	return Kind[object, object, patch]{
		Name: "thing",
		Find: func(_ *keycard.ManagementClient, _ context.Context, _, identifier string) (object, bool, error) {
			switch found := z.find(identifier); len(found) {
			case 0:
				return object{}, false, nil
			case 1:
				return found[0], true, nil
			}
			return object{}, false, errTwice
		},
		Create: func(_ *keycard.ManagementClient, _ context.Context, _ string, o object) (made object, err error) {
			if len(z.find(o.identifier)) > 0 {
				z.sent = append(z.sent, "create")
				return object{}, errConflict
			}
			err = z.write("create", func() {
				z.made++
				o.id = fmt.Sprint("id", z.made)
				z.objects, made = append(z.objects, o), o
			})
			if err != nil {
				return object{}, err
			}
			return made, nil
		},
		Patch: func(_ *keycard.ManagementClient, _ context.Context, _, id string, _ patch) (object, error) {
			return object{}, z.write("patch "+id, func() {
				i := slices.IndexFunc(z.objects, func(o object) bool { return o.id == id })
				z.objects[i].name, z.objects[i].description = "wanted", "about "+string(ours)
			})
		},
		Delete: func(_ *keycard.ManagementClient, _ context.Context, _, id string) error {
			return z.write("delete "+id, func() {
				z.objects = slices.DeleteFunc(z.objects, func(o object) bool { return o.id == id })
			})
		},
		About: func(o object) (id, description string) { return o.id, o.description },
	}
}

// want is how the thing has to be.
func want(claim func(object) (bool, error)) Want[object, object, patch] {
	return Want[object, object, patch]{
		Step: step, Object: "thing", Identifier: thing, Marker: ours,
		Body:  object{identifier: thing, name: "wanted", description: "about " + string(ours)},
		Claim: claim,
		Differs: func(have object) (p patch, fields []string) {
			if have.name != "wanted" {
				p.name, fields = keycard.Set("wanted"), append(fields, "name")
			}
			if !ours.In(have.description) {
				p.name, fields = keycard.Set("wanted"), append(fields, "description")
			}
			return p, fields
		},
	}
}

var errClaimed = problem.IdentifierOfPlatform(thing)

func adopt(object) (bool, error)  { return true, nil }
func share(object) (bool, error)  { return false, nil }
func refuse(object) (bool, error) { return false, errClaimed }

func look(observing bool) *Zone { return (&Zones{}).Look("https://api.example", "z1", observing) }

func drift(z *Zone) string {
	var all []string
	for _, d := range z.Drift() {
		all = append(all, d.String())
	}
	return strings.Join(all, "; ")
}

func TestEnsure(t *testing.T) {
	good := object{"id7", thing, "wanted", "about " + string(ours)}
	changed := object{"id7", thing, "changed", "about " + string(ours)}
	foreign := object{"id7", thing, "changed", "by hand"}
	for name, tc := range map[string]struct {
		there     []object
		claim     func(object) (bool, error)
		known     string
		observing bool
		fault     error

		standing Standing
		reason   string // of the problem
		sent     string
		drift    string
	}{
		"there is none":                   {standing: Created, sent: "create"},
		"it was deleted":                  {known: "id7", standing: Created, sent: "create", drift: "thing: deleted"},
		"the create fails":                {known: "id7", fault: errLost, standing: Absent, reason: v1alpha1.ReasonZoneUnreachable, sent: "create"},
		"someone else created it":         {fault: errConflict, standing: Absent, reason: v1alpha1.ReasonProgressingWithRetry, sent: "create"},
		"it is as wanted":                 {there: []object{good}, known: "id7", standing: Managed},
		"it was changed":                  {there: []object{changed}, standing: Managed, sent: "patch id7", drift: "thing: name"},
		"the change fails":                {there: []object{changed}, fault: errLost, standing: Managed, reason: v1alpha1.ReasonZoneUnreachable, sent: "patch id7"},
		"it is adopted":                   {there: []object{foreign}, claim: adopt, standing: Managed, sent: "patch id7", drift: "thing: name, description"},
		"it is shared":                    {there: []object{foreign}, claim: share, standing: Foreign},
		"it is in the way":                {there: []object{foreign}, claim: refuse, standing: Foreign, reason: v1alpha1.ReasonIdentifierInUse},
		"there are two":                   {there: []object{good, foreign}, standing: Absent, reason: v1alpha1.ReasonRequestRejected},
		"observed: there is none":         {observing: true, standing: Absent, reason: v1alpha1.ReasonNotRegistered},
		"observed: it differs":            {there: []object{changed}, observing: true, standing: Managed, drift: "thing: name"},
		"observed: it is someone else's":  {there: []object{foreign}, claim: adopt, observing: true, standing: Managed, drift: "thing: name, description"},
		"observed: someone else's, as is": {there: []object{foreign}, claim: share, observing: true, standing: Foreign},
	} {
		t.Run(name, func(t *testing.T) {
			zone := &fakeZone{objects: tc.there, fault: tc.fault}
			l, w, created := look(tc.observing), want(tc.claim), ""
			w.Known, w.Created = tc.known, func(o object) { created = o.id }
			have, standing, err := Ensure(t.Context(), l, zone.kind(), w)
			if standing != tc.standing || strings.Join(zone.sent, ", ") != tc.sent || drift(l) != tc.drift {
				t.Errorf("standing %d, sent %v, drift %q", standing, zone.sent, drift(l))
			}
			if p := problem.Of(err); (p != nil) != (tc.reason != "") || p != nil && p.Reason != tc.reason {
				t.Errorf("error %v", err)
			}
			if (have.id != "") != (standing != Absent) {
				t.Errorf("gives %+v", have)
			}
			if (created != "") != (standing == Created) {
				t.Errorf("told of the created %q", created)
			}
			if len(l.Drift("another")) > 0 || len(l.Drift(step, "another")) != len(l.Drift()) {
				t.Errorf("drift by step %v, %v", l.Drift("another"), l.Drift(step, "another"))
			}
		})
	}
}

// An answer that is lost leaves one object, which the next look finds and keeps.
func TestCreateAnswerLost(t *testing.T) {
	zone := &fakeZone{fault: errLost, lost: true}
	if _, _, err := Ensure(t.Context(), look(false), zone.kind(), want(refuse)); err == nil {
		t.Fatal("a lost answer is no error")
	}
	l := look(false)
	have, standing, err := Ensure(t.Context(), l, zone.kind(), want(refuse))
	if err != nil || standing != Managed || have.id != "id1" || len(zone.objects) != 1 || drift(l) != "" {
		t.Errorf("the next look gives %+v, %d, %v; drift %q; there are %+v", have, standing, err, drift(l), zone.objects)
	}
}

// What is wanted without a comparison is left as it is.
func TestNothingCompared(t *testing.T) {
	zone := &fakeZone{objects: []object{{"id7", thing, "changed", string(ours)}}}
	w := want(refuse)
	w.Differs = nil
	if _, standing, err := Ensure(t.Context(), look(false), zone.kind(), w); err != nil || standing != Managed || len(zone.sent) > 0 {
		t.Errorf("%d, %v, sent %v", standing, err, zone.sent)
	}
}

func TestDelete(t *testing.T) {
	for description, deleted := range map[string]bool{
		"about " + string(ours): true, "": false, "by hand": false,
		string(InstallMarker("c", "ns", "name-2")): false, string(InstallMarker("c2", "ns", "name")): false, string(ClusterMarker("c", "workload")): false,
	} {
		zone := &fakeZone{objects: []object{{"id7", thing, "wanted", description}}}
		err := Delete(t.Context(), look(false), zone.kind(), zone.objects[0], ours)
		if err != nil || (len(zone.objects) == 0) != deleted {
			t.Errorf("%q: deleted is %v, %v", description, len(zone.objects) == 0, err)
		}
	}
	zone := &fakeZone{objects: []object{{"id7", thing, "wanted", string(ours)}}, fault: errLost}
	if p := problem.Of(Delete(t.Context(), look(false), zone.kind(), zone.objects[0], ours)); p == nil || p.Reason != v1alpha1.ReasonZoneUnreachable {
		t.Errorf("a failed deletion is %v", p)
	}
}

func TestMarkers(t *testing.T) {
	described := "About it. " + string(InstallMarker("c", "ns", "name"))
	if namespace, name, ok := InstallOf("c", described); !ok || namespace != "ns" || name != "name" {
		t.Errorf("made by %s/%s, %v", namespace, name, ok)
	}
	for _, other := range []string{"", "ns/name", string(InstallMarker("c2", "ns", "name")), string(ClusterMarker("c", "cluster"))} {
		if namespace, name, ok := InstallOf("c", other); ok {
			t.Errorf("%q was made by %s/%s", other, namespace, name)
		}
	}
	if InstallMarker("c", "ns", "nam").In(described) || !InstallMarker("c", "ns", "name").In(described) {
		t.Error("a marker is found in a longer one, or not in its own")
	}
}

func TestDifferences(t *testing.T) {
	var (
		d                   Differences
		same, stated, other keycard.Field[string]
		list                keycard.Field[[]string]
	)
	d.Text("same", &same, "a", "a")
	d.Text("other", &other, "a", "b")
	d.Stated("left out", &stated, "", "b")
	Value(&d, "order", &list, []string{"b", "a"}, SameSet([]string{"a", "b"}, []string{"b", "a"}))
	Value(&d, "twice", &list, []string{"a", "a"}, SameSet([]string{"a", "b"}, []string{"a", "a"}))
	if !slices.Equal(d, []string{"other", "twice"}) || !same.IsZero() || other.IsZero() || !stated.IsZero() || list.IsZero() {
		t.Errorf("differ: %v", d)
	}
}

// Whatever fails, and whatever others do: there is one object at most, someone else's is touched
// only when it is claimed, a look that observes sends nothing, and one that went well leaves
// nothing to do for the next.
func TestAnyCourse(t *testing.T) {
	claims := map[string]func(object) (bool, error){"adopt": adopt, "share": share, "refuse": refuse}
	rapid.Check(t, func(t *rapid.T) {
		zone := &fakeZone{}
		meddle := func(do func(*object)) {
			if len(zone.objects) > 0 {
				do(&zone.objects[0])
			}
		}
		ensure := func(observing bool, claim string) error {
			before, foreign := slices.Clone(zone.objects), len(zone.objects) > 0 && !ours.In(zone.objects[0].description)
			zone.sent = nil
			l := look(observing)
			_, standing, err := Ensure(context.Background(), l, zone.kind(), want(claims[claim]))
			switch {
			case observing && len(zone.sent) > 0:
				t.Fatalf("an observer sent %v", zone.sent)
			case foreign && claim != "adopt" && !slices.Equal(before, zone.objects):
				t.Fatalf("someone else's %+v became %+v", before, zone.objects)
			case len(zone.objects) > 1:
				t.Fatalf("there are %+v", zone.objects)
			case err == nil && !observing && standing != Foreign && zone.objects[0].name != "wanted":
				t.Fatalf("it is %+v", zone.objects[0])
			case err != nil && len(l.Drift()) > 0:
				t.Fatalf("what failed is noted as put right: %v", l.Drift())
			}
			return err
		}
		t.Repeat(map[string]func(*rapid.T){
			"ensure": func(t *rapid.T) {
				observing, claim := rapid.Bool().Draw(t, "observing"), rapid.SampledFrom([]string{"adopt", "share", "refuse"}).Draw(t, "claim")
				if ensure(observing, claim) != nil || observing {
					return
				}
				if err := ensure(false, claim); err != nil || len(zone.sent) > 0 {
					t.Fatalf("again: %v, sent %v", err, zone.sent)
				}
			},
			"a write fails":       func(*rapid.T) { zone.fault, zone.lost = errLost, false },
			"an answer gets lost": func(*rapid.T) { zone.fault, zone.lost = errLost, true },
			"it is renamed":       func(*rapid.T) { meddle(func(o *object) { o.name = "renamed" }) },
			"it loses its marker": func(*rapid.T) { meddle(func(o *object) { o.description = "by hand" }) },
			"it is deleted":       func(*rapid.T) { zone.objects = nil },
			"it is made by hand":  func(*rapid.T) { zone.objects = []object{{"hand", thing, "by hand", ""}} },
			"the operator deletes it": func(t *rapid.T) {
				if len(zone.objects) == 0 {
					return
				}
				mine, fault := ours.In(zone.objects[0].description), zone.fault
				err := Delete(context.Background(), look(false), zone.kind(), zone.objects[0], ours)
				if fault == nil && (err != nil || (len(zone.objects) == 0) != mine) {
					t.Fatalf("ours is %v, and there are %+v: %v", mine, zone.objects, err)
				}
			},
		})
	})
}
