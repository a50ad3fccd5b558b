// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

// newCache is one that nothing fills.
func newCache(namespaces ...string) *Cache {
	c := &Cache{known: map[types.NamespacedName]known{}}
	for _, n := range namespaces {
		c.scopes = append(c.scopes, &scope{cache: c, namespace: n, synced: make(chan struct{})})
	}
	return c
}

// Of the Secrets that bindings own all metadata is known, of others what is asked for: versions, owners, who renewed a session.
func TestWhatIsKept(t *testing.T) {
	byBinding := metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ConfluenceTokenBinding", Name: "b", Controller: new(true)}
	byOther := metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Other", Name: "o", Controller: new(true)}
	kubectl, session := metav1.ManagedFieldsEntry{Manager: "kubectl"}, metav1.ManagedFieldsEntry{Manager: v1alpha1.SessionFieldManager}
	full := func(label string, owner metav1.OwnerReference, writers ...metav1.ManagedFieldsEntry) *metav1.PartialObjectMetadata {
		m := &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: "it", UID: "u", ResourceVersion: "1", ManagedFields: writers,
				Labels: map[string]string{v1alpha1.ManagedByLabel: label}, Annotations: map[string]string{"a": "b"}, Finalizers: []string{"example.com/x"},
			},
		}
		if owner.Kind != "" {
			m.OwnerReferences = []metav1.OwnerReference{owner}
		}
		return m
	}
	bare := func(owners []metav1.OwnerReference, writers ...metav1.ManagedFieldsEntry) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "it", UID: "u", ResourceVersion: "1", OwnerReferences: owners, ManagedFields: writers},
		}
	}
	none, named := metav1.OwnerReference{}, metav1.OwnerReference{Kind: "Other", Name: "o", Controller: new(true)}
	aside := metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Other", Name: "o"}
	applied := metav1.ManagedFieldsEntry{Manager: v1alpha1.FieldManager, Operation: metav1.ManagedFieldsOperationApply}
	for name, tt := range map[string]struct{ have, want *metav1.PartialObjectMetadata }{
		"a binding's":                    {full(v1alpha1.ManagedByValue, byBinding, kubectl), full(v1alpha1.ManagedByValue, byBinding, kubectl)},
		"a binding's without its label":  {full("x", byBinding, kubectl), full("x", byBinding, kubectl)},
		"somebody's":                     {full("x", none, kubectl), bare(nil)},
		"one with an owner":              {full("x", byOther, kubectl), bare([]metav1.OwnerReference{named})},
		"one that nobody controls":       {full("x", aside, kubectl), bare(nil)},
		"one with both":                  {full("x", byOther, session), bare([]metav1.OwnerReference{named}, session)},
		"a binding's without both":       {full("x", none, applied), full("x", none, applied)},
		"one with a session":             {full("x", none, kubectl, session), bare(nil, session)},
		"one that the operator labelled": {full(v1alpha1.ManagedByValue, none), full(v1alpha1.ManagedByValue, none)},
	} {
		t.Run(name, func(t *testing.T) {
			g, c := NewWithT(t), newCache("")
			g.Expect(c.scopes[0].Add(tt.have)).To(Succeed())
			got, ok := c.Get(types.NamespacedName{Namespace: "ns", Name: "it"})
			g.Expect(ok).To(BeTrue())
			g.Expect(got).To(Equal(tt.want))
		})
	}
}

// Whatever the reflectors of two namespaces say, and in whatever order, the cache has the last of it, and every change is told
// once, but those before the first list.
func TestFollowsItsReflectors(t *testing.T) {
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 0)) // #nosec G404 -- a test's
		c := newCache("a", "b")
		model, version := map[types.NamespacedName]string{}, 0
		var told, want []types.NamespacedName
		c.listen(func(key types.NamespacedName) { told = append(told, key) })
		for step := range 40 {
			s := c.scopes[random.IntN(2)]
			key := types.NamespacedName{Namespace: s.namespace, Name: strconv.Itoa(random.IntN(4))}
			m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
			version++
			m.ResourceVersion = strconv.Itoa(version)
			switch _, there := model[key]; {
			case !s.listed || random.IntN(5) == 0:
				first := !s.listed
				changed := relist(random, s, model, &version)
				if !first {
					want = append(want, changed...)
				}
			case there && random.IntN(2) == 0:
				must(t, s.Delete(m))
				delete(model, key)
				want = append(want, key)
			default:
				must(t, s.Update(m))
				model[key] = m.ResourceVersion
				want = append(want, key)
			}
			expectSame(t, fmt.Sprintf("seed %d, step %d", seed, step), c, model)
		}
		order := func(x, y types.NamespacedName) int { return strings.Compare(x.String(), y.String()) }
		slices.SortFunc(told, order)
		slices.SortFunc(want, order)
		if !slices.Equal(told, want) {
			t.Fatalf("seed %d: it told of %v, changes were %v", seed, told, want)
		}
	}
}

// relist has some Secrets of a namespace come, change and go unseen, and gives the list of what is there.
func relist(random *rand.Rand, s *scope, model map[types.NamespacedName]string, version *int) (changed []types.NamespacedName) {
	var list []any
	for name := range 4 {
		key := types.NamespacedName{Namespace: s.namespace, Name: strconv.Itoa(name)}
		_, there := model[key]
		switch random.IntN(3) {
		case 0: // it changed, or came
			*version++
			model[key] = strconv.Itoa(*version)
			changed = append(changed, key)
		case 1: // it went
			delete(model, key)
			if there {
				changed = append(changed, key)
			}
		}
		if v, ok := model[key]; ok {
			list = append(list, &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, ResourceVersion: v}})
		}
	}
	if err := s.Replace(list, ""); err != nil {
		panic(err)
	}
	return changed
}

func expectSame(t *testing.T, when string, c *Cache, model map[types.NamespacedName]string) {
	t.Helper()
	got := map[types.NamespacedName]string{}
	for key, k := range c.known {
		got[key] = k.version
	}
	if !maps.Equal(got, model) {
		t.Fatalf("%s: it has %v, there are %v", when, got, model)
	}
}

// What is no metadata is refused, and changes nothing.
func TestRefusesOtherObjects(t *testing.T) {
	g, c := NewWithT(t), newCache("")
	s := c.scopes[0]
	_, transformed := s.Transformer()("x")
	for _, err := range []error{s.Add("x"), s.Update(1), s.Delete(nil), s.Replace([]any{metav1.Status{}}, ""), transformed} {
		g.Expect(err).To(MatchError(errNotMetadata))
	}
	g.Expect(c.known).To(BeEmpty())
	g.Expect(c.Ready(nil)).To(MatchError("the Secrets of all namespaces are not listed yet"))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
