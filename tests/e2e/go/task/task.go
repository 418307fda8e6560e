// Package task reads what a program is to do, and has what both programs need to do it.
package task

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
)

// Eab is a key for external account binding; the secret is base64url without padding.
type Eab struct {
	Kid    string `json:"kid"`
	Secret string `json:"secret"`
}

// Task is one thing to do. Files are read and written below Home.
type Task struct {
	Act       string   `json:"act"`
	Directory string   `json:"directory"`
	Home      string   `json:"home"`
	Door      string   `json:"door"`
	DNS       string   `json:"dns"`
	HTTPPort  int      `json:"httpPort"`
	TLSPort   int      `json:"tlsPort"`
	Eab       *Eab     `json:"eab"`
	Stem      string   `json:"stem"`
	Names     []string `json:"names"`
	Challenge string   `json:"challenge"`
	Profile   string   `json:"profile"`
}

// Main runs one task given as JSON on standard input, by the function of its name.
func Main(acts func(*Task) (map[string]func() error, error)) {
	if err := do(acts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func do(acts func(*Task) (map[string]func() error, error)) error {
	var one Task
	if err := json.NewDecoder(os.Stdin).Decode(&one); err != nil {
		return err
	}

	if err := os.MkdirAll(one.Home, 0o700); err != nil {
		return err
	}

	known, err := acts(&one)
	if err != nil {
		return err
	}

	act, ok := known[one.Act]
	if !ok {
		return fmt.Errorf("no act is called %q", one.Act)
	}

	return act()
}

// File returns the path of a file below Home.
func (t *Task) File(name string) string { return filepath.Join(t.Home, name) }

// Read returns the octets of a file below Home.
func (t *Task) Read(name string) ([]byte, error) { return os.ReadFile(t.File(name)) }

// Write writes a file below Home.
func (t *Task) Write(name string, octets []byte) error {
	return os.WriteFile(t.File(name), octets, 0o600)
}

// AccountKey reads the account's key, or makes one; made tells which.
func (t *Task) AccountKey() (key crypto.Signer, made bool, err error) {
	octets, err := t.Read("account.key")
	if errors.Is(err, fs.ErrNotExist) {
		key, err = NewKey()
		return key, true, err
	}

	if err != nil {
		return nil, false, err
	}

	block, _ := pem.Decode(octets)
	key, err = x509.ParseECPrivateKey(block.Bytes)

	return key, false, err
}

// KeepAccountKey writes the account's key.
func (t *Task) KeepAccountKey(key crypto.Signer) error { return t.WriteKey("account.key", key) }

// WriteKey writes a key as PEM.
func (t *Task) WriteKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		return err
	}

	return t.Write(name, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// NewKey makes a P-256 key.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// Txt adds ("present") or removes ("cleanup") a TXT record.
func (t *Task) Txt(act, name, value string) error {
	body, err := json.Marshal(map[string]string{"fqdn": name, "value": value})
	if err != nil {
		return err
	}

	answer, err := http.Post(t.Door+"/"+act, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()

	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", act, name, answer.Status)
	}

	return nil
}
