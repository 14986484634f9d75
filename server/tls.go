package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A certificate of our own is made for so long, and anew when less than the second is left.
const (
	certificateLife = 397 * 24 * time.Hour
	certificateRest = 30 * 24 * time.Hour
)

// certificate is what the listener proves itself by; nil when it speaks no TLS. file is that of one of our own, which clients have to be
// told to trust.
func (c *Config) certificate() (cert *tls.Certificate, file string, err error) {
	certFile, keyFile := c.TLSCert, c.TLSKey
	switch {
	case c.TLSSelfSigned != "":
		folder := filepath.Join(c.DataDir, "tls")
		certFile, keyFile = filepath.Join(folder, c.TLSSelfSigned+".crt"), filepath.Join(folder, c.TLSSelfSigned+".key")
		file = certFile
		if !lasting(certFile, keyFile) {
			if err := makeCertificate(c.TLSSelfSigned, certFile, keyFile); err != nil {
				return nil, "", fmt.Errorf("certificate: %w", err)
			}
		}
	case certFile == "":
		return nil, "", nil
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, "", &OptionError{Option: "tls-cert", Problem: err.Error()}
	}
	if leaf := pair.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		return nil, "", &OptionError{Option: "tls-cert", Problem: fmt.Sprintf("%s ended on %s", certFile, leaf.NotAfter.Format(time.DateOnly))}
	}
	return &pair, file, nil
}

// lasting reports whether there is a certificate that can still be used.
func lasting(certFile, keyFile string) bool {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	return err == nil && pair.Leaf != nil && time.Until(pair.Leaf.NotAfter) > certificateRest
}

// makeCertificate makes a certificate for a domain, all names one label below it, and this machine. It proves itself and can
// sign no other, so that who trusts it trusts this daemon only.
func makeCertificate(domain, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: domain, Organization: []string{"ds-sandbox"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{domain, "*." + domain, "localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(certFile), 0o700); err != nil {
		return err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return writePEM(certFile, "CERTIFICATE", der, 0o644)
}

// writePEM replaces a file at once.
func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	unfinished := path + ".new"
	if err := os.WriteFile(unfinished, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}
