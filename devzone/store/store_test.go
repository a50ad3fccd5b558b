// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/keycardai/keycard-operator/devzone/store"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("x", 3600))

func provider(zone, identifier string) store.Provider {
	return store.Provider{Meta: store.Meta{ZoneID: zone}, Identifier: identifier, Name: identifier}
}

func TestDoUndoesOnErrorAndPanic(t *testing.T) {
	boom := errors.New("boom")
	for name, fail := range map[string]func() error{
		"error": func() error { return boom },
		"panic": func() error { panic(boom) },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			s := store.New(func() time.Time { return at })
			var kept, deleted store.Provider
			g.Expect(s.Do(func(tx *store.Tx) (err error) {
				if kept, err = tx.Providers.Insert(provider("z", "kept")); err != nil {
					return err
				}
				deleted, err = tx.Providers.Insert(provider("z", "deleted"))
				return err
			})).To(Succeed())
			func() {
				defer func() { _ = recover() }()
				g.Expect(s.Do(func(tx *store.Tx) error {
					changed := kept
					changed.Identifier = "changed"
					_, err := tx.Providers.Replace(changed)
					g.Expect(err).NotTo(HaveOccurred())
					g.Expect(tx.Providers.Delete("z", deleted.ID)).To(Succeed())
					_, err = tx.Providers.Insert(provider("z", "deleted"))
					g.Expect(err).NotTo(HaveOccurred())
					g.Expect(tx.DeleteProvider("z", kept.ID)).To(Succeed())
					return fail()
				})).To(MatchError(boom))
			}()
			g.Expect(s.Do(func(tx *store.Tx) error {
				g.Expect(tx.Providers.All("z", nil)).To(Equal([]store.Provider{kept, deleted}))
				found, ok := tx.Providers.Find("z", "deleted")
				g.Expect(ok).To(BeTrue())
				g.Expect(found.ID).To(Equal(deleted.ID))
				_, ok = tx.Providers.Find("z", "changed")
				g.Expect(ok).To(BeFalse())
				return nil
			})).To(Succeed())
		})
	}
}

func TestTable(t *testing.T) {
	g := NewWithT(t)
	s := store.New(func() time.Time { return at })
	g.Expect(s.Do(func(tx *store.Tx) error {
		row, err := tx.Providers.Insert(provider("z", "a"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(row.CreatedAt).To(Equal(time.Date(2026, 3, 1, 11, 0, 0, 123000000, time.UTC)))
		g.Expect(row.ID).To(MatchRegexp(`^[a-z0-9]{26}$`))

		_, err = tx.Providers.Insert(provider("z", "a"))
		g.Expect(err).To(MatchError("provider identifier is already in use"))
		_, err = tx.Providers.Insert(provider("y", "a"))
		g.Expect(err).NotTo(HaveOccurred(), "zones do not share identifiers")

		other, err := tx.Providers.Insert(provider("z", "b"))
		g.Expect(err).NotTo(HaveOccurred())
		other.Identifier = "a"
		_, err = tx.Providers.Replace(other)
		g.Expect(err).To(BeAssignableToTypeOf(&store.ConflictError{}))
		other.Identifier, other.Slug, other.ZoneID = "c", "stolen", "y"
		other, err = tx.Providers.Replace(other)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(other.Slug).NotTo(Equal("stolen"))
		g.Expect(other.ZoneID).To(Equal("z"))
		_, ok := tx.Providers.Find("z", "b")
		g.Expect(ok).To(BeFalse(), "the old key is free")

		_, err = tx.Providers.Get("y", row.ID)
		g.Expect(err).To(MatchError(`no provider has the id "` + row.ID + `"`))
		g.Expect(tx.Providers.Delete("y", row.ID)).To(BeAssignableToTypeOf(&store.NotFoundError{}))
		_, err = tx.Providers.Replace(provider("z", "never inserted"))
		g.Expect(err).To(BeAssignableToTypeOf(&store.NotFoundError{}))
		return nil
	})).To(Succeed())
}

func TestSlug(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9]+(?:-[a-z0-9]+)*$`)
	rapid.Check(t, func(t *rapid.T) {
		s := store.New(time.Now)
		name := rapid.String().Draw(t, "name")
		id := rapid.SampledFrom([]string{"", "zn-demo", "a-b-c-", "x"}).Draw(t, "id")
		_ = s.Do(func(tx *store.Tx) error {
			row, err := tx.Zones.Insert(store.Zone{Meta: store.Meta{ID: id}, Name: name})
			if err != nil || !valid.MatchString(row.Slug) || len(row.Slug) > 63 {
				t.Fatalf("name %q, id %q: slug %q, %v", name, id, row.Slug, err)
			}
			return nil
		})
	})
}

func TestDeleteZoneTakesEverythingAlong(t *testing.T) {
	g := NewWithT(t)
	s := store.New(time.Now)
	issuer := func(id string) string { return "https://" + id }
	g.Expect(s.Do(func(tx *store.Tx) error {
		for _, id := range []string{"gone", "stays"} {
			if _, err := tx.CreateZone(store.Zone{Meta: store.Meta{ID: id}, Name: id}, issuer); err != nil {
				return err
			}
			meta := store.Meta{ZoneID: id}
			r, err := tx.CreateResource(store.Resource{Meta: meta, Identifier: "r"})
			g.Expect(err).NotTo(HaveOccurred())
			a, err := tx.Applications.Insert(store.Application{Meta: meta, Identifier: "a"})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(tx.Depend(id, a.ID, r.ID, nil)).To(Succeed())
		}
		return tx.DeleteZone("gone")
	})).To(Succeed())
	g.Expect(s.Do(func(tx *store.Tx) error {
		for id, n := range map[string]int{"gone": 0, "stays": 1} {
			g.Expect(tx.Providers.All(id, nil)).To(HaveLen(n))
			g.Expect(tx.Resources.All(id, nil)).To(HaveLen(n))
			g.Expect(tx.Applications.All(id, nil)).To(HaveLen(n))
			g.Expect(tx.Dependencies.All(id, nil)).To(HaveLen(n))
		}
		return nil
	})).To(Succeed())
}

func TestSecrets(t *testing.T) {
	g := NewWithT(t)
	g.Expect(store.NewID()).NotTo(Equal(store.NewID()))
	secret := store.NewSecret()
	g.Expect(len(secret)).To(BeNumerically(">=", 52))
	d := store.DigestOf(secret)
	g.Expect(d.Matches(secret)).To(BeTrue())
	g.Expect(d.Matches(secret + "x")).To(BeFalse())
	g.Expect(store.Digest{}.Matches("")).To(BeFalse(), "no secret matches an unset one")
}

// Rows are found by what they belong to as by looking at all of them, whatever
// is inserted, changed, removed and undone.
func TestOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := store.New(func() time.Time { return at })
		letters := rapid.SampledFrom([]string{"a", "b", "c", ""})
		boom := errors.New("boom")
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			fail := rapid.Bool().Draw(t, "undo")
			parent, id := letters.Draw(t, "parent"), letters.Draw(t, "id")
			op := rapid.SampledFrom([]string{"insert", "replace", "delete"}).Draw(t, "op")
			_ = s.Do(func(tx *store.Tx) error {
				row := store.Session{Meta: store.Meta{ID: id, ZoneID: "z"}, ParentID: parent}
				switch op {
				case "insert":
					_, _ = tx.Sessions.Insert(row)
				case "replace":
					_, _ = tx.Sessions.Replace(row)
				case "delete":
					_ = tx.Sessions.Delete("z", id)
				}
				if fail {
					return boom
				}
				return nil
			})
			_ = s.View(func(tx *store.Tx) error {
				for _, p := range []string{"a", "b", "c"} {
					want := tx.Sessions.All("z", func(x store.Session) bool { return x.ParentID == p })
					if got := tx.Sessions.Of("z", p); !slices.EqualFunc(got, want, func(a, b store.Session) bool { return a.ID == b.ID }) {
						t.Fatalf("of %q: %v, want %v", p, got, want)
					}
				}
				return nil
			})
		}
	})
}
