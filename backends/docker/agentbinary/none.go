//go:build !embed_agent

package agentbinary

import "embed"

// embedded is empty: the build tag embed_agent fills it.
var embedded embed.FS
