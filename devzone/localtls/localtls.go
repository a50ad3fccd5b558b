// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package localtls keeps a certificate authority of its own in a folder, and a
// server certificate from it, so that clients that insist on https can be tested
// with a server on this machine.
package localtls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// CAFile is the file with the authority's certificate within the folder: what
// clients have to trust.
const CAFile = "ca.crt"

const (
	caKeyFile = "ca.key"
	leafFile  = "tls.crt"
	leafKey   = "tls.key"

	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	renewLeft = 30 * 24 * time.Hour
	// backdate forgives a client whose clock is behind.
	backdate = time.Hour
)

// localNames are in every certificate.
var localNames = []string{"localhost", "*.localhost", "127.0.0.1", "::1"}

// Authority is an open folder.
type Authority struct {
	ca   *x509.Certificate
	leaf tls.Certificate
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Open opens the folder and makes what is missing: the authority once, the
// server's certificate when it is near its end or lacks one of the names, which
// are host names and addresses besides those of this machine. An error names the
// file and the remedy.
func Open(dir string, names []string, now time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the TLS folder: %w", err)
	}
	ca, err := openCA(dir, now)
	if err != nil {
		return nil, err
	}
	all := append(slices.Clone(localNames), names...)
	leaf, err := load(dir, leafFile, leafKey)
	if err != nil || !serves(leaf.cert, ca.cert, all, now) {
		if leaf, err = issue(ca, all, now); err != nil {
			return nil, err
		}
		if err := save(dir, leafFile, leafKey, leaf); err != nil {
			return nil, err
		}
	}
	return &Authority{ca: ca.cert, leaf: tls.Certificate{
		Certificate: [][]byte{leaf.cert.Raw}, PrivateKey: leaf.key, Leaf: leaf.cert,
	}}, nil
}

// openCA loads the authority or, in a folder without one, makes it.
func openCA(dir string, now time.Time) (pair, error) {
	_, errCert := os.Stat(filepath.Join(dir, CAFile))
	_, errKey := os.Stat(filepath.Join(dir, caKeyFile))
	if errors.Is(errCert, fs.ErrNotExist) && errors.Is(errKey, fs.ErrNotExist) {
		ca, err := makeCA(now)
		if err != nil {
			return ca, err
		}
		return ca, save(dir, CAFile, caKeyFile, ca)
	}
	ca, err := load(dir, CAFile, caKeyFile)
	if err == nil && (!ca.cert.IsCA || now.After(ca.cert.NotAfter) || now.Before(ca.cert.NotBefore)) {
		err = fmt.Errorf("%s is no authority or has expired", filepath.Join(dir, CAFile))
	}
	if err != nil {
		return ca, fmt.Errorf("%w; remove %s to start afresh, and have clients trust the new %s", err, dir, CAFile)
	}
	return ca, nil
}

// load reads a certificate and its key.
func load(dir, certFile, keyFile string) (pair, error) {
	certPath, keyPath := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	raw, err := os.ReadFile(certPath) //nolint:gosec // the folder is the caller's choice
	if err != nil {
		return pair{}, err
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return pair{}, fmt.Errorf("%s holds no certificate", certPath)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return pair{}, fmt.Errorf("%s: %w", certPath, err)
	}
	if raw, err = os.ReadFile(keyPath); err != nil { //nolint:gosec // as above
		return pair{}, err
	}
	if block, _ = pem.Decode(raw); block == nil {
		return pair{}, fmt.Errorf("%s holds no key", keyPath)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return pair{}, fmt.Errorf("%s is not the key of %s", keyPath, certPath)
	}
	return pair{cert: cert, key: key}, nil
}

// serves tells whether a certificate will do for a while.
func serves(leaf, ca *x509.Certificate, names []string, now time.Time) bool {
	if leaf.CheckSignatureFrom(ca) != nil || now.Before(leaf.NotBefore) || leaf.NotAfter.Sub(now) < renewLeft {
		return false
	}
	hosts, ips := split(names)
	for _, h := range hosts {
		if !slices.Contains(leaf.DNSNames, h) {
			return false
		}
	}
	for _, ip := range ips {
		if !slices.ContainsFunc(leaf.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

// split tells addresses from names.
func split(names []string) (hosts []string, ips []net.IP) {
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else if !slices.Contains(hosts, n) {
			hosts = append(hosts, n)
		}
	}
	return hosts, ips
}

func makeCA(now time.Time) (pair, error) {
	return sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "devzone, for development only"}, NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil)
}

func issue(ca pair, names []string, now time.Time) (pair, error) {
	hosts, ips := split(names)
	return sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "devzone"}, NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		DNSNames: hosts, IPAddresses: ips, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &ca)
}

// sign makes a key and has its certificate signed by the parent, or by itself.
func sign(template *x509.Certificate, parent *pair) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, fmt.Errorf("making a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return pair{}, fmt.Errorf("making a serial number: %w", err)
	}
	if parent == nil {
		parent = &pair{cert: template, key: key}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		return pair{}, fmt.Errorf("signing a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(raw)
	return pair{cert: cert, key: key}, err
}

// save writes the key first, so that a certificate in the folder has one.
func save(dir, certFile, keyFile string, p pair) error {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	if err := write(filepath.Join(dir, keyFile), "PRIVATE KEY", der, 0o600); err != nil {
		return err
	}
	return write(filepath.Join(dir, certFile), "CERTIFICATE", p.cert.Raw, 0o644)
}

// write puts a file in place as a whole.
func write(path, kind string, der []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("writing the TLS folder: %w", err)
	}
	// After the rename there is nothing to remove.
	defer func() { _ = os.Remove(file.Name()) }()
	var body bytes.Buffer
	err = errors.Join(pem.Encode(&body, &pem.Block{Type: kind, Bytes: der}), file.Chmod(mode))
	if err == nil {
		_, err = file.Write(body.Bytes())
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// ServerConfig is for a listener.
func (a *Authority) ServerConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.leaf}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// AddTo has a client trust the authority.
func (a *Authority) AddTo(pool *x509.CertPool) { pool.AddCert(a.ca) }

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.ca.Raw})
}
