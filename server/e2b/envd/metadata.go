package envd

import (
	"net/http"
	"strings"
)

// metadataPrefix begins the names of headers with metadata of uploaded files.
const metadataPrefix = "X-Metadata-"

// Bounds of metadata, bytes.
const (
	maxMetadataKey = 200
	maxMetadata    = 4096
)

// metadataOf reads what a request says of its files (section 3.3.3); nil when that is nothing.
func metadataOf(header http.Header) (map[string]string, error) {
	var metadata map[string]string
	size := 0
	for name, values := range header {
		key, ok := strings.CutPrefix(name, metadataPrefix)
		if !ok {
			continue
		}
		if key = strings.ToLower(key); !isKey(key) {
			return nil, refusef(http.StatusBadRequest, "metadata key %.40q: use 1 to %d letters, digits, dots, dashes and underscores", key,
				maxMetadataKey)
		}
		value := values[len(values)-1]
		for _, c := range []byte(value) {
			if c < ' ' || c > '~' {
				return nil, refusef(http.StatusBadRequest, "metadata value of %s: use printable ASCII", key)
			}
		}
		if size += len(key) + len(value); size > maxMetadata {
			return nil, refusef(http.StatusBadRequest, "metadata of more than %d bytes", maxMetadata)
		}
		if metadata == nil {
			metadata = make(map[string]string)
		}
		metadata[key] = value
	}
	return metadata, nil
}

func isKey(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return key != "" && len(key) <= maxMetadataKey
}
