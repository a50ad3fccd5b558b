// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package disk_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	bolt "go.etcd.io/bbolt"

	"github.com/keycardai/keycard-operator/devzone/disk"
)

var key = bytes.Repeat([]byte{7}, disk.KeySize)

func open(t *testing.T, dir string) *disk.DB {
	t.Helper()
	d, err := disk.Open(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func commit(t *testing.T, d *disk.DB, changes ...disk.Change) {
	t.Helper()
	if err := d.Commit(changes).Wait(); err != nil {
		t.Fatal(err)
	}
}

func all(t *testing.T, d *disk.DB, bucket string) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := d.Each(bucket, func(key string, value []byte) error { out[key] = string(value); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// file is where the folder's entries are.
func file(dir string) string { return filepath.Join(dir, "devzone.db") }

func TestReopened(t *testing.T) {
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "new")
	d := open(t, dir)
	g.Expect(d.Fresh()).To(BeTrue())
	commit(t, d, disk.Change{Bucket: "b", Key: "1", Value: "canary-value"}, disk.Change{Bucket: "b", Key: "2", Value: 2},
		disk.Change{Bucket: "b", Key: "1", Value: map[string]int{"x": 1}}, disk.Change{Bucket: "b", Key: "2"})
	commit(t, d, disk.Change{Bucket: "c", Key: "1", Value: "canary-value"})
	g.Expect(d.Close()).To(Succeed())
	g.Expect(d.Close()).To(Succeed())
	g.Expect(d.Commit([]disk.Change{{Bucket: "b", Key: "3", Value: 3}}).Wait()).To(MatchError("the data folder is closed"))

	again := open(t, dir)
	g.Expect(again.Fresh()).To(BeFalse())
	g.Expect(all(t, again, "b")).To(Equal(map[string]string{"1": `{"x":1}`}))
	g.Expect(all(t, again, "c")).To(Equal(map[string]string{"1": `"canary-value"`}))
	g.Expect(all(t, again, "none")).To(BeEmpty())
	raw, err := os.ReadFile(file(dir))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(bytes.Contains(raw, []byte("canary"))).To(BeFalse(), "values must be encrypted")
	info, err := os.Stat(file(dir))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
}

func TestRefused(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, dir string)
		key     []byte
		want    string
	}{
		"another key": {
			prepare: func(t *testing.T, dir string) { _ = open(t, dir).Close() },
			key:     bytes.Repeat([]byte{8}, disk.KeySize),
			want:    "the key is not the one that the folder was made with; give that one, or remove the folder to start afresh",
		},
		"in use": {
			prepare: func(t *testing.T, dir string) { open(t, dir) },
			want:    "another process uses it; stop that one or use another folder",
		},
		"no database": {
			prepare: func(t *testing.T, dir string) { write(t, file(dir), strings.Repeat("not a database ", 1000)) },
			want:    "restore it from a copy, or remove the folder to start afresh",
		},
		"cut off": {
			prepare: func(t *testing.T, dir string) {
				_ = open(t, dir).Close()
				if err := os.Truncate(file(dir), 100); err != nil {
					t.Fatal(err)
				}
			},
			want: "restore it from a copy, or remove the folder to start afresh",
		},
		"a later format": {
			prepare: func(t *testing.T, dir string) { put(t, dir, "devzone", "format", []byte("2")) },
			want:    `it has the format "2", this program knows "1": use the program that wrote it`,
		},
		"short key": {prepare: func(*testing.T, string) {}, key: []byte("short"), want: "the key has 5 bytes, must be 32"},
		"a file in the way": {
			prepare: func(t *testing.T, dir string) {
				if err := os.Remove(dir); err != nil {
					t.Fatal(err)
				}
				write(t, dir, "")
			},
			want: "not a directory",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			dir := t.TempDir()
			tt.prepare(t, dir)
			if tt.key == nil {
				tt.key = key
			}
			_, err := disk.Open(dir, tt.key)
			g.Expect(err).To(MatchError(ContainSubstring(tt.want)))
			g.Expect(err).To(MatchError(ContainSubstring(dir)))
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// put changes a closed folder behind the package's back.
func put(t *testing.T, dir, bucket, key string, value []byte) {
	t.Helper()
	_ = open(t, dir).Close()
	b, err := bolt.Open(file(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	err = b.Update(func(tx *bolt.Tx) error {
		place, err := tx.CreateBucketIfNotExists([]byte(bucket))
		if err != nil {
			return err
		}
		return place.Put([]byte(key), value)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A value that was moved to another key, or made up, is noticed.
func TestTampered(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	d := open(t, dir)
	commit(t, d, disk.Change{Bucket: "b", Key: "mine", Value: 1})
	g.Expect(d.Close()).To(Succeed())
	b, err := bolt.Open(file(dir), 0o600, nil)
	g.Expect(err).NotTo(HaveOccurred())
	var sealed []byte
	g.Expect(b.View(func(tx *bolt.Tx) error {
		sealed = append(sealed, tx.Bucket([]byte("b")).Get([]byte("mine"))...)
		return nil
	})).To(Succeed())
	g.Expect(b.Close()).To(Succeed())
	put(t, dir, "b", "yours", sealed)
	err = open(t, dir).Each("b", func(string, []byte) error { return nil })
	g.Expect(err).To(MatchError(ContainSubstring("the entry b of")))
}

func TestBackwards(t *testing.T) {
	d := open(t, t.TempDir())
	for _, k := range []string{"a/1", "b/1", "b/2", "b/3", "c/1"} {
		commit(t, d, disk.Change{Bucket: "log", Key: k, Value: k})
	}
	for name, tt := range map[string]struct {
		prefix, below string
		limit         int
		want          string
	}{
		"from the end of a prefix": {"b/", "b/~", 9, "b/3 b/2 b/1"},
		"below":                    {"b/", "b/3", 9, "b/2 b/1"},
		"between":                  {"b/", "b/25", 9, "b/2 b/1"},
		"the last of all":          {"c/", "z", 9, "c/1"},
		"until told to stop":       {"b/", "b/~", 2, "b/3 b/2"},
		"none":                     {"b/", "b/1", 9, ""},
		"no such prefix":           {"x/", "x/~", 9, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			var got []string
			g.Expect(d.Backwards("log", tt.prefix, tt.below, func(key string, value []byte) bool {
				g.Expect(string(value)).To(Equal(fmt.Sprintf("%q", key)))
				got = append(got, key)
				return len(got) < tt.limit
			})).To(Succeed())
			g.Expect(strings.Join(got, " ")).To(Equal(tt.want))
		})
	}
	NewWithT(t).Expect(d.Backwards("nothing", "", "z", nil)).To(Succeed())
}

// Many writers at once: each finds its own change after it has waited, and the
// last change of a key wins.
func TestGroups(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	d := open(t, dir)
	want := map[string]string{}
	var mu sync.Mutex
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 50 {
				k := fmt.Sprintf("%d-%d", w, i%10)
				if err := d.Commit([]disk.Change{{Bucket: "b", Key: k, Value: i}}).Wait(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				want[k] = fmt.Sprint(i)
				mu.Unlock()
			}
		})
	}
	writers.Wait()
	g.Expect(d.Commit(nil).Wait()).To(Succeed())
	g.Expect(d.Close()).To(Succeed())
	got := all(t, open(t, dir), "b")
	g.Expect(maps.Equal(got, want)).To(BeTrue(), "%v and %v", got, want)
}

// A value that can't be written fails its round and all that come after, so that
// nothing is acknowledged out of order.
func TestFailure(t *testing.T) {
	g := NewWithT(t)
	d := open(t, t.TempDir())
	g.Expect(d.Commit([]disk.Change{{Bucket: "b", Key: "1", Value: func() {}}}).Wait()).To(MatchError(ContainSubstring("encoding an entry of b")))
	g.Eventually(d.Failed()).Should(BeClosed())
	g.Expect(d.Commit([]disk.Change{{Bucket: "b", Key: "2", Value: 2}}).Wait()).NotTo(Succeed())
	g.Expect(all(t, d, "b")).To(BeEmpty())
}

func TestParseKey(t *testing.T) {
	text := base64.StdEncoding.EncodeToString(key)
	for name, given := range map[string]string{"as made": text, "white space": " " + text + "\n", "no padding": strings.TrimRight(text, "=")} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			got, err := disk.ParseKey(given)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(got).To(Equal(key))
		})
	}
	for name, given := range map[string]string{"empty": "", "short": "canary", "no base64": "canary!" + text, "long": text[:43] + text} {
		t.Run(name, func(t *testing.T) {
			_, err := disk.ParseKey(given)
			NewWithT(t).Expect(err).To(MatchError("the key must be 32 random bytes in base64: make one with `openssl rand -base64 32`"))
		})
	}
}
