// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode"

	"github.com/keycardai/keycard-operator/devzone/store"
	"github.com/keycardai/keycard-operator/devzone/wire"
)

const (
	maxRegistration = 64 << 10
	maxRedirectURIs = 20
	maxClientName   = 255
)

// registrationRequest is the metadata of a client that registers itself
// (RFC 7591, section 2). Other fields are ignored.
type registrationRequest struct {
	Name              string          `json:"client_name"`
	RedirectURIs      []string        `json:"redirect_uris"`
	AuthMethod        string          `json:"token_endpoint_auth_method"`
	GrantTypes        []string        `json:"grant_types"`
	ResponseTypes     []string        `json:"response_types"`
	Scope             string          `json:"scope"`
	JWKSURI           string          `json:"jwks_uri"`
	JWKS              json.RawMessage `json:"jwks"`
	SoftwareStatement string          `json:"software_statement"`
}

// registered is the answer to a registration (RFC 7591, section 3.2.1).
type registered struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret,omitempty"`
	IssuedAt     int64  `json:"client_id_issued_at"`
	// SecretExpiresAt is 0, which means never, and is there with a secret only.
	SecretExpiresAt *int64   `json:"client_secret_expires_at,omitempty"`
	Name            string   `json:"client_name,omitempty"`
	RedirectURIs    []string `json:"redirect_uris"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	JWKSURI         string   `json:"jwks_uri,omitempty"`
}

// registration lets a client register itself, if the zone permits that.
func (s *server) registration(w http.ResponseWriter, r *http.Request) {
	request := requestID(r)
	zone, err := s.zoneOf(r)
	var out registered
	if err == nil {
		out, err = s.register(zone, r)
	}
	if err != nil {
		s.writeRefusal(w, zone.ID, request, asRefusal(err))
		return
	}
	noStore(w)
	wire.JSON(w, http.StatusCreated, out)
}

func (s *server) register(zone store.Zone, r *http.Request) (registered, error) {
	var none registered
	if r.Method != http.MethodPost {
		return none, wrongMethod()
	}
	if !zone.DCREnabled {
		e := refuse("access_denied", "Dynamic client registration is switched off in this zone")
		e.Status = http.StatusForbidden
		return none, e
	}
	m, err := readRegistration(r)
	if err != nil {
		return none, err
	}
	if err := m.complete(); err != nil {
		return none, err
	}
	return s.addClient(zone, m)
}

// readRegistration reads the body. Whatever is wrong with it is the client's
// metadata.
func readRegistration(r *http.Request) (registrationRequest, error) {
	var m registrationRequest
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return m, badMetadata("Content-Type must be application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxRegistration))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return m, badMetadata("the body is larger than %d bytes", maxRegistration)
	}
	if err != nil {
		return m, badMetadata("the body could not be read")
	}
	err = json.Unmarshal(body, &m)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return m, badMetadata("%s has the wrong type: it must be %s", wrong.Field, inWords(wrong))
	}
	if err != nil {
		return m, badMetadata("the body must be a JSON object")
	}
	return m, nil
}

func inWords(e *json.UnmarshalTypeError) string {
	if e.Type.Kind().String() == "slice" {
		return "an array of strings"
	}
	return "a string"
}

func badMetadata(format string, args ...any) *refusal {
	return refuse("invalid_client_metadata", format, args...)
}

// complete checks the metadata and fills in the defaults of RFC 7591.
func (m *registrationRequest) complete() error {
	if err := m.checkRedirectURIs(); err != nil {
		return err
	}
	if m.AuthMethod == "" {
		m.AuthMethod = methodBasic
	}
	if len(m.GrantTypes) == 0 {
		m.GrantTypes = []string{grantAuthorizationCode}
	}
	if len(m.ResponseTypes) == 0 {
		m.ResponseTypes = []string{"code"}
	}
	checks := []error{
		within("token_endpoint_auth_method", []string{m.AuthMethod}, authMethods),
		within("grant_types", m.GrantTypes, []string{grantAuthorizationCode, grantRefreshToken}),
		within("response_types", m.ResponseTypes, []string{"code"}),
		m.checkKeys(), m.checkName(),
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	if _, err := (form{"scope": m.Scope}).scopes(); err != nil {
		return badMetadata("scope holds a character that RFC 6749 does not permit")
	}
	if m.SoftwareStatement != "" {
		return badMetadata("software_statement is not supported")
	}
	return nil
}

func (m *registrationRequest) checkRedirectURIs() error {
	if len(m.RedirectURIs) == 0 {
		return refuse("invalid_redirect_uri", "redirect_uris is required")
	}
	if len(m.RedirectURIs) > maxRedirectURIs {
		return refuse("invalid_redirect_uri", "redirect_uris has more than %d entries", maxRedirectURIs)
	}
	for i, uri := range m.RedirectURIs {
		if problem := redirectProblem(uri); problem != "" {
			return refuse("invalid_redirect_uri", "redirect_uris[%d] %s", i, problem)
		}
	}
	return nil
}

func (m *registrationRequest) checkKeys() error {
	keyed := m.AuthMethod == methodPrivateKeyJWT
	switch {
	case m.JWKS != nil:
		return badMetadata("jwks is not supported: publish the keys and give jwks_uri")
	case keyed && m.JWKSURI == "":
		return badMetadata("jwks_uri is required with %s", methodPrivateKeyJWT)
	case m.JWKSURI != "" && (!webURL(m.JWKSURI) || len(m.JWKSURI) > maxRedirectURI):
		return badMetadata("jwks_uri must be an absolute http or https URL of at most %d bytes", maxRedirectURI)
	}
	return nil
}

func (m *registrationRequest) checkName() error {
	if len(m.Name) > maxClientName || strings.ContainsFunc(m.Name, unicode.IsControl) || strings.ContainsAny(m.Name, "<>") {
		return badMetadata("client_name must be at most %d bytes without control characters and <>", maxClientName)
	}
	return nil
}

// within refuses values that are not among the accepted ones.
func within(name string, values, accepted []string) error {
	for _, v := range values {
		found := false
		for _, a := range accepted {
			found = found || a == v
		}
		if !found {
			return badMetadata("%s: %s is not one of %s", name, printable(v), strings.Join(accepted, ", "))
		}
	}
	return nil
}

// credentialTypes are the credentials that the methods need.
var credentialTypes = map[string]string{
	methodBasic: store.CredentialPassword, methodPost: store.CredentialPassword,
	methodPrivateKeyJWT: store.CredentialPublicKey, methodNone: store.CredentialPublic,
}

// addClient makes the user agent, and the application and credential that stand
// for it.
func (s *server) addClient(zone store.Zone, m registrationRequest) (registered, error) {
	sum := sha256.Sum256([]byte(store.NewSecret()))
	out := registered{
		ClientID: "ua:" + hex.EncodeToString(sum[:]), IssuedAt: s.Clock().Unix(), Name: m.Name,
		RedirectURIs: m.RedirectURIs, AuthMethod: m.AuthMethod, GrantTypes: m.GrantTypes, ResponseTypes: m.ResponseTypes,
		JWKSURI: m.JWKSURI,
	}
	credential := store.Credential{
		Meta: store.Meta{ZoneID: zone.ID}, Type: credentialTypes[m.AuthMethod], Identifier: out.ClientID, JWKSURI: m.JWKSURI,
	}
	if credential.Type == store.CredentialPassword {
		out.ClientSecret, out.SecretExpiresAt = store.NewSecret(), new(int64)
		credential.Password = store.DigestOf(out.ClientSecret)
	}
	name := m.Name
	if name == "" {
		name = out.ClientID
	}
	err := s.Store.Do(func(tx *store.Tx) error {
		app, err := tx.Applications.Insert(store.Application{
			Meta: store.Meta{ZoneID: zone.ID}, OwnerType: store.OwnerCustomer, Identifier: out.ClientID, Name: name, Consent: "required",
			Protocols: &store.ApplicationProtocols{OAuth2: &store.ApplicationOAuth2{RedirectURIs: m.RedirectURIs}},
		})
		if err != nil {
			return err
		}
		credential.ApplicationID = app.ID
		if _, err := tx.Credentials.Insert(credential); err != nil {
			return err
		}
		_, err = tx.UserAgents.Insert(store.UserAgent{
			Meta: store.Meta{ZoneID: zone.ID}, Identifier: out.ClientID, Name: name,
			RedirectURIs: m.RedirectURIs, ApplicationID: app.ID,
		})
		return err
	})
	if err != nil {
		return registered{}, fmt.Errorf("registering a client: %w", err)
	}
	return out, nil
}
