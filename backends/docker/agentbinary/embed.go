//go:build embed_agent

package agentbinary

import "embed"

//go:embed linux-*.gz
var embedded embed.FS
