// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package disk keeps the state of the development zone in a folder, so that it
// survives a restart and a kill.
//
// Everything is in one bbolt file. Each value is encrypted with AES-256-GCM
// under a key derived from the user's; names of buckets and keys, which are
// opaque ids, are not. Changes are handed over in memory and written in groups:
// while one group is on its way to the disk, the next gathers. A change is safe
// once the Round that it went into has been waited for.
package disk

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// KeySize is the length of the user's key in bytes.
const KeySize = 32

const (
	fileName    = "devzone.db"
	lockTimeout = time.Second
	// format is the version of what is in the file.
	format = "1"
)

// The file's own bucket and its keys.
var (
	ownBucket = []byte("devzone")
	saltKey   = []byte("salt")
	formatKey = []byte("format")
	checkKey  = []byte("check")
)

// checkText is what the check decrypts to when the key is the right one.
const checkText = "this key opens this folder"

// DB is an open folder. It is safe for concurrent use.
type DB struct {
	path  string
	bolt  *bolt.DB
	aead  cipher.AEAD
	fresh bool

	mu      sync.Mutex
	next    *Round
	writing *Round
	failure error
	closed  bool
	wake    chan struct{}
	done    chan struct{}
	failed  chan struct{}
}

// Change puts a value into a bucket, or removes it when Value is nil. Value is
// encoded as JSON after Commit has returned and must not change any more.
type Change struct {
	Bucket, Key string
	Value       any
}

// Round is a group of changes that reach the disk together.
type Round struct {
	changes []Change
	done    chan struct{}
	err     error
}

// ParseKey reads a key: 32 bytes in base64, with or without padding, with white
// space around it. The error does not repeat the text.
func ParseKey(text string) ([]byte, error) {
	trimmed := strings.TrimRight(strings.TrimSpace(text), "=")
	key, err := base64.RawStdEncoding.DecodeString(trimmed)
	if err != nil || len(key) != KeySize {
		return nil, fmt.Errorf("the key must be %d random bytes in base64: make one with `openssl rand -base64 %d`", KeySize, KeySize)
	}
	return key, nil
}

// Open opens the folder and makes it when it is not there. The errors name the
// folder and the remedy: another process uses it, the key is another one, it is
// no folder of devzone's or of a later version.
func Open(dir string, key []byte) (*DB, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("opening %s: the key has %d bytes, must be %d", dir, len(key), KeySize)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the data folder: %w", err)
	}
	path := filepath.Join(dir, fileName)
	file, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout: lockTimeout, FreelistType: bolt.FreelistMapType, NoFreelistSync: true, NoStatistics: true,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("opening %s: another process uses it; stop that one or use another folder", path)
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w; restore it from a copy, or remove the folder to start afresh", path, err)
	}
	d := &DB{path: path, bolt: file, wake: make(chan struct{}, 1), done: make(chan struct{}), failed: make(chan struct{})}
	if err := d.unlock(key); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	d.next = newRound()
	go d.write()
	return d, nil
}

func newRound() *Round { return &Round{done: make(chan struct{})} }

// Fresh tells whether the folder was empty when it was opened.
func (d *DB) Fresh() bool { return d.fresh }

// unlock derives the encryption key and checks it against the file, or sets a
// new file up.
func (d *DB) unlock(key []byte) error {
	var salt, version, check []byte
	err := d.bolt.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(ownBucket)
		if b != nil {
			salt, version, check = clone(b.Get(saltKey)), clone(b.Get(formatKey)), clone(b.Get(checkKey))
			return nil
		}
		d.fresh = true
		b, err := tx.CreateBucket(ownBucket)
		if err != nil {
			return err
		}
		salt, version = make([]byte, sha256.Size), []byte(format)
		if _, err := rand.Read(salt); err != nil {
			return err
		}
		if d.aead, err = derive(key, salt); err != nil {
			return err
		}
		check = d.seal(string(ownBucket), string(checkKey), []byte(checkText))
		return errors.Join(b.Put(saltKey, salt), b.Put(formatKey, version), b.Put(checkKey, check))
	})
	if err != nil {
		return err
	}
	if string(version) != format {
		return fmt.Errorf("it has the format %q, this program knows %q: use the program that wrote it", version, format)
	}
	if d.aead, err = derive(key, salt); err != nil {
		return err
	}
	if text, err := d.open(string(ownBucket), string(checkKey), check); err != nil || string(text) != checkText {
		return errors.New("the key is not the one that the folder was made with; give that one, or remove the folder to start afresh")
	}
	return nil
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

func derive(key, salt []byte) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, salt, "devzone data", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal binds a value to its place, so that values can't be swapped in the file.
func (d *DB) seal(bucket, key string, plain []byte) []byte {
	// The AEAD makes a random nonce for each value by itself.
	return d.aead.Seal(nil, nil, plain, []byte(bucket+"\x00"+key)) //nolint:gosec // no nonce is given
}

func (d *DB) open(bucket, key string, sealed []byte) ([]byte, error) {
	plain, err := d.aead.Open(nil, nil, sealed, []byte(bucket+"\x00"+key))
	if err != nil {
		return nil, fmt.Errorf("the entry %s of %s was changed by something else: restore the folder from a copy", bucket, d.path)
	}
	return plain, nil
}

// Each visits every entry of a bucket in the order of the keys. The value is
// JSON.
func (d *DB) Each(bucket string, visit func(key string, value []byte) error) error {
	return d.bolt.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, sealed []byte) error {
			value, err := d.open(bucket, string(key), sealed)
			if err != nil {
				return err
			}
			return visit(string(key), value)
		})
	})
}

// Backwards visits the entries of a bucket whose keys have the prefix and sort
// before the key below, from the last to the first, until visit returns false.
func (d *DB) Backwards(bucket, prefix, below string, visit func(key string, value []byte) bool) error {
	return d.bolt.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		cursor := b.Cursor()
		key, sealed := cursor.Seek([]byte(below))
		if key == nil {
			key, sealed = cursor.Last()
		}
		for ; key != nil && string(key) >= below; key, sealed = cursor.Prev() {
			continue
		}
		for ; strings.HasPrefix(string(key), prefix); key, sealed = cursor.Prev() {
			value, err := d.open(bucket, string(key), sealed)
			if err != nil {
				return err
			}
			if !visit(string(key), value) {
				return nil
			}
		}
		return nil
	})
}

// Commit hands changes over and returns what to wait for. Without changes that
// is the last round that has any: a caller that found nothing to do can still
// wait until what it saw is safe. The order of calls is the order of writing.
func (d *DB) Commit(changes []Change) *Round {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure != nil || d.closed {
		return finished(errors.Join(d.failure, closedError(d.closed)))
	}
	if len(changes) == 0 && len(d.next.changes) == 0 {
		if d.writing != nil {
			return d.writing
		}
		return finished(nil)
	}
	d.next.changes = append(d.next.changes, changes...)
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return d.next
}

func closedError(closed bool) error {
	if closed {
		return errors.New("the data folder is closed")
	}
	return nil
}

func finished(err error) *Round {
	r := newRound()
	r.err = err
	close(r.done)
	return r
}

// Wait returns once the changes are on the disk, or with what went wrong. After
// a failure nothing more is written.
func (r *Round) Wait() error {
	<-r.done
	return r.err
}

// Failed is closed when writing has failed: the state in memory is ahead of the
// disk from then on, and the process should stop.
func (d *DB) Failed() <-chan struct{} { return d.failed }

// write is the one writer.
func (d *DB) write() {
	defer close(d.done)
	for range d.wake {
		d.mu.Lock()
		round := d.next
		d.next, d.writing = newRound(), round
		err := d.failure
		d.mu.Unlock()
		if err == nil {
			err = d.save(round.changes)
		}
		d.mu.Lock()
		if err != nil && d.failure == nil {
			d.failure = fmt.Errorf("writing %s: %w", d.path, err)
			close(d.failed)
		}
		round.err, d.writing = d.failure, nil
		d.mu.Unlock()
		round.changes = nil
		close(round.done)
	}
}

func (d *DB) save(changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	return d.bolt.Update(func(tx *bolt.Tx) error {
		for _, c := range changes {
			b, err := tx.CreateBucketIfNotExists([]byte(c.Bucket))
			if err != nil {
				return err
			}
			if c.Value == nil {
				err = b.Delete([]byte(c.Key))
			} else {
				err = d.put(b, c)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (d *DB) put(b *bolt.Bucket, c Change) error {
	plain, err := json.Marshal(c.Value)
	if err != nil {
		return fmt.Errorf("encoding an entry of %s: %w", c.Bucket, err)
	}
	return b.Put([]byte(c.Key), d.seal(c.Bucket, c.Key, plain))
}

// Close writes what was handed over and closes the file. It may be called more
// than once.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		<-d.done
		return nil
	}
	d.closed = true
	close(d.wake)
	d.mu.Unlock()
	<-d.done
	if err := d.bolt.Close(); err != nil {
		return fmt.Errorf("closing %s: %w", d.path, err)
	}
	return nil
}
