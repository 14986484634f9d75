package agentpb

// protoc, and protoc-gen-go v1.36.11 and protoc-gen-connect-go v1.19.1 on PATH.
//go:generate protoc -I. -Iinclude --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix= fault.proto host.proto kernel.proto process.proto filesystem.proto
